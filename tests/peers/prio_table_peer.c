/*
 * The other side of the PrioTable tests: a program that knows the layout and the protocol from the
 * description of ghost-userspace (C structs, C atomics), and nothing of our TypeScript.
 *
 *   layout                          prints sizes and offsets
 *   create ITEMS CLASSES CELLS THREADS
 *                                   owns a table that THREADS threads write until stdin ends
 *   attach PID THREADS              reads the table of a process until stdin ends
 *   stuck                           owns a table and stays in the middle of a write
 *   fork                            owns a table and has a child that inherits it
 *
 * Row n of an item: gpid {n, n ^ MIX}, wcid n % classes, flags n & 1, deadline n * SPREAD.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME "ghost-shmem-priotable"
#define DATA_AT 4096
#define STEP (2u << 20)
#define MIX 0x5a5a5a5au
#define SPREAD 0x100001ull
#define RETRIES 3
#define THREADS_MAX 16
#define LINE __attribute__((aligned(64)))

struct shmem_header {
    int64_t header_version;
    uint64_t mapping_size, header_size, client_size;
    _Atomic _Bool ready, finished;
    int32_t owning_pid;
    int64_t client_version;
};

struct table_header {
    uint16_t version, hdrlen;
    uint32_t maplen, si_num, si_off, wc_num, wc_off, st_cap, st_off;
} LINE;

struct sched_item {
    uint32_t sid, wcid;
    uint64_t gpid;
    uint32_t flags;
    _Atomic uint32_t seqcount;
    uint64_t deadline;
} LINE;

struct work_class {
    uint32_t id, flags, qos;
    uint64_t exectime, period;
} LINE;

struct stream {
    _Atomic int32_t scrape_all;
    _Atomic int32_t entries[];
};

static struct shmem_header *region;
static struct table_header *table;
static struct sched_item *items;
static struct work_class *classes;
static struct stream *stream;
static atomic_int stopping;
static atomic_long write_count, read_count, torn_count;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void use_region(void *memory)
{
    char *data = (char *)memory + DATA_AT;
    region = memory;
    table = (struct table_header *)data;
    items = (struct sched_item *)(data + table->si_off);
    classes = (struct work_class *)(data + table->wc_off);
    stream = (struct stream *)(data + table->st_off);
}

static uint32_t write_begin(struct sched_item *item)
{
    for (;;) {
        uint32_t seq = atomic_load_explicit(&item->seqcount, memory_order_relaxed);
        if ((seq & 1) == 0 &&
            atomic_compare_exchange_weak_explicit(&item->seqcount, &seq, seq + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return seq + 1;
        sched_yield();
    }
}

static void write_end(struct sched_item *item, uint32_t begin)
{
    atomic_store_explicit(&item->seqcount, begin + 1, memory_order_release);
}

static void mark_updated(uint32_t sid)
{
    if (atomic_load_explicit(&stream->scrape_all, memory_order_relaxed) <= 0) {
        for (uint32_t i = 0; i <= RETRIES; i++) {
            _Atomic int32_t *cell = &stream->entries[(sid + i) % table->st_cap];
            int32_t expected = -1;
            if (atomic_load_explicit(cell, memory_order_relaxed) == -1 &&
                atomic_compare_exchange_strong_explicit(cell, &expected, (int32_t)sid,
                                                        memory_order_release,
                                                        memory_order_relaxed))
                return;
        }
    }
    atomic_fetch_add_explicit(&stream->scrape_all, 1, memory_order_release);
}

/* A row, -1: nothing, -2: any row. */
static int32_t next_updated(void)
{
    int full_scan = 0;
    if (atomic_load_explicit(&stream->scrape_all, memory_order_relaxed) > 0) {
        atomic_exchange_explicit(&stream->scrape_all, 0, memory_order_acquire);
        full_scan = 1;
    }
    for (uint32_t i = 0; i < table->st_cap; i++) {
        int32_t sid = atomic_load_explicit(&stream->entries[i], memory_order_acquire);
        if (sid == -1)
            continue;
        atomic_store_explicit(&stream->entries[i], -1, memory_order_relaxed);
        if (!full_scan)
            return sid;
    }
    return full_scan ? -2 : -1;
}

static void put_row(uint32_t sid)
{
    struct sched_item *item = &items[sid];
    uint32_t begin = write_begin(item), n = (uint32_t)item->gpid + 1;
    item->sid = sid;
    item->wcid = n % table->wc_num;
    item->gpid = (uint64_t)(n ^ MIX) << 32 | n;
    /* Time for readers to see a row half written, also where all share one CPU. */
    if (n % 64 == 0)
        sched_yield();
    item->flags = n & 1;
    item->deadline = n * SPREAD;
    write_end(item, begin);
    mark_updated(sid);
}

/* The n of a row that was read consistently, or -1. */
static int64_t get_row(uint32_t sid)
{
    volatile struct sched_item *item = &items[sid];
    uint32_t begin = atomic_load_explicit(&item->seqcount, memory_order_acquire);
    uint32_t wcid = item->wcid, flags = item->flags, found = item->sid;
    uint64_t gpid = item->gpid, deadline = item->deadline;
    uint32_t n = (uint32_t)gpid;
    atomic_thread_fence(memory_order_acquire);
    if ((begin & 1) != 0 ||
        atomic_load_explicit(&item->seqcount, memory_order_relaxed) != begin)
        return -1;
    if (gpid == 0)
        return 0;
    torn_count += found != sid || gpid >> 32 != (n ^ MIX) || wcid != n % table->wc_num ||
                  flags != (n & 1) || deadline != n * SPREAD;
    read_count++;
    return n;
}

static void *write_rows(void *argument)
{
    for (uint32_t sid = (uint32_t)(uintptr_t)argument; !stopping; sid++) {
        put_row(sid % table->si_num);
        write_count++;
    }
    return NULL;
}

static void *read_rows(void *argument)
{
    for (uint32_t sid = (uint32_t)(uintptr_t)argument; !stopping; sid++) {
        get_row(sid % table->si_num);
        if (sid % 1024 == 0)
            sched_yield();
    }
    return NULL;
}

static int stdin_ended(int timeout_ms)
{
    struct pollfd entry = {.fd = 0, .events = POLLIN};
    return poll(&entry, 1, timeout_ms) > 0;
}

static void run_threads(void *(*body)(void *), int thread_count, void (*meanwhile)(void))
{
    pthread_t threads[THREADS_MAX];
    for (int i = 0; i < thread_count; i++)
        if (pthread_create(&threads[i], NULL, body, (void *)(uintptr_t)i) != 0)
            fail("pthread_create");
    while (!stdin_ended(0))
        meanwhile();
    stopping = 1;
    for (int i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);
}

static void *create_memory(size_t size)
{
    void *memory;
    int fd = memfd_create(NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        fail("memfd");
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        fail("mmap");
    return memory;
}

static void create_table(uint32_t item_count, uint32_t class_count, uint32_t cells)
{
    uint32_t wc_off = 64 + 64 * item_count, st_off = wc_off + 64 * class_count;
    uint32_t maplen = st_off + 4 + 4 * cells;
    size_t size = (maplen + DATA_AT + STEP - 1) / STEP * STEP;
    struct shmem_header *header = create_memory(size);
    struct table_header *rows = (struct table_header *)((char *)header + DATA_AT);
    header->header_version = 1;
    header->mapping_size = size;
    header->header_size = DATA_AT;
    header->client_size = size - DATA_AT;
    header->owning_pid = getpid();
    *rows = (struct table_header){
        .hdrlen = 64, .maplen = maplen, .si_num = item_count, .si_off = 64,
        .wc_num = class_count, .wc_off = wc_off, .st_cap = cells, .st_off = st_off,
    };
    use_region(header);
    for (uint32_t i = 0; i < cells; i++)
        stream->entries[i] = -1;
    for (uint32_t i = 0; i < class_count; i++)
        classes[i] = (struct work_class){.id = i, .flags = 1 + i % 2, .qos = 10 + i,
                                         .exectime = 1000 + i, .period = (1ull << 40) + i};
    header->ready = 1;
}

/* As upstream does it: the first descriptor whose link begins with the name. */
static void attach_table(const char *pid)
{
    char path[300], link[300];
    struct dirent *entry;
    DIR *fds;
    snprintf(path, sizeof(path), "/proc/%s/fd", pid);
    fds = opendir(path);
    while (fds != NULL && (entry = readdir(fds)) != NULL) {
        ssize_t length = readlinkat(dirfd(fds), entry->d_name, link, sizeof(link) - 1);
        if (length < 0 || (link[length] = 0, strncmp(link, "/memfd:" NAME, 7 + strlen(NAME)) != 0))
            continue;
        int fd = openat(dirfd(fds), entry->d_name, O_RDWR | O_CLOEXEC);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) != 0)
            fail("open");
        void *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                            0);
        struct shmem_header *header = memory;
        while (memory != MAP_FAILED && !header->ready)
            sched_yield();
        if (memory == MAP_FAILED || header->header_version != 1 || header->client_version != 0 ||
            header->mapping_size != (uint64_t)status.st_size || header->header_size != DATA_AT ||
            header->owning_pid != atoi(pid))
            fail("header");
        use_region(memory);
        closedir(fds);
        return;
    }
    fail("no table");
}

static int64_t *seen;
static long taken_count, overflow_count;

static void look_at(uint32_t sid)
{
    int64_t n = get_row(sid);
    if (n >= 0)
        seen[sid] = n;
}

/* Learns of rows by the stream alone. Returns 0 when it is empty. */
static int take_updates(void)
{
    int32_t sid = next_updated();
    taken_count += sid >= 0;
    if (sid >= 0 && (uint32_t)sid < table->si_num)
        look_at((uint32_t)sid);
    if (sid != -2)
        return sid >= 0;
    overflow_count++;
    for (uint32_t i = 0; i < table->si_num; i++)
        look_at(i);
    return 1;
}

static void take_some(void)
{
    for (int i = 0; i < 256 && take_updates(); i++)
        ;
}

static void rest(void)
{
    stdin_ended(20);
}

static void print_layout(void)
{
#define SIZE(type) printf(#type " %zu\n", sizeof(struct type))
#define FIELD(type, name) printf(#type "." #name " %zu\n", offsetof(struct type, name))
    SIZE(table_header);
    SIZE(sched_item);
    SIZE(work_class);
    FIELD(shmem_header, mapping_size);
    FIELD(shmem_header, header_size);
    FIELD(shmem_header, client_size);
    FIELD(shmem_header, ready);
    FIELD(shmem_header, finished);
    FIELD(shmem_header, owning_pid);
    FIELD(shmem_header, client_version);
    FIELD(table_header, hdrlen);
    FIELD(table_header, maplen);
    FIELD(table_header, si_num);
    FIELD(table_header, si_off);
    FIELD(table_header, wc_num);
    FIELD(table_header, wc_off);
    FIELD(table_header, st_cap);
    FIELD(table_header, st_off);
    FIELD(sched_item, wcid);
    FIELD(sched_item, gpid);
    FIELD(sched_item, flags);
    FIELD(sched_item, seqcount);
    FIELD(sched_item, deadline);
    FIELD(work_class, flags);
    FIELD(work_class, qos);
    FIELD(work_class, exectime);
    FIELD(work_class, period);
    FIELD(stream, entries);
}

static void say(const char *text)
{
    puts(text);
    fflush(stdout);
}

static void run_attached(const char *pid, int thread_count)
{
    long lost = 0;
    attach_table(pid);
    seen = calloc(table->si_num, sizeof(*seen));
    say("ready");
    run_threads(read_rows, thread_count, take_some);
    while (take_updates())
        ;
    for (uint32_t sid = 0; sid < table->si_num; sid++)
        lost += seen[sid] != get_row(sid);
    printf("reads %ld torn %ld taken %ld overflows %ld lost %ld\n", read_count, torn_count,
           taken_count, overflow_count, lost);
    for (uint32_t i = 0; i < table->wc_num; i++)
        printf("class %u %u %u %llu %llu\n", classes[i].id, classes[i].flags, classes[i].qos,
               (unsigned long long)classes[i].exectime, (unsigned long long)classes[i].period);
}

static void run_fork(void)
{
    pid_t parent = getpid(), child = fork();
    if (child > 0) {
        printf("%d\n", child);
        fflush(stdout);
    } else {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(0);
    }
    pause();
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    if (strcmp(mode, "layout") == 0) {
        print_layout();
    } else if (strcmp(mode, "create") == 0 && argc == 6) {
        create_table((uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
        say("ready");
        run_threads(write_rows, atoi(argv[5]), rest);
        printf("writes %ld\n", write_count);
    } else if (strcmp(mode, "attach") == 0 && argc == 4) {
        run_attached(argv[2], atoi(argv[3]));
    } else if (strcmp(mode, "stuck") == 0) {
        create_table(4, 2, 11);
        put_row(0);
        write_begin(&items[1]);
        say("ready");
        pause();
    } else if (strcmp(mode, "fork") == 0) {
        create_table(4, 2, 11);
        run_fork();
    } else {
        fail("usage");
    }
    return 0;
}

/*
 * Load threads: starting them, what they ask of the caller, and what they have done. The caller
 * is one thread; it takes requests with shim_load_next and answers each.
 */
#define _GNU_SOURCE
#include "load.h"

#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Load threads need little; thousands of them are to fit. */
#define STACK_BYTES 65536
#define COUNT_MAX (1 << 20)
#define CPU_MASK_BYTES_MAX 1024
/* CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED of the kernel's clock numbers. */
#define CPU_CLOCK_OF_THREAD 6

/* Answers of shim_load_next that are no thread. */
#define NEXT_TIMEOUT (-1)
#define NEXT_DONE (-2)

/* Values of the caller's configuration, in the order of ffi/load.ts. */
enum load_config {
    CONFIG_OP_COUNT,
    CONFIG_KIND_COUNT,
    CONFIG_THREAD_CAPACITY,
    CONFIG_WORD_COUNT,
    CONFIG_SEED,
    CONFIG_POLICY,
    CONFIG_JOIN_FD,
    CONFIG_CPU_MASK_BYTES,
    CONFIG_IS_FREE,
    CONFIG_HINT_TABLE,
    CONFIG_FIRST_SID,
    CONFIG_JOIN_ENCLAVE,
};

static void ring(struct load *load)
{
    atomic_fetch_add(&load->doorbell, 1);
    shim_futex_wake_word((uint32_t *)&load->doorbell, 1);
}

void load_fault(struct load_thread *self, int32_t text, int32_t value)
{
    struct load *load = self->load;
    pthread_mutex_lock(&load->lock);
    if (load->fault_count < LOAD_FAULTS_MAX)
        load->faults[load->fault_count++] = (struct load_fault){self->index, text, value};
    pthread_mutex_unlock(&load->lock);
}

/* A thread asks once at a time, so the ring has room for all of them. */
int32_t load_request(struct load_thread *self, const struct load_op *op)
{
    struct load *load = self->load;
    self->request = *op;
    atomic_store(&self->answer, 0);
    pthread_mutex_lock(&load->lock);
    load->requests[load->request_tail++ % load->thread_capacity] = self->index;
    pthread_mutex_unlock(&load->lock);
    ring(load);
    while (atomic_load(&self->answer) == 0)
        shim_futex_wait_word((uint32_t *)&self->answer, 0, -1);
    return self->request_result;
}

void load_join_children(struct load_thread *self)
{
    struct load *load = self->load;
    while (self->first_child >= 0) {
        struct load_thread *child = &load->threads[self->first_child];
        pthread_join(child->thread, NULL);
        self->first_child = child->next_child;
    }
}

/* The mask's CPU of a number, alone; 0 if there are not so many. */
static int pick_cpu(const struct load *load, int32_t nth, uint8_t *one)
{
    const uint8_t *all = load->cpu_mask;
    for (int32_t cpu = 0; cpu < load->cpu_mask_bytes * 8; cpu++) {
        if ((all[cpu >> 3] >> (cpu & 7) & 1) == 0 || nth-- > 0)
            continue;
        one[cpu >> 3] = (uint8_t)(1 << (cpu & 7));
        return 1;
    }
    return 0;
}

int32_t load_bind(const struct load *load, int32_t nth)
{
    size_t bytes = (size_t)load->cpu_mask_bytes;
    uint8_t one[CPU_MASK_BYTES_MAX] = {0};
    if (nth < 0)
        return shim_rc(sched_setaffinity(0, bytes, load->cpu_mask));
    if (bytes > sizeof(one) || !pick_cpu(load, nth, one))
        return -EINVAL;
    return shim_rc(sched_setaffinity(0, bytes, (void *)one));
}

/* A root is pinned; its children inherit that, as they inherit its class. */
static void pin_root(struct load_thread *self)
{
    struct load *load = self->load;
    int32_t result;
    if (self->parent >= 0 || load->cpu_mask_bytes == 0 || load->is_free)
        return;
    result = load_bind(load, -1);
    if (result != 0)
        load_fault(self, LOAD_FAULT_PIN, result);
}

static void *thread_main(void *argument)
{
    struct load_thread *self = argument;
    struct load *load = self->load;
    atomic_store(&self->tid, (int32_t)syscall(SYS_gettid));
    prctl(PR_SET_NAME, load->kind_names[self->kind], 0, 0, 0);
    /* Sleeps are part of a load; the usual slack of 50 us is not. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    pin_root(self);
    atomic_store(&self->state, LOAD_RUNNING);
    load_run_ops(self);
    load_join_children(self);
    atomic_store(&self->state, LOAD_ENDED);
    atomic_fetch_add(&load->ended_count, 1);
    if (self->parent < 0)
        ring(load);
    return NULL;
}

static void link_child(struct load_thread *parent, struct load_thread *child)
{
    if (parent == NULL)
        return;
    child->next_child = parent->first_child;
    parent->first_child = child->index;
}

static void unlink_child(struct load_thread *parent, struct load_thread *child)
{
    if (parent != NULL)
        parent->first_child = child->next_child;
    atomic_store(&child->state, LOAD_ENDED);
}

int32_t load_start_thread(struct load *load, struct load_thread *parent, int32_t kind,
                          int32_t sibling)
{
    pthread_attr_t attributes;
    struct load_thread *self;
    int32_t result;
    int32_t index = atomic_fetch_add(&load->thread_count, 1);
    if (index >= load->thread_capacity) {
        atomic_fetch_sub(&load->thread_count, 1);
        return -ENOSPC;
    }
    self = &load->threads[index];
    self->kind = kind;
    self->sibling = sibling;
    self->parent = parent == NULL ? -1 : parent->index;
    link_child(parent, self);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    result = -pthread_create(&self->thread, &attributes, thread_main, self);
    pthread_attr_destroy(&attributes);
    if (result != 0)
        unlink_child(parent, self);
    return result;
}

static void free_load(struct load *load)
{
    if (load->buckets != NULL)
        munmap(load->buckets,
               (size_t)load->thread_capacity * LOAD_BUCKET_COUNT * sizeof(*load->buckets));
    free(load->ops);
    free(load->kind_starts);
    free(load->kind_names);
    free(load->threads);
    free(load->words);
    free(load->cpu_mask);
    free(load->requests);
    free(load);
}

static void *copy(const void *from, size_t bytes)
{
    void *to = malloc(bytes == 0 ? 1 : bytes);
    if (to != NULL)
        memcpy(to, from, bytes);
    return to;
}

static void *zeroed(size_t alignment, size_t bytes)
{
    void *memory = aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    if (memory != NULL)
        memset(memory, 0, bytes);
    return memory;
}

static int allocate(struct load *load)
{
    size_t capacity = (size_t)load->thread_capacity;
    size_t word_count = (size_t)load->word_count + 1;
    load->threads = zeroed(64, capacity * sizeof(*load->threads));
    load->words = zeroed(64, word_count * sizeof(*load->words));
    load->requests = calloc(capacity, sizeof(*load->requests));
    /* Only what is touched takes memory. */
    load->buckets = mmap(NULL, capacity * LOAD_BUCKET_COUNT * sizeof(*load->buckets),
                         PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                         -1, 0);
    if (load->buckets == MAP_FAILED)
        load->buckets = NULL;
    return load->threads != NULL && load->words != NULL && load->requests != NULL
           && load->buckets != NULL && load->ops != NULL && load->kind_starts != NULL
           && load->kind_names != NULL && load->cpu_mask != NULL;
}

static int is_config_bad(const double *config)
{
    for (int i = CONFIG_OP_COUNT; i <= CONFIG_WORD_COUNT; i++)
        if (!(config[i] >= 0 && config[i] <= COUNT_MAX))
            return 1;
    return config[CONFIG_OP_COUNT] < 1 || config[CONFIG_KIND_COUNT] < 1
           || config[CONFIG_THREAD_CAPACITY] < 1 || !(config[CONFIG_CPU_MASK_BYTES] >= 0);
}

/* A handle, or -errno. Names have LOAD_NAME_BYTES each; kind 0 is the root's. */
SHIM_API double shim_load_create(const double *config, const void *ops, const void *kind_starts,
                                 const void *kind_names, const void *cpu_mask)
{
    struct load *load;
    if (is_config_bad(config))
        return -EINVAL;
    load = calloc(1, sizeof(*load));
    if (load == NULL)
        return -ENOMEM;
    load->op_count = (int32_t)config[CONFIG_OP_COUNT];
    load->kind_count = (int32_t)config[CONFIG_KIND_COUNT];
    load->thread_capacity = (int32_t)config[CONFIG_THREAD_CAPACITY];
    load->word_count = (int32_t)config[CONFIG_WORD_COUNT];
    load->policy = (int32_t)config[CONFIG_POLICY];
    load->join_fd = (int32_t)config[CONFIG_JOIN_FD];
    load->join_enclave = (int32_t)config[CONFIG_JOIN_ENCLAVE];
    load->cpu_mask_bytes = (int32_t)config[CONFIG_CPU_MASK_BYTES];
    load->is_free = config[CONFIG_IS_FREE] != 0;
    load->hint_table = shim_pointer(config[CONFIG_HINT_TABLE]);
    load->first_sid = (int32_t)config[CONFIG_FIRST_SID];
    load->ops = copy(ops, (size_t)load->op_count * sizeof(*load->ops));
    load->kind_starts = copy(kind_starts, (size_t)load->kind_count * sizeof(int32_t));
    load->kind_names = copy(kind_names, (size_t)load->kind_count * LOAD_NAME_BYTES);
    load->cpu_mask = copy(cpu_mask, (size_t)load->cpu_mask_bytes);
    if (!allocate(load)) {
        free_load(load);
        return -ENOMEM;
    }
    pthread_mutex_init(&load->lock, NULL);
    for (int32_t index = 0; index < load->thread_capacity; index++) {
        struct load_thread *thread = &load->threads[index];
        thread->load = load;
        thread->index = index;
        thread->first_child = thread->next_child = thread->cpu = -1;
        /* Odd, so never zero, where xorshift would stay. */
        thread->random = ((uint64_t)config[CONFIG_SEED] * 2654435761u
                          + (uint64_t)index * 0x9E3779B97F4A7C15u) | 1;
    }
    return (double)(uintptr_t)load;
}

/* Starts the root thread, with every signal blocked in it and in all that it starts. */
SHIM_API int32_t shim_load_start(double handle)
{
    sigset_t old;
    int32_t result = shim_block_signals_save(&old);
    if (result != 0)
        return result;
    result = load_start_thread(shim_pointer(handle), NULL, 0, 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

/* The next thread that wants something of the caller, or NEXT_TIMEOUT, or NEXT_DONE. */
SHIM_API int32_t shim_load_next(double handle, double timeout_ns)
{
    struct load *load = shim_pointer(handle);
    uint64_t end_ns = load_now_ns(CLOCK_MONOTONIC) + (uint64_t)timeout_ns;
    for (;;) {
        uint32_t seen = atomic_load(&load->doorbell);
        int32_t index = NEXT_TIMEOUT;
        uint64_t now_ns;
        pthread_mutex_lock(&load->lock);
        if (load->request_head != load->request_tail)
            index = load->requests[load->request_head++ % load->thread_capacity];
        pthread_mutex_unlock(&load->lock);
        if (index >= 0)
            return index;
        if (atomic_load(&load->threads[0].state) == LOAD_ENDED)
            return NEXT_DONE;
        now_ns = load_now_ns(CLOCK_MONOTONIC);
        if (now_ns >= end_ns)
            return NEXT_TIMEOUT;
        shim_futex_wait_word((uint32_t *)&load->doorbell, seen, (double)(end_ns - now_ns));
    }
}

/* What a thread wants that shim_load_next named: the operation and its arguments. */
SHIM_API void shim_load_request(double handle, int32_t index, void *op)
{
    struct load *load = shim_pointer(handle);
    memcpy(op, &load->threads[index].request, sizeof(struct load_op));
}

/* Answers a thread that asked. */
SHIM_API void shim_load_answer(double handle, int32_t index, int32_t result)
{
    struct load *load = shim_pointer(handle);
    struct load_thread *thread = &load->threads[index];
    thread->request_result = result;
    atomic_store(&thread->answer, 1);
    shim_futex_wake_word((uint32_t *)&thread->answer, 1);
}

/* Loops without a count end, and nobody waits for a token or at a barrier any more. */
SHIM_API void shim_load_stop(double handle)
{
    struct load *load = shim_pointer(handle);
    atomic_store(&load->stop, 1);
    for (int32_t i = 0; i < load->word_count; i++) {
        atomic_store(&load->words[i].value, LOAD_VALUE_STOPPED);
        shim_futex_wake_word((uint32_t *)&load->words[i].value, INT_MAX);
    }
}

/* Sums: threads started, ended, yields, gifts, wake-ups; and the time they were taken. */
SHIM_API void shim_load_totals(double handle, double *totals)
{
    struct load *load = shim_pointer(handle);
    int32_t count = atomic_load(&load->thread_count);
    memset(totals, 0, 6 * sizeof(*totals));
    totals[0] = count;
    totals[1] = atomic_load(&load->ended_count);
    totals[5] = (double)load_now_ns(CLOCK_MONOTONIC);
    for (int32_t index = 0; index < count; index++) {
        struct load_thread *thread = &load->threads[index];
        totals[2] += (double)atomic_load_explicit(&thread->yield_count, memory_order_relaxed);
        totals[3] += (double)atomic_load_explicit(&thread->give_count, memory_order_relaxed);
        totals[4] += (double)atomic_load_explicit(&thread->wake_count, memory_order_relaxed);
    }
}

/* By the thread's id, since the pthread may be gone by now; 0 for one that has ended. */
static double cpu_time_ns(int32_t tid)
{
    struct timespec time = {0, 0};
    clockid_t clock = (clockid_t)((~(unsigned int)tid << 3) | CPU_CLOCK_OF_THREAD);
    if (tid <= 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Of a thread: tid, kind, parent, sibling, state, pc, CPU, its time in ns, yields, gifts, wakes. */
SHIM_API int32_t shim_load_thread(double handle, int32_t index, double *facts)
{
    struct load *load = shim_pointer(handle);
    struct load_thread *thread;
    if (index < 0 || index >= atomic_load(&load->thread_count))
        return -ESRCH;
    thread = &load->threads[index];
    facts[0] = atomic_load(&thread->tid);
    facts[1] = thread->kind;
    facts[2] = thread->parent;
    facts[3] = thread->sibling;
    facts[4] = atomic_load(&thread->state);
    facts[5] = atomic_load(&thread->pc);
    facts[6] = atomic_load(&thread->cpu);
    facts[7] = cpu_time_ns(atomic_load(&thread->tid));
    facts[8] = (double)atomic_load(&thread->yield_count);
    facts[9] = (double)atomic_load(&thread->give_count);
    facts[10] = (double)atomic_load(&thread->wake_count);
    return 0;
}

/* CPU time and CPU of each stage of a thread, LOAD_STAGE_COUNT pairs. */
SHIM_API int32_t shim_load_stages(double handle, int32_t index, void *stages)
{
    struct load *load = shim_pointer(handle);
    if (index < 0 || index >= atomic_load(&load->thread_count))
        return -ESRCH;
    memcpy(stages, load->threads[index].stages, sizeof(load->threads[index].stages));
    return 0;
}

/* Adds the latencies of all threads to LOAD_BUCKET_COUNT sums, and forgets them. */
SHIM_API void shim_load_take_latencies(double handle, double *sums)
{
    struct load *load = shim_pointer(handle);
    int32_t count = atomic_load(&load->thread_count);
    for (int32_t index = 0; index < count; index++) {
        uint32_t *buckets = load->buckets + (size_t)index * LOAD_BUCKET_COUNT;
        if (atomic_load_explicit(&load->threads[index].wake_count, memory_order_relaxed) == 0)
            continue;
        for (int32_t i = 0; i < LOAD_BUCKET_COUNT; i++)
            if (__atomic_load_n(&buckets[i], __ATOMIC_RELAXED) != 0)
                sums[i] += __atomic_exchange_n(&buckets[i], 0, __ATOMIC_RELAXED);
    }
}

/* A fault by its number: thread, text, value. -ENOENT after the last. */
SHIM_API int32_t shim_load_fault(double handle, int32_t number, int32_t *fault)
{
    struct load *load = shim_pointer(handle);
    int32_t result = -ENOENT;
    pthread_mutex_lock(&load->lock);
    if (number >= 0 && number < load->fault_count) {
        memcpy(fault, &load->faults[number], sizeof(load->faults[number]));
        result = 0;
    }
    pthread_mutex_unlock(&load->lock);
    return result;
}

/* Frees a load whose root has ended or was never started; -EBUSY while threads run. */
SHIM_API int32_t shim_load_free(double handle)
{
    struct load *load = shim_pointer(handle);
    if (atomic_load(&load->thread_count) > 0) {
        if (atomic_load(&load->threads[0].state) != LOAD_ENDED)
            return -EBUSY;
        if (atomic_load(&load->threads[0].tid) != 0)
            pthread_join(load->threads[0].thread, NULL);
    }
    free_load(load);
    return 0;
}

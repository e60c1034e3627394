/*
 * The native peer (peer.h): its memory, and the calls that need no agent.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STATUS_HEADER_BYTES 64
#define QUEUE_HEADER_WORDS 16
#define QUEUE_MSGS_WORD 3
#define QUEUE_ELEMS_MAX 65536
#define PAGE_BYTES 4096
#define NICE_SPREAD 20

/* Fields of the configuration, in the order of PeerOptions in kernels/peer/peer_kernel.ts. */
enum config {
    CONFIG_ABI, CONFIG_CPUS, CONFIG_TASKS, CONFIG_STATUS_WORDS, CONFIG_PRODUCERS, CONFIG_ROUNDS,
    CONFIG_RUN_NS_MAX, CONFIG_REFUSE_PER_10000, CONFIG_MANUAL, CONFIG_SEED, CONFIG_FIELDS
};

/* What peer_address() is asked for. */
enum region { REGION_STATUS_WORDS, REGION_CPU_DATA };

double peer_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* A number below `bound` (xorshift64*). */
uint32_t peer_random(uint64_t *state, uint32_t bound)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 2685821657736338717u) >> 33) % bound;
}

struct ghost_status_word *peer_word(struct peer *self, int32_t index)
{
    return (struct ghost_status_word *)(self->status_region + STATUS_HEADER_BYTES) + index;
}

int32_t peer_allocate_word(struct peer *self, int64_t gtid, uint32_t flags)
{
    for (int32_t index = 0; index < self->status_capacity; index++) {
        struct ghost_status_word *word = peer_word(self, index);
        if (word->flags != 0)
            continue;
        word->gtid = (uint64_t)gtid;
        word->runtime = 0;
        word->switch_time = 0;
        /* The barrier goes on from the last user of the word. */
        __atomic_store_n(&word->flags, SW_INUSE | SW_ALLOCATED | flags, __ATOMIC_RELEASE);
        return index;
    }
    return -ENOMEM;
}

void peer_change_flags(struct peer *self, int32_t index, uint32_t set, uint32_t clear)
{
    struct ghost_status_word *word = peer_word(self, index);
    __atomic_store_n(&word->flags, (word->flags | set) & ~clear, __ATOMIC_RELEASE);
}

uint32_t peer_bump(struct peer *self, int32_t index)
{
    struct ghost_status_word *word = peer_word(self, index);
    uint32_t barrier = word->barrier + 1;
    __atomic_store_n(&word->barrier, barrier, __ATOMIC_RELEASE);
    return barrier;
}

struct peer_task *peer_find(struct peer *self, int64_t gtid)
{
    int64_t slot = (gtid >> 41) - PEER_FIRST_TID;
    if (slot < 0 || slot >= self->task_count || self->tasks[slot].gtid != gtid)
        return NULL;
    return &self->tasks[slot];
}

static int64_t gtid_of(int32_t lo, int32_t hi)
{
    return (int64_t)((uint64_t)(uint32_t)hi << 32 | (uint32_t)lo);
}

/* ---- making and unmaking ---- */

static void *map_pages(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int32_t map_regions(struct peer *self)
{
    size_t words = (size_t)self->status_capacity * sizeof(struct ghost_status_word);
    uint32_t *header;
    self->status_bytes = whole_pages(STATUS_HEADER_BYTES + words);
    self->status_region = map_pages(self->status_bytes);
    self->txns = map_pages((size_t)self->cpu_count * sizeof(struct ghost_txn));
    self->tasks = calloc((size_t)self->task_count + 1, sizeof(*self->tasks));
    if (self->status_region == NULL || self->txns == NULL || self->tasks == NULL)
        return -ENOMEM;
    header = (uint32_t *)self->status_region;
    header[3] = STATUS_HEADER_BYTES;
    header[4] = (uint32_t)self->status_capacity;
    header[5] = (uint32_t)self->status_capacity;
    return 0;
}

static void release(struct peer *self)
{
    for (int32_t id = 0; id < PEER_QUEUES_MAX; id++)
        if (self->queues[id].words != NULL)
            munmap(self->queues[id].words, self->queues[id].bytes);
    if (self->status_region != NULL)
        munmap(self->status_region, self->status_bytes);
    if (self->txns != NULL)
        munmap(self->txns, (size_t)self->cpu_count * sizeof(struct ghost_txn));
    free(self->tasks);
    free(self);
}

static void init_rows(struct peer *self, uint64_t seed)
{
    for (int32_t cpu = 0; cpu < self->cpu_count; cpu++) {
        struct peer_cpu *one = &self->cpus[cpu];
        *one = (struct peer_cpu){.peer = self, .id = cpu, .status_index = -1, .queue = -1,
                                 .current = -1, .latched = -1,
                                 .random = seed * 1000 + 2 * (uint64_t)cpu + 1};
        self->txns[cpu].cpu = cpu;
        self->txns[cpu].state = TXN_COMPLETE;
        self->txns[cpu].owner = -1;
    }
    for (int32_t slot = 0; slot < self->task_count; slot++) {
        struct peer_task *task = &self->tasks[slot];
        task->gtid = (int64_t)(PEER_FIRST_TID + slot) << 41 | 1;
        task->status_index = -1;
        task->departed_index = -1;
        task->rounds_left = self->round_count;
        task->nice = slot % NICE_SPREAD;
    }
    for (int32_t n = 0; n < self->producer_count; n++) {
        self->producers[n].peer = self;
        self->producers[n].random = seed * 2000 + 2 * (uint64_t)n + 1;
    }
}

/* Makes a peer. Returns its handle, or -errno. */
SHIM_API double shim_peer_create(const double *config)
{
    int32_t cpus = (int32_t)config[CONFIG_CPUS], producers = (int32_t)config[CONFIG_PRODUCERS];
    struct peer *self;
    if (cpus < 1 || cpus > PEER_CPUS_MAX || producers < 0 || producers > PEER_PRODUCERS_MAX)
        return -EINVAL;
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    pthread_mutex_init(&self->lock, NULL);
    self->abi = (int32_t)config[CONFIG_ABI];
    self->cpu_count = cpus;
    self->task_count = (int32_t)config[CONFIG_TASKS];
    self->status_capacity = (int32_t)config[CONFIG_STATUS_WORDS];
    self->producer_count = producers;
    self->round_count = (int32_t)config[CONFIG_ROUNDS];
    self->run_ns_max = (int32_t)config[CONFIG_RUN_NS_MAX];
    self->refuse_per_10000 = (int32_t)config[CONFIG_REFUSE_PER_10000];
    self->is_manual = (int32_t)config[CONFIG_MANUAL];
    self->default_queue = -1;
    if (map_regions(self) != 0) {
        release(self);
        return -ENOMEM;
    }
    init_rows(self, (uint64_t)config[CONFIG_SEED] + 1);
    return (double)(uintptr_t)self;
}

/* Starts the CPUs' threads and the producers. */
SHIM_API int32_t shim_peer_start(double handle)
{
    return peer_start_threads(shim_pointer(handle));
}

/*
 * Ends the threads; agents that wait are woken and told that the enclave is gone. The memory
 * stays, because agents may still look at it.
 */
SHIM_API int32_t shim_peer_stop(double handle)
{
    struct peer *self = shim_pointer(handle);
    peer_stop_threads(self);
    pthread_mutex_lock(&self->lock);
    self->is_destroyed = 1;
    self->is_online = 0;
    for (int32_t cpu = 0; cpu < self->cpu_count; cpu++)
        peer_agent_gone(self, &self->cpus[cpu]);
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* Gives the memory back; nobody may use the handle or the mappings any more. */
SHIM_API int32_t shim_peer_free(double handle)
{
    release(shim_pointer(handle));
    return 0;
}

SHIM_API double shim_peer_address(double handle, int32_t region)
{
    struct peer *self = shim_pointer(handle);
    return (double)(uintptr_t)(region == REGION_CPU_DATA ? (void *)self->txns
                                                         : (void *)self->status_region);
}

SHIM_API double shim_peer_status_bytes(double handle)
{
    return (double)((struct peer *)shim_pointer(handle))->status_bytes;
}

/* Counters, messages by type, longest wait of a task that could run in ns. */
SHIM_API int32_t shim_peer_report(double handle, double *report)
{
    struct peer *self = shim_pointer(handle);
    pthread_mutex_lock(&self->lock);
    memcpy(report, self->counters, sizeof(self->counters));
    memcpy(report + COUNTERS, self->message_counts, sizeof(self->message_counts));
    report[COUNTERS + PEER_MESSAGE_TYPES] = self->longest_wait_ns;
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* ---- queues ---- */

static struct peer_queue *queue_at(struct peer *self, int32_t id)
{
    if (id < 0 || id >= PEER_QUEUES_MAX || !self->queues[id].open)
        return NULL;
    return &self->queues[id];
}

/* Returns the queue's id, or -errno. */
SHIM_API int32_t shim_peer_create_queue(double handle, int32_t elem_count, int32_t node,
                                        int32_t flags)
{
    struct peer *self = shim_pointer(handle);
    int32_t id = 3;
    struct peer_queue *queue;
    if (elem_count < 1 || elem_count > QUEUE_ELEMS_MAX || (elem_count & (elem_count - 1)) != 0 ||
        node != 0 || flags != 0)
        return -EINVAL;
    pthread_mutex_lock(&self->lock);
    while (id < PEER_QUEUES_MAX && self->queues[id].words != NULL)
        id++;
    if (id < PEER_QUEUES_MAX) {
        queue = &self->queues[id];
        queue->bytes = whole_pages((QUEUE_HEADER_WORDS + QUEUE_MSGS_WORD) * 4 +
                                   (size_t)elem_count * 8);
        queue->words = map_pages(queue->bytes);
        queue->elem_count = elem_count;
        queue->open = queue->words != NULL;
    }
    pthread_mutex_unlock(&self->lock);
    if (id == PEER_QUEUES_MAX || queue->words == NULL)
        return -ENOMEM;
    queue->words[1] = QUEUE_HEADER_WORDS * 4;
    queue->words[2] = elem_count;
    return id;
}

/* Bytes of a queue's mapping (`what` 0) or its address (1), or -EBADF. */
SHIM_API double shim_peer_queue_info(double handle, int32_t id, int32_t what)
{
    struct peer_queue *queue = queue_at(shim_pointer(handle), id);
    if (queue == NULL)
        return -EBADF;
    return what == 0 ? (double)queue->bytes : (double)(uintptr_t)queue->words;
}

SHIM_API int32_t shim_peer_close_queue(double handle, int32_t id)
{
    struct peer *self = shim_pointer(handle);
    struct peer_queue *queue;
    pthread_mutex_lock(&self->lock);
    queue = queue_at(self, id);
    if (queue != NULL)
        queue->open = 0;
    if (queue != NULL && self->default_queue == id)
        self->default_queue = -1;
    pthread_mutex_unlock(&self->lock);
    return queue == NULL ? -EBADF : 0;
}

SHIM_API int32_t shim_peer_set_default_queue(double handle, int32_t id)
{
    struct peer *self = shim_pointer(handle);
    if (queue_at(self, id) == NULL)
        return -EBADF;
    self->default_queue = id;
    return 0;
}

/* `count` wake-up targets of `cpu_a` and `cpu_b`. */
SHIM_API int32_t shim_peer_config_wakeup(double handle, int32_t id, int32_t count, int32_t cpu_a,
                                         int32_t cpu_b)
{
    struct peer *self = shim_pointer(handle);
    struct peer_queue *queue = queue_at(self, id);
    int32_t cpus[2] = {cpu_a, cpu_b};
    if (queue == NULL)
        return -EBADF;
    if (count < 0 || count > 2)
        return -EINVAL;
    for (int32_t n = 0; n < count; n++)
        if (cpus[n] < 0 || cpus[n] >= self->cpu_count)
            return -EINVAL;
    pthread_mutex_lock(&self->lock);
    queue->wake_count = count;
    memcpy(queue->wake_cpus, cpus, sizeof(cpus));
    if (count > 0)
        peer_wake_agent(self, &self->cpus[cpus[count - 1]]);
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* ---- tasks and status words ---- */

/* Bits of the queue association's result. */
#define ASSOC_ALREADY 1
#define ASSOC_BRAND_NEW 2

static int32_t associate(struct peer *self, int32_t queue, int64_t gtid, uint32_t barrier)
{
    struct peer_task *task = peer_find(self, gtid);
    int32_t result = 0;
    if (queue_at(self, queue) == NULL)
        return -EBADF;
    if (task == NULL || task->status_index < 0)
        return -ENOENT;
    if (peer_word(self, task->status_index)->barrier != barrier)
        return -ESTALE;
    if (task->gated)
        result |= ASSOC_BRAND_NEW;
    if (task->queue == queue)
        result |= ASSOC_ALREADY;
    task->queue = queue;
    return result;
}

/* A handle of 0 is a dry run, here and below: nothing happens, and it succeeds. */
SHIM_API int32_t shim_peer_associate(double handle, int32_t queue, int32_t gtid_lo,
                                     int32_t gtid_hi, int32_t barrier)
{
    struct peer *self = shim_pointer(handle);
    int32_t result;
    if (self == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    result = associate(self, queue, gtid_of(gtid_lo, gtid_hi), (uint32_t)barrier);
    pthread_mutex_unlock(&self->lock);
    return result;
}

static int32_t free_word(struct peer *self, int32_t index)
{
    uint32_t flags;
    struct peer_task *task;
    if (index < 0 || index >= self->status_capacity)
        return -ENOENT;
    flags = peer_word(self, index)->flags;
    if ((flags & SW_ALLOCATED) == 0)
        return -ENOENT;
    if ((flags & SW_CANFREE) == 0)
        return -EINVAL;
    task = peer_find(self, (int64_t)peer_word(self, index)->gtid);
    __atomic_store_n(&peer_word(self, index)->flags, 0, __ATOMIC_RELEASE);
    self->counters[COUNT_FREED]++;
    if (task == NULL || task->departed_index != index)
        return 0;
    task->departed_index = -1;
    if (task->gated) {
        task->gated = 0;
        peer_send_task(self, task, MSG_TASK_NEW, task->state == TASK_READY);
    }
    return 0;
}

SHIM_API int32_t shim_peer_free_word(double handle, int32_t index)
{
    struct peer *self = shim_pointer(handle);
    int32_t result;
    if (self == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    result = free_word(self, index);
    pthread_mutex_unlock(&self->lock);
    return result;
}

SHIM_API double shim_peer_cpu_time(double handle, int32_t gtid_lo, int32_t gtid_hi)
{
    struct peer *self = shim_pointer(handle);
    struct peer_task *task;
    if (self == NULL)
        return 0;
    task = peer_find(self, gtid_of(gtid_lo, gtid_hi));
    return task == NULL || task->status_index < 0 ? -ESRCH : task->runtime_ns;
}

/* Index of a task's status word, or -ENOENT. */
SHIM_API int32_t shim_peer_task_word(double handle, int32_t gtid_lo, int32_t gtid_hi)
{
    struct peer_task *task = peer_find(shim_pointer(handle), gtid_of(gtid_lo, gtid_hi));
    return task == NULL || task->status_index < 0 ? -ENOENT : task->status_index;
}

/* State of the task in a slot, for tests. */
SHIM_API int32_t shim_peer_task_state(double handle, int32_t slot)
{
    struct peer *self = shim_pointer(handle);
    return slot < 0 || slot >= self->task_count
               ? -ENOENT
               : __atomic_load_n(&self->tasks[slot].state, __ATOMIC_ACQUIRE);
}

/* Opens or closes agent_online: 0 or -EBUSY. */
SHIM_API int32_t shim_peer_set_online(double handle, int32_t online)
{
    struct peer *self = shim_pointer(handle);
    if (online && self->is_online)
        return -EBUSY;
    self->is_online = online;
    return 0;
}

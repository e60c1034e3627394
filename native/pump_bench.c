/*
 * The native side of bench/pump_bench.ts: a producer that plays the kernel, and the consumer's
 * loop in C for comparison. Both consumers work on the same memory (ring, gtid map, columns, run
 * queue, transaction record), laid out by lib/. Not part of the shim.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* Layout of the ABI, in words. */
#define HEAD 0
#define TAIL 1
#define MSGS 3
#define MSG_WORDS 8
#define MSG_SLOTS 4
#define MSG_BYTES 32
#define MSG_TASK_WAKEUP 66
#define MSG_TASK_DEAD 64 /* ends a run */
#define TXN_STATE 2
#define TXN_AGENT_BARRIER 3
#define TXN_TASK_BARRIER 4
#define TXN_FLAGS 5
#define TXN_GTID 6
#define TXN_READY 0x7fffffff
#define TXN_COMPLETE (-0x7fffffff - 1)
#define COMMIT_AT_TXN_COMMIT 2

/* Layout of lib/shared_task_map.ts. */
#define STRIPE_COUNT 64
#define MAP_SLOT_WORDS 3

/* Round trips wait so long between each other, as a CPU does that runs a task. */
#define PAUSE_NS 500
#define BURST 32
#define SAMPLES_MAX 1000000

enum config_field {
    RING, ELEM_COUNT, MAP, STRIPE_SLOTS, GTID_LO, GTID_HI, NEXT, PREV, ENDS, TXN, TASK_COUNT,
    DEPTH, CONFIG_FIELDS
};

enum mode { THROUGHPUT = 0, ROUND_TRIP = 1 };

struct pump {
    pthread_t thread;
    int32_t mode;
    double duration_ns;
    int32_t sent;
    int32_t head;
    int32_t failed;
    _Atomic int32_t *ring;
    _Atomic int32_t *txn;
    int32_t *map, *gtid_lo, *gtid_hi, *next, *prev, *ends;
    int32_t elem_mask, stripe_mask, task_count, depth;
    int32_t taken; /* transactions the producer saw */
    int32_t switches; /* times the producer lost its CPU */
    float *samples;
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Times the calling thread has lost its CPU to another one. */
SHIM_API int32_t pump_switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (int32_t)usage.ru_nivcsw;
}

static void take_transaction(struct pump *self)
{
    if (atomic_load_explicit(self->txn + TXN_STATE, memory_order_acquire) != TXN_READY)
        return;
    self->taken++;
    atomic_store_explicit(self->txn + TXN_STATE, TXN_COMPLETE, memory_order_release);
}

static void publish(struct pump *self)
{
    atomic_store_explicit(self->ring + HEAD, self->head, memory_order_release);
}

/* Appends a message, not yet published. The ring holds whole messages. */
static void append(struct pump *self, int32_t type)
{
    int32_t n = self->sent++, row = n % self->task_count;
    int32_t *at = (int32_t *)self->ring + MSGS + (self->head & self->elem_mask) * 2;
    at[0] = type | MSG_BYTES << 16;
    at[1] = n + 1;
    at[2] = self->gtid_lo[row];
    at[3] = self->gtid_hi[row];
    for (int32_t k = 4; k < MSG_WORDS; k++)
        at[k] = n;
    self->head += MSG_SLOTS;
}

static void wait_for_room(struct pump *self, int32_t slots)
{
    int32_t tail;
    do {
        tail = atomic_load_explicit(self->ring + TAIL, memory_order_acquire);
    } while (self->elem_mask + 1 - (self->head - tail) < slots);
}

/*
 * Bursts, because a consumer that catches up with the producer after each message measures how
 * fast a cache line moves between two CPUs, and nothing of its own.
 */
static void produce(struct pump *self, double end_ns)
{
    while (self->sent % 1024 != 0 || now_ns() < end_ns) {
        wait_for_room(self, BURST * MSG_SLOTS);
        for (int32_t n = 0; n < BURST; n++)
            append(self, MSG_TASK_WAKEUP);
        publish(self);
        take_transaction(self);
    }
    wait_for_room(self, MSG_SLOTS);
}

static void round_trips(struct pump *self, double end_ns)
{
    double done_ns = 0;
    while (self->sent < SAMPLES_MAX && done_ns < end_ns) {
        double begin_ns = now_ns();
        append(self, MSG_TASK_WAKEUP);
        publish(self);
        while (atomic_load_explicit(self->txn + TXN_STATE, memory_order_acquire) != TXN_READY)
            ;
        done_ns = now_ns();
        self->samples[self->sent - 1] = (float)(done_ns - begin_ns);
        self->taken++;
        atomic_store_explicit(self->txn + TXN_STATE, TXN_COMPLETE, memory_order_release);
        while (now_ns() < done_ns + PAUSE_NS)
            ;
    }
}

static void *pump_main(void *argument)
{
    struct pump *self = argument;
    struct sched_param param = {.sched_priority = 1};
    int32_t switches;
    /* An agent outranks everything; without the privilege other processes disturb the figures. */
    sched_setscheduler(0, SCHED_FIFO, &param);
    switches = pump_switches();
    atomic_store(self->txn + TXN_STATE, TXN_COMPLETE);
    if (self->mode == THROUGHPUT)
        produce(self, now_ns() + self->duration_ns);
    else
        round_trips(self, now_ns() + self->duration_ns);
    append(self, MSG_TASK_DEAD);
    publish(self);
    self->switches = pump_switches() - switches;
    return NULL;
}

/* ---- the consumer's loop ---- */

static int32_t hash(int32_t lo, int32_t hi)
{
    uint32_t h = ((uint32_t)lo ^ (uint32_t)hi * 2654435761u) * 2246822507u;
    h ^= h >> 15;
    h *= 3266489909u;
    return (int32_t)(h ^ h >> 13);
}

static int32_t find(const struct pump *self, int32_t lo, int32_t hi)
{
    uint32_t h = (uint32_t)hash(lo, hi);
    int32_t slots = self->stripe_mask + 1;
    int32_t start = STRIPE_COUNT + (int32_t)(h >> 26) * slots * MAP_SLOT_WORDS;
    for (int32_t probe = 0; probe < slots; probe++) {
        int32_t *at = self->map + start + (int32_t)((h + (uint32_t)probe) &
                                                    (uint32_t)self->stripe_mask) * MAP_SLOT_WORDS;
        int32_t value = __atomic_load_n(at, __ATOMIC_ACQUIRE);
        if (value == 0)
            return -1;
        if (value > 0 && at[1] == lo && at[2] == hi) {
            int32_t row = value - 1;
            return self->gtid_lo[row] == lo && self->gtid_hi[row] == hi ? row : -1;
        }
    }
    return -1;
}

static void push_back(struct pump *self, int32_t row)
{
    int32_t last = self->ends[1];
    self->next[row] = 0;
    self->prev[row] = last;
    if (last == 0)
        self->ends[0] = row + 1;
    else
        self->next[last - 1] = row + 1;
    self->ends[1] = row + 1;
    self->ends[2]++;
}

static int32_t pop_front(struct pump *self)
{
    int32_t row = self->ends[0] - 1, next;
    if (row < 0)
        return -1;
    next = self->next[row];
    self->ends[0] = next;
    if (next == 0)
        self->ends[1] = 0;
    else
        self->prev[next - 1] = 0;
    self->next[row] = 0;
    self->prev[row] = 0;
    self->ends[2]--;
    return row;
}

static void open_transaction(struct pump *self, int32_t row, int32_t task_barrier)
{
    int32_t *txn = (int32_t *)self->txn;
    txn[TXN_AGENT_BARRIER] = 0;
    txn[TXN_TASK_BARRIER] = task_barrier;
    txn[TXN_FLAGS] = COMMIT_AT_TXN_COMMIT << 16;
    txn[TXN_GTID] = self->gtid_lo[row];
    txn[TXN_GTID + 1] = self->gtid_hi[row];
    atomic_store_explicit(self->txn + TXN_STATE, TXN_READY, memory_order_release);
}

static void handle(struct pump *self, const int32_t *message)
{
    int32_t row = find(self, message[2], message[3]);
    if (row < 0) {
        self->failed++;
        return;
    }
    push_back(self, row);
    if (self->ends[2] > self->depth)
        open_transaction(self, pop_front(self), message[1]);
}

/* Consumes messages in C until the one that ends the run. Returns the time it took in ns. */
SHIM_API double pump_consume(double handle_address)
{
    struct pump *self = shim_pointer(handle_address);
    int32_t tail = atomic_load(self->ring + TAIL), before, running = 1;
    int32_t quarter = (self->elem_mask + 1) >> 2;
    double begin_ns = now_ns();
    while (running) {
        int32_t head = atomic_load_explicit(self->ring + HEAD, memory_order_acquire);
        if (head == tail)
            continue;
        while (tail != head) {
            const int32_t *message = (int32_t *)self->ring + MSGS + (tail & self->elem_mask) * 2;
            if ((message[0] & 0xffff) == MSG_TASK_DEAD)
                running = 0;
            else
                handle(self, message);
            before = tail;
            tail += ((message[0] >> 16 & 0xffff) + 7) >> 3;
            if (((before ^ tail) & quarter) != 0)
                atomic_store_explicit(self->ring + TAIL, tail, memory_order_release);
        }
        atomic_store_explicit(self->ring + TAIL, tail, memory_order_release);
    }
    return now_ns() - begin_ns;
}

/* ---- control ---- */

SHIM_API double pump_open(const double *config)
{
    struct pump *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->samples = malloc(sizeof(*self->samples) * SAMPLES_MAX);
    if (self->samples == NULL) {
        free(self);
        return -ENOMEM;
    }
    self->ring = shim_pointer(config[RING]);
    self->elem_mask = (int32_t)config[ELEM_COUNT] - 1;
    self->map = shim_pointer(config[MAP]);
    self->stripe_mask = (int32_t)config[STRIPE_SLOTS] - 1;
    self->gtid_lo = shim_pointer(config[GTID_LO]);
    self->gtid_hi = shim_pointer(config[GTID_HI]);
    self->next = shim_pointer(config[NEXT]);
    self->prev = shim_pointer(config[PREV]);
    self->ends = shim_pointer(config[ENDS]);
    self->txn = shim_pointer(config[TXN]);
    self->task_count = (int32_t)config[TASK_COUNT];
    self->depth = (int32_t)config[DEPTH];
    return (double)(uintptr_t)self;
}

/* Starts the producer on a CPU: messages as fast as there is room, or round trips. */
SHIM_API int32_t pump_start(double handle_address, int32_t mode, double duration_ns, int32_t cpu)
{
    struct pump *self = shim_pointer(handle_address);
    pthread_attr_t attributes;
    cpu_set_t set;
    int32_t error;
    self->mode = mode;
    self->duration_ns = duration_ns;
    self->sent = 0;
    self->head = atomic_load(self->ring + HEAD);
    self->taken = 0;
    self->failed = 0;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    pthread_attr_init(&attributes);
    /* From its first instruction on: the caller keeps its own CPU busy. */
    pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
    error = -pthread_create(&self->thread, &attributes, pump_main, self);
    pthread_attr_destroy(&attributes);
    return error;
}

static int compare_samples(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/*
 * Waits for the producer. `result`: messages, transactions, failed look-ups, times the producer
 * lost its CPU, p50 and p99 in ns.
 */
SHIM_API int32_t pump_join(double handle_address, double *result)
{
    struct pump *self = shim_pointer(handle_address);
    int32_t error = -pthread_join(self->thread, NULL), count = self->sent - 1;
    result[0] = count;
    result[1] = self->taken;
    result[2] = self->failed;
    result[3] = self->switches;
    if (self->mode != ROUND_TRIP || count < 1)
        return error;
    qsort(self->samples, (size_t)count, sizeof(*self->samples), compare_samples);
    result[4] = self->samples[count / 2];
    result[5] = self->samples[(int32_t)(count * 0.99)];
    return error;
}

/* Writes out what V8's traces have left in the C library's buffers. */
SHIM_API void pump_flush(void)
{
    fflush(NULL);
}

SHIM_API void pump_close(double handle_address)
{
    struct pump *self = shim_pointer(handle_address);
    free(self->samples);
    free(self);
}

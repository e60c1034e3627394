/*
 * The kernel's side of bench/txn_bench.ts: takes the transactions of a global agent, in the
 * agent's own thread, so that both share one core. Each transaction is checked as a kernel checks
 * it (state, gtid, barrier, able to run), a given share is made stale, and what happens to the
 * tasks comes back as messages. A commit is one call into the kernel: it makes one system call,
 * the cheapest there is. Not part of the shim.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Layout of the ABI, in words. */
#define RING_HEAD 0
#define RING_TAIL 1
#define RING_OVERFLOW 2
#define RING_MSGS 3
#define MSG_NOP 0
#define MSG_TASK_PREEMPT 68
#define MSG_TASK_YIELD 69
#define MSG_TASK_AFFINITY_CHANGED 72
#define OFF_CPU_BYTES 48
#define AFFINITY_BYTES 16
#define STATUS_WORDS 8
#define STATUS_BARRIER 0
#define STATUS_FLAGS 1
#define STATUS_GTID 2
#define SW_ONCPU (1 << 16)
#define SW_RUNNABLE (1 << 17)
#define TXN_WORDS 1024
#define TXN_STATE 2
#define TXN_TASK_BARRIER 4
#define TXN_GTID 6
#define TXN_READY 0x7fffffff
#define TXN_BASE (-0x7fffffff - 1)
#define TXN_COMPLETE TXN_BASE
#define TXN_TARGET_ONCPU (TXN_BASE + 2)
#define TXN_TARGET_STALE (TXN_BASE + 3)
#define TXN_TARGET_NOT_FOUND (TXN_BASE + 4)
#define TXN_TARGET_NOT_RUNNABLE (TXN_BASE + 5)
#define FIRST_TID 1000
#define CPUS_MAX 512
#define MASK_WORDS 16

enum config_field {
    RING, ELEM_COUNT, STATUS, FIRST_INDEX, TXNS, TASK_COUNT, STALE_PER_10000, RUNS_ON, CONFIG_FIELDS
};

enum result_field { COMMITTED, STALE, REFUSED, CALLS, KERNEL_NS, OVERFLOWS, RESULT_FIELDS };

struct bench {
    int32_t *ring, *status, *txns;
    uint32_t elem_count;
    int32_t first_index, task_count, stale_per_10000;
    int32_t runs_on; /* 0: a task yields at once; 1: it runs until another takes its CPU */
    uint32_t random;
    int32_t current[CPUS_MAX]; /* task + 1 */
    double results[RESULT_FIELDS];
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint32_t below(struct bench *self, uint32_t bound)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 17;
    self->random ^= self->random << 5;
    return self->random % bound;
}

static int32_t *word_of(struct bench *self, int32_t task)
{
    return self->status + (self->first_index + task) * STATUS_WORDS;
}

/* Tells what happened to a task; its barrier moves with every message. */
static void send(struct bench *self, int32_t task, int32_t type, int32_t bytes, int32_t cpu)
{
    int32_t *ring = self->ring, *slots = ring + RING_MSGS, *word = word_of(self, task), *message;
    uint32_t head = (uint32_t)ring[RING_HEAD], mask = self->elem_count - 1;
    uint32_t tail = (uint32_t)__atomic_load_n(&ring[RING_TAIL], __ATOMIC_ACQUIRE);
    uint32_t count = (uint32_t)bytes / 8, till_end = mask + 1 - (head & mask);
    uint32_t filler = till_end < count ? till_end : 0;
    int32_t barrier = word[STATUS_BARRIER] + 1;
    __atomic_store_n(&word[STATUS_BARRIER], barrier, __ATOMIC_RELEASE);
    if (head - tail + count + filler > mask + 1) {
        self->results[OVERFLOWS]++;
        __atomic_store_n(&ring[RING_OVERFLOW], ring[RING_OVERFLOW] + 1, __ATOMIC_RELEASE);
        return;
    }
    if (filler > 0)
        slots[(head & mask) * 2] = MSG_NOP | (int32_t)(filler * 8) << 16;
    head += filler;
    message = slots + (head & mask) * 2;
    memset(message, 0, (size_t)bytes);
    message[0] = type | bytes << 16;
    message[1] = barrier;
    message[2] = word[STATUS_GTID];
    message[3] = word[STATUS_GTID + 1];
    if (bytes == OFF_CPU_BYTES)
        message[10] = cpu;
    __atomic_store_n(&ring[RING_HEAD], (int32_t)(head + count), __ATOMIC_RELEASE);
}

/* The checks of a commit, in the kernel's order. */
static int32_t check(struct bench *self, const int32_t *txn, int32_t *task)
{
    const int32_t *word;
    int32_t flags;
    *task = (txn[TXN_GTID + 1] >> 9) - FIRST_TID;
    if (*task < 0 || *task >= self->task_count)
        return TXN_TARGET_NOT_FOUND;
    word = word_of(self, *task);
    if (word[STATUS_GTID] != txn[TXN_GTID] || word[STATUS_GTID + 1] != txn[TXN_GTID + 1])
        return TXN_TARGET_NOT_FOUND;
    if (below(self, 10000) < (uint32_t)self->stale_per_10000)
        send(self, *task, MSG_TASK_AFFINITY_CHANGED, AFFINITY_BYTES, 0);
    if (word[STATUS_BARRIER] != txn[TXN_TASK_BARRIER])
        return TXN_TARGET_STALE;
    flags = word[STATUS_FLAGS];
    if ((flags & SW_RUNNABLE) == 0)
        return TXN_TARGET_NOT_RUNNABLE;
    return (flags & SW_ONCPU) != 0 ? TXN_TARGET_ONCPU : TXN_COMPLETE;
}

static void set_oncpu(struct bench *self, int32_t task, int32_t is_on)
{
    int32_t *flags = &word_of(self, task)[STATUS_FLAGS];
    __atomic_store_n(flags, is_on ? *flags | SW_ONCPU : *flags & ~SW_ONCPU, __ATOMIC_RELEASE);
}

static void commit_one(struct bench *self, int32_t cpu)
{
    int32_t *txn = self->txns + cpu * TXN_WORDS, task, state, previous;
    if (__atomic_load_n(&txn[TXN_STATE], __ATOMIC_ACQUIRE) != TXN_READY)
        return;
    state = check(self, txn, &task);
    if (state == TXN_COMPLETE) {
        self->results[COMMITTED]++;
        if (!self->runs_on) {
            send(self, task, MSG_TASK_YIELD, OFF_CPU_BYTES, cpu);
        } else {
            previous = self->current[cpu] - 1;
            if (previous >= 0) {
                set_oncpu(self, previous, 0);
                send(self, previous, MSG_TASK_PREEMPT, OFF_CPU_BYTES, cpu);
            }
            self->current[cpu] = task + 1;
            set_oncpu(self, task, 1);
        }
    } else {
        self->results[state == TXN_TARGET_STALE ? STALE : REFUSED]++;
    }
    __atomic_store_n(&txn[TXN_STATE], state, __ATOMIC_RELEASE);
}

/* COMMIT_TXN with a mask of CPUs. */
SHIM_API void txn_commit(double handle, const int32_t *mask)
{
    struct bench *self = shim_pointer(handle);
    double begin_ns = now_ns();
    int32_t word;
    syscall(SYS_getppid);
    self->results[CALLS]++;
    for (word = 0; word < MASK_WORDS; word++) {
        uint32_t bits = (uint32_t)mask[word];
        for (; bits != 0; bits &= bits - 1)
            commit_one(self, word * 32 + __builtin_ctz(bits));
    }
    self->results[KERNEL_NS] += now_ns() - begin_ns;
}

/* Gives out what was counted, and begins anew. */
SHIM_API void txn_results(double handle, double *results)
{
    struct bench *self = shim_pointer(handle);
    memcpy(results, self->results, sizeof(self->results));
    memset(self->results, 0, sizeof(self->results));
}

SHIM_API double txn_open(const double *config)
{
    struct bench *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->ring = shim_pointer(config[RING]);
    self->elem_count = (uint32_t)config[ELEM_COUNT];
    self->status = shim_pointer(config[STATUS]);
    self->first_index = (int32_t)config[FIRST_INDEX];
    self->txns = shim_pointer(config[TXNS]);
    self->task_count = (int32_t)config[TASK_COUNT];
    self->stale_per_10000 = (int32_t)config[STALE_PER_10000];
    self->runs_on = (int32_t)config[RUNS_ON];
    self->random = 2463534242u;
    return (double)(uintptr_t)self;
}

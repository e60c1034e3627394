/*
 * The other side of the memory order tests (ffi/memory_test.ts): C threads that produce, consume
 * and rewrite words which TypeScript reads and writes at the same time. Not part of the shim.
 *
 * Words of a ring: [0] head, [16] tail, from [32] on SLOTS slots of SLOT_WORDS words. Message n has
 * the words n * SLOT_WORDS + k. Words of a seqlock: [0] sequence number, [16..23] the data.
 */
#include "shim.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define TAIL 16
#define RING 32
#define SLOTS 64
#define SLOT_WORDS 8
#define SEQ_DATA 16

enum kind { PRODUCE, PRODUCE_WRONG, CONSUME, COUNT, SEQ_WRITE, SEQ_READ, KINDS };

struct litmus {
    pthread_t thread;
    int32_t kind;
    int32_t rounds;
    _Atomic int32_t *words;
    _Atomic uint32_t stop;
    int32_t errors;
};

static int32_t acquire(_Atomic int32_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void publish(_Atomic int32_t *word, int32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static int32_t get(_Atomic int32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void put(_Atomic int32_t *word, int32_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

/* The test runs on one CPU too: whoever waits gives it away now and then. */
static int keep_waiting(struct litmus *self, int32_t turn)
{
    if (turn % 1000 == 999)
        sched_yield();
    return atomic_load_explicit(&self->stop, memory_order_relaxed) == 0;
}

/* Time for the other side in the middle of a change, also when it runs on the same CPU. */
static void pause_for_other(struct litmus *self, int32_t n, int32_t reads)
{
    if (n % 100 == 0)
        sched_yield();
    for (int32_t k = 0; k < reads; k++)
        get(self->words);
}

static void write_slot(struct litmus *self, int32_t n)
{
    _Atomic int32_t *slot = self->words + RING + n % SLOTS * SLOT_WORDS;
    for (int32_t k = 0; k < SLOT_WORDS; k++)
        put(slot + k, n * SLOT_WORDS + k);
}

static void produce(struct litmus *self)
{
    for (int32_t n = 0; n < self->rounds; n++) {
        for (int32_t turn = 0; n - acquire(self->words + TAIL) >= SLOTS; turn++)
            if (!keep_waiting(self, turn))
                return;
        if (self->kind == PRODUCE) {
            write_slot(self, n);
            publish(self->words, n + 1);
            continue;
        }
        /* The bug that the consumer must notice: the message is published before it is there. */
        publish(self->words, n + 1);
        pause_for_other(self, n, 300);
        write_slot(self, n);
    }
}

static void consume(struct litmus *self)
{
    for (int32_t tail = 0; tail < self->rounds;) {
        int32_t head = acquire(self->words);
        for (int32_t turn = 0; head == tail; turn++) {
            if (!keep_waiting(self, turn))
                return;
            head = acquire(self->words);
        }
        for (; tail != head; tail++) {
            _Atomic int32_t *slot = self->words + RING + tail % SLOTS * SLOT_WORDS;
            for (int32_t k = 0; k < SLOT_WORDS; k++)
                self->errors += get(slot + k) != tail * SLOT_WORDS + k;
        }
        publish(self->words + TAIL, tail);
    }
}

static void count(struct litmus *self)
{
    for (int32_t turn = 0; keep_waiting(self, turn); turn = (turn + 1) % 1000)
        put(self->words, get(self->words) + 1);
}

static void seq_write(struct litmus *self)
{
    int32_t seq = 0;
    for (int32_t turn = 0; keep_waiting(self, turn); turn = (turn + 1) % 1000) {
        put(self->words, ++seq);
        atomic_thread_fence(memory_order_release);
        put(self->words + SEQ_DATA, seq);
        pause_for_other(self, turn, 0);
        for (int32_t k = 1; k < SLOT_WORDS; k++)
            put(self->words + SEQ_DATA + k, seq);
        publish(self->words, ++seq);
        /* Room for a reader to get a consistent copy. */
        pause_for_other(self, 1, 50);
    }
}

static int read_consistent(struct litmus *self)
{
    int32_t copy[SLOT_WORDS], seq = acquire(self->words);
    for (int32_t k = 0; k < SLOT_WORDS; k++)
        copy[k] = get(self->words + SEQ_DATA + k);
    atomic_thread_fence(memory_order_acquire);
    if ((seq & 1) != 0 || get(self->words) != seq)
        return 0;
    for (int32_t k = 1; k < SLOT_WORDS; k++)
        self->errors += copy[k] != copy[0];
    return 1;
}

static void seq_read(struct litmus *self)
{
    for (int32_t n = 0, turn = 0; n < self->rounds && keep_waiting(self, turn); turn++)
        n += read_consistent(self);
}

static void *litmus_main(void *argument)
{
    static void (*const run[KINDS])(struct litmus *) = {
        produce, produce, consume, count, seq_write, seq_read,
    };
    struct litmus *self = argument;
    run[self->kind](self);
    return NULL;
}

/* Starts a thread on `words`. Returns its handle, or -errno. */
SHIM_API double litmus_start(int32_t kind, double words, int32_t rounds)
{
    struct litmus *self;
    int error;
    if (kind < 0 || kind >= KINDS)
        return -EINVAL;
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->kind = kind;
    self->rounds = rounds;
    self->words = shim_pointer(words);
    error = pthread_create(&self->thread, NULL, litmus_main, self);
    if (error == 0)
        return (double)(uintptr_t)self;
    free(self);
    return -error;
}

/* Ends the thread (at once if `stop`, else when it is done) and returns the errors it counted. */
SHIM_API int32_t litmus_join(double handle, int32_t stop)
{
    struct litmus *self = shim_pointer(handle);
    int32_t errors;
    atomic_store(&self->stop, stop != 0);
    pthread_join(self->thread, NULL);
    errors = self->errors;
    free(self);
    return errors;
}

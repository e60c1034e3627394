/*
 * The life of a satellite (satellite.h): a thread that is pinned, becomes the agent of its CPU,
 * gives the CPU away again and again, and ends when it is told to or its enclave is gone.
 */
#define _GNU_SOURCE
#include "satellite.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above any kernel's CPU count; keeps the size of the CPU set from overflowing. */
#define MAX_CPU_NUMBER (1 << 20)
#define STARTING INT32_MIN
/* A wake-up that the kernel took for another one's is given again. */
#define WAKE_AGAIN_NS 5000000
#define STOP_TRIES 400

struct satellite {
    const struct satellite_kind *kind;
    const double *where; /* the caller's, until the start is over */
    void *own;
    pthread_t thread;
    _Atomic int32_t word_index; /* or -errno; STARTING at first; a futex */
    int32_t tid;
    _Atomic uint32_t stop;
    _Atomic uint32_t gives;
    _Atomic int32_t ended; /* 0 while it runs; then -errno, or 1 if it was told to end */
};

/* ---- a satellite of no kernel, for tests: it sleeps until it is woken ---- */

static int32_t begin_alone(void *own, const double *where)
{
    (void)own;
    (void)where;
    return 0;
}

static int32_t give_alone(void *own)
{
    _Atomic uint32_t *kicks = own;
    while (atomic_load(kicks) == 0)
        shim_futex_wait_word((uint32_t *)kicks, 0, -1);
    atomic_fetch_sub(kicks, 1);
    return 0;
}

static void wake_alone(void *own)
{
    atomic_fetch_add((_Atomic uint32_t *)own, 1);
    shim_futex_wake_word(own, 1);
}

static const struct satellite_kind alone = {begin_alone, give_alone, NULL, wake_alone,
                                            sizeof(uint32_t)};

/* In the order of SATELLITE_* in ffi/satellite.ts. */
static const struct satellite_kind *const KINDS[] = {&alone, &satellite_peer, &satellite_ghost,
                                                     &satellite_scx};

/* ---- the thread ---- */

/* The CPU set is allocated by CPU number: cpu_set_t ends at CPU 1023. */
static int32_t pin_self(int32_t cpu)
{
    cpu_set_t *set;
    size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
    int32_t result;
    if (cpu < 0)
        return 0;
    set = CPU_ALLOC(cpu + 1);
    if (set == NULL)
        return -ENOMEM;
    CPU_ZERO_S(bytes, set);
    CPU_SET_S((size_t)cpu, bytes, set);
    result = shim_rc(sched_setaffinity(0, bytes, set));
    CPU_FREE(set);
    return result;
}

static int32_t begin(struct satellite *self)
{
    char name[16];
    int32_t result = pin_self((int32_t)self->where[SATELLITE_PIN_CPU]);
    self->tid = (int32_t)syscall(SYS_gettid);
    snprintf(name, sizeof(name), "ap_task_%d", (int)self->where[SATELLITE_CPU]);
    prctl(PR_SET_NAME, name, 0, 0, 0);
    return result < 0 ? result : self->kind->begin(self->own, self->where);
}

static void *satellite_main(void *argument)
{
    struct satellite *self = argument;
    int32_t index = begin(self), result = 0;
    atomic_store(&self->word_index, index);
    shim_futex_wake_word((uint32_t *)&self->word_index, 1);
    if (index < 0)
        return NULL;
    while ((result == 0 || result == -ESTALE || result == -EINTR) && !atomic_load(&self->stop)) {
        atomic_fetch_add_explicit(&self->gives, 1, memory_order_relaxed);
        result = self->kind->give(self->own);
    }
    if (self->kind->end != NULL)
        self->kind->end(self->own);
    atomic_store(&self->ended, atomic_load(&self->stop) || result >= 0 ? 1 : result);
    return NULL;
}

/* Starts the thread with every signal blocked from its first instruction on. */
static int32_t create_thread(struct satellite *self)
{
    sigset_t old;
    int32_t result = shim_block_signals_save(&old);
    if (result != 0)
        return result;
    result = -pthread_create(&self->thread, NULL, satellite_main, self);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return result;
}

static struct satellite *allocate(int32_t kind, const double *where)
{
    struct satellite *self = calloc(1, sizeof(*self));
    if (self == NULL)
        return NULL;
    self->kind = KINDS[kind];
    self->where = where;
    self->word_index = STARTING;
    self->own = calloc(1, self->kind->own_bytes);
    if (self->own != NULL)
        return self;
    free(self);
    return NULL;
}

static void release(struct satellite *self)
{
    free(self->own);
    free(self);
}

/* Returns a handle once the thread is the agent, or -errno; nothing is left behind then. */
SHIM_API double shim_satellite_start(int32_t kind, const double *where)
{
    struct satellite *self;
    int32_t result;
    if (kind < 0 || kind >= (int32_t)(sizeof(KINDS) / sizeof(KINDS[0])) ||
        !(where[SATELLITE_CPU] >= 0 && where[SATELLITE_CPU] <= MAX_CPU_NUMBER))
        return -EINVAL;
    self = allocate(kind, where);
    if (self == NULL)
        return -ENOMEM;
    result = create_thread(self);
    if (result == 0) {
        while ((result = atomic_load(&self->word_index)) == STARTING)
            shim_futex_wait_word((uint32_t *)&self->word_index, (uint32_t)STARTING, -1);
        if (result >= 0)
            return (double)(uintptr_t)self;
        pthread_join(self->thread, NULL);
    }
    release(self);
    return result;
}

/*
 * Of a satellite: 0 index of its status word, 1 thread id, 2 times it gave its CPU away, 3 how it
 * has ended: 0 not at all, 1 as it was told to, or -errno.
 */
SHIM_API int32_t shim_satellite_info(double handle, int32_t what)
{
    struct satellite *self = shim_pointer(handle);
    if (self == NULL)
        return -EINVAL;
    if (what == 0)
        return atomic_load(&self->word_index);
    if (what == 3)
        return atomic_load(&self->ended);
    return what == 1 ? self->tid : (int32_t)atomic_load(&self->gives);
}

/* Wakes it once. */
SHIM_API int32_t shim_satellite_wake(double handle)
{
    struct satellite *self = shim_pointer(handle);
    if (self == NULL)
        return -EINVAL;
    self->kind->wake(self->own);
    return 0;
}

/* Ends the thread, waits for its end and frees the handle; -ETIMEDOUT leaves it as it is. */
SHIM_API int32_t shim_satellite_stop(double handle)
{
    struct satellite *self = shim_pointer(handle);
    int32_t result = ETIMEDOUT;
    if (self == NULL)
        return -EINVAL;
    atomic_store(&self->stop, 1);
    for (int32_t n = 0; n < STOP_TRIES && result == ETIMEDOUT; n++) {
        struct timespec deadline = shim_deadline(WAKE_AGAIN_NS);
        self->kind->wake(self->own);
        result = pthread_clockjoin_np(self->thread, NULL, CLOCK_MONOTONIC, &deadline);
    }
    if (result == 0)
        release(self);
    return -result;
}

/*
 * A satellite: a C thread that holds a CPU's place for a scheduler that decides elsewhere. It
 * runs no policy, so it needs no V8 isolate; it is pinned and only yields, or sleeps on a futex
 * and counts the times it was woken.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Above any kernel's CPU count; keeps the size of the CPU set from overflowing. */
#define MAX_CPU_NUMBER (1 << 20)

enum satellite_mode { SATELLITE_YIELD = 0, SATELLITE_BLOCK = 1 };

/* The CPU set is allocated by CPU number: cpu_set_t ends at CPU 1023. */
struct satellite {
    pthread_t thread;
    int32_t cpu;
    int32_t mode;
    _Atomic uint32_t state; /* 0 starting, 1 running, 2 could not start; a futex */
    int32_t error;          /* -errno when state is 2 */
    int32_t tid;
    _Atomic uint32_t stop;
    _Atomic uint32_t kicks; /* a futex: SATELLITE_BLOCK sleeps until it changes */
    _Atomic uint64_t loops;
};

static int32_t pin_self(int32_t cpu)
{
    cpu_set_t *set = CPU_ALLOC(cpu + 1);
    size_t bytes = CPU_ALLOC_SIZE(cpu + 1);
    int32_t result;
    if (set == NULL)
        return -ENOMEM;
    CPU_ZERO_S(bytes, set);
    CPU_SET_S((size_t)cpu, bytes, set);
    result = shim_rc(sched_setaffinity(0, bytes, set));
    CPU_FREE(set);
    return result;
}

static void set_state(struct satellite *self, uint32_t state)
{
    atomic_store(&self->state, state);
    shim_futex_wake_word((uint32_t *)&self->state, 1);
}

static void block_once(struct satellite *self)
{
    uint32_t seen = atomic_load(&self->kicks);
    /* stop is read after kicks: a stop that comes later changes kicks too. */
    if (atomic_load(&self->stop) == 0)
        shim_futex_wait_word((uint32_t *)&self->kicks, seen, -1);
}

static void *satellite_main(void *argument)
{
    struct satellite *self = argument;
    self->tid = (int32_t)syscall(SYS_gettid);
    prctl(PR_SET_NAME, "satellite", 0, 0, 0);
    self->error = pin_self(self->cpu);
    if (self->error != 0) {
        set_state(self, 2);
        return NULL;
    }
    set_state(self, 1);
    while (atomic_load(&self->stop) == 0) {
        if (self->mode == SATELLITE_BLOCK)
            block_once(self);
        else
            sched_yield();
        atomic_fetch_add_explicit(&self->loops, 1, memory_order_relaxed);
    }
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

/* Returns a handle once the thread is on its CPU, or -errno; nothing is left behind then. */
SHIM_API double shim_satellite_start(int32_t cpu, int32_t mode)
{
    struct satellite *self;
    int32_t error;
    if (cpu < 0 || cpu > MAX_CPU_NUMBER)
        return -EINVAL;
    if (mode != SATELLITE_YIELD && mode != SATELLITE_BLOCK)
        return -EINVAL;
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return -ENOMEM;
    self->cpu = cpu;
    self->mode = mode;
    error = create_thread(self);
    if (error == 0) {
        while (atomic_load(&self->state) == 0)
            shim_futex_wait_word((uint32_t *)&self->state, 0, -1);
        if (atomic_load(&self->state) == 1)
            return (double)(uintptr_t)self;
        pthread_join(self->thread, NULL);
        error = self->error;
    }
    free(self);
    return error;
}

SHIM_API int32_t shim_satellite_tid(double handle)
{
    struct satellite *self = shim_pointer(handle);
    return self == NULL ? -EINVAL : self->tid;
}

/* Times the thread has yielded, or has been woken. */
SHIM_API double shim_satellite_loops(double handle)
{
    struct satellite *self = shim_pointer(handle);
    return self == NULL ? -EINVAL : (double)atomic_load(&self->loops);
}

/* Wakes a blocked satellite once. Returns the number of threads woken. */
SHIM_API int32_t shim_satellite_kick(double handle)
{
    struct satellite *self = shim_pointer(handle);
    if (self == NULL)
        return -EINVAL;
    atomic_fetch_add(&self->kicks, 1);
    return shim_futex_wake_word((uint32_t *)&self->kicks, 1);
}

/* Stops the thread, waits for its end and frees the handle. */
SHIM_API int32_t shim_satellite_stop(double handle)
{
    struct satellite *self = shim_pointer(handle);
    int32_t result;
    if (self == NULL)
        return -EINVAL;
    atomic_store(&self->stop, 1);
    shim_satellite_kick(handle);
    result = -pthread_join(self->thread, NULL);
    if (result == 0)
        free(self);
    return result;
}

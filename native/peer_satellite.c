/*
 * An agent of the native peer that runs no policy: a C thread that is the agent of a CPU which
 * never gets the global role, and only gives that CPU away, again and again. It needs no isolate.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

SHIM_API int32_t shim_peer_become_agent(double handle, int32_t cpu_id, int32_t queue_id);
SHIM_API int32_t shim_peer_local_yield(double handle, int32_t cpu_id, int32_t barrier,
                                       int32_t run_flags);
SHIM_API int32_t shim_peer_leave(double handle, int32_t cpu_id);

#define STARTING INT32_MIN

struct satellite {
    double peer;
    int32_t cpu;
    int32_t queue;
    int32_t status_index; /* or -errno; STARTING at first; a futex */
    uint32_t stop;
    int32_t tid;
    uint32_t yields;
    pthread_t thread;
};

static void *satellite_main(void *argument)
{
    struct satellite *self = argument;
    struct peer *peer = shim_pointer(self->peer);
    int32_t index = shim_peer_become_agent(self->peer, self->cpu, self->queue), result = 0;
    self->tid = (int32_t)syscall(SYS_gettid);
    prctl(PR_SET_NAME, "ap_satellite", 0, 0, 0);
    __atomic_store_n(&self->status_index, index, __ATOMIC_RELEASE);
    shim_futex_wake_word((uint32_t *)&self->status_index, 1);
    while (index >= 0 && result != -ENODEV && !__atomic_load_n(&self->stop, __ATOMIC_ACQUIRE)) {
        /* A message or a ping since this reading makes the yield return at once. */
        uint32_t barrier = __atomic_load_n(&peer_word(peer, index)->barrier, __ATOMIC_ACQUIRE);
        __atomic_fetch_add(&self->yields, 1, __ATOMIC_RELAXED);
        result = shim_peer_local_yield(self->peer, self->cpu, (int32_t)barrier, 0);
    }
    return NULL;
}

/* Starts the thread and waits until it is the agent. Returns a handle, or -errno. */
SHIM_API double shim_peer_satellite_start(double peer, int32_t cpu, int32_t queue)
{
    struct satellite *self = calloc(1, sizeof(*self));
    int32_t index, result;
    sigset_t old;
    if (self == NULL)
        return -ENOMEM;
    self->peer = peer;
    self->cpu = cpu;
    self->queue = queue;
    self->status_index = STARTING;
    result = shim_block_signals_save(&old);
    if (result == 0) {
        result = -pthread_create(&self->thread, NULL, satellite_main, self);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (result != 0) {
        free(self);
        return result;
    }
    while ((index = __atomic_load_n(&self->status_index, __ATOMIC_ACQUIRE)) == STARTING)
        shim_futex_wait_word((uint32_t *)&self->status_index, (uint32_t)STARTING, -1);
    if (index >= 0)
        return (double)(uintptr_t)self;
    pthread_join(self->thread, NULL);
    free(self);
    return index;
}

/* What of a satellite: 0 index of its status word, 1 thread id, 2 times it gave its CPU away. */
SHIM_API int32_t shim_peer_satellite_info(double handle, int32_t what)
{
    struct satellite *self = shim_pointer(handle);
    if (what == 0)
        return self->status_index;
    return what == 1 ? self->tid : (int32_t)__atomic_load_n(&self->yields, __ATOMIC_RELAXED);
}

/* Ends the thread, and its agent with it. */
SHIM_API int32_t shim_peer_satellite_stop(double handle)
{
    struct satellite *self = shim_pointer(handle);
    __atomic_store_n(&self->stop, 1, __ATOMIC_RELEASE);
    shim_peer_leave(self->peer, self->cpu);
    pthread_join(self->thread, NULL);
    free(self);
    return 0;
}

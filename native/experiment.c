/*
 * The experiments' pool of threads, and two that need nothing else: threads that wait, and threads
 * that yield.
 */
#define _GNU_SOURCE
#include "experiment.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Threads run C only and call into a database: what they need, not the 8 MB of a main thread. */
#define STACK_BYTES (512 * 1024)
#define NAME_BYTES 16

static uint32_t *plain(_Atomic uint32_t *word)
{
    return (uint32_t *)word;
}

void exp_mark_runnable(_Atomic uint32_t *word, enum exp_wait how)
{
    atomic_store_explicit(word, 1, memory_order_release);
    if (how == EXP_WAIT_FUTEX)
        shim_futex_wake_word(plain(word), 1);
}

void exp_wait_until_runnable(_Atomic uint32_t *word, enum exp_wait how)
{
    while (atomic_load_explicit(word, memory_order_acquire) == 0) {
        if (how == EXP_WAIT_FUTEX)
            shim_futex_wait_word(plain(word), 0, -1);
        else
            exp_pause();
    }
}

void exp_sleep_until(double time_ns)
{
    struct timespec until;
    until.tv_sec = (time_t)(time_ns / 1e9);
    until.tv_nsec = (long)(time_ns - (double)until.tv_sec * 1e9);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

int exp_should_exit(const struct exp_pool *pool, uint32_t sid)
{
    return atomic_load_explicit(&pool->threads[sid].exit_wanted, memory_order_acquire) != 0;
}

/*
 * The affinity is the creator's otherwise, which keeps itself on one CPU. A mask of all CPUs is
 * cut by the kernel to those that are allowed.
 */
static int32_t set_affinity(int32_t cpu)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (int32_t one = 0; one < CPU_SETSIZE; one++) {
        if (cpu < 0 || one == cpu)
            CPU_SET(one, &cpus);
    }
    return shim_rc(sched_setaffinity(0, sizeof cpus, &cpus));
}

static void *thread_main(void *argument)
{
    struct exp_thread *self = argument;
    struct exp_pool *pool = self->pool;
    const int32_t error = set_affinity(self->cpu);
    if (error != 0)
        atomic_store(&pool->error, -error);
    atomic_store(&self->tid, (int32_t)syscall(SYS_gettid));
    atomic_fetch_add(&pool->ready_count, 1);
    prctl(PR_SET_TIMERSLACK, 1);
    exp_wait_until_runnable(&pool->go, EXP_WAIT_FUTEX);
    while (!exp_should_exit(pool, self->sid))
        pool->body(pool, self->sid);
    atomic_fetch_add(&pool->exited_count, 1);
    return NULL;
}

/* One thread, with all signals blocked: they are the main thread's. 0 or -errno. */
static int32_t start_thread(struct exp_thread *thread, const char *name)
{
    pthread_attr_t attributes;
    sigset_t old;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    shim_block_signals_save(&old);
    const int error = pthread_create(&thread->thread, &attributes, thread_main, thread);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    if (error == 0) {
        char text[NAME_BYTES];
        snprintf(text, sizeof text, "%.8s-%u", name, thread->sid);
        pthread_setname_np(thread->thread, text);
    }
    return -error;
}

void exp_pool_open(struct exp_pool *pool)
{
    atomic_store(&pool->go, 1);
    shim_futex_wake_word(plain(&pool->go), INT_MAX);
}

static int32_t mark_exit(struct exp_thread *thread)
{
    const uint32_t before = atomic_exchange(&thread->exit_wanted, 1);
    shim_futex_wake_word(plain(&thread->exit_wanted), INT_MAX);
    return before == 0;
}

void exp_pool_join(struct exp_pool *pool)
{
    for (uint32_t sid = 0; sid < pool->count; sid++)
        pthread_join(pool->threads[sid].thread, NULL);
}

static void give_up(struct exp_pool *pool)
{
    for (uint32_t sid = 0; sid < pool->count; sid++)
        mark_exit(&pool->threads[sid]);
    exp_pool_open(pool);
    exp_pool_join(pool);
    free(pool->threads);
}

int32_t exp_pool_start(struct exp_pool *pool, uint32_t count, const int32_t *cpus, exp_body *body,
                       const char *name)
{
    pool->threads = calloc(count, sizeof *pool->threads);
    if (pool->threads == NULL)
        return -ENOMEM;
    pool->body = body;
    int32_t error = 0;
    for (pool->count = 0; pool->count < count && error == 0;) {
        struct exp_thread *thread = &pool->threads[pool->count];
        thread->pool = pool;
        thread->sid = pool->count;
        thread->cpu = cpus == NULL ? -1 : cpus[pool->count];
        error = start_thread(thread, name);
        if (error == 0)
            pool->count++;
    }
    while (atomic_load(&pool->ready_count) < pool->count)
        usleep(100);
    if (error == 0)
        error = -atomic_load(&pool->error);
    if (error != 0)
        give_up(pool);
    return error;
}

/* Thread id of a thread of any experiment. */
SHIM_API int32_t exp_pool_tid(double handle, uint32_t sid)
{
    const struct exp_pool *pool = shim_pointer(handle);
    return sid < pool->count ? atomic_load(&pool->threads[sid].tid) : -EINVAL;
}

/* Lets the threads begin. */
SHIM_API void exp_pool_go(double handle)
{
    exp_pool_open(shim_pointer(handle));
}

/* Tells a thread to end: 1 the first time, then 0. */
SHIM_API int32_t exp_pool_mark_exit(double handle, uint32_t sid)
{
    struct exp_pool *pool = shim_pointer(handle);
    return sid < pool->count ? mark_exit(&pool->threads[sid]) : -EINVAL;
}

/* How many threads have ended. */
SHIM_API uint32_t exp_pool_exited(double handle)
{
    const struct exp_pool *pool = shim_pointer(handle);
    return atomic_load(&pool->exited_count);
}

/* Joins the threads, which were all told to end, and frees a pool of idle or yielding threads. */
SHIM_API void exp_pool_free(double handle)
{
    struct exp_pool *pool = shim_pointer(handle);
    exp_pool_join(pool);
    free(pool->threads);
    free(pool);
}

static void idle_body(struct exp_pool *pool, uint32_t sid)
{
    shim_futex_wait_word(plain(&pool->threads[sid].exit_wanted), 0, -1);
}

/* Threads that sleep until they are told to end. Their handle, or -errno. */
SHIM_API double exp_idle_create(uint32_t count)
{
    struct exp_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return -ENOMEM;
    const int32_t error = exp_pool_start(pool, count, NULL, idle_body, "idle");
    if (error == 0)
        return (double)(uintptr_t)pool;
    free(pool);
    return error;
}

struct yielder {
    struct exp_pool pool;
    uint32_t loop_count;
};

static void yield_body(struct exp_pool *pool, uint32_t sid)
{
    const uint32_t loop_count = ((struct yielder *)pool)->loop_count;
    for (uint32_t i = 0; i < loop_count; i++)
        sched_yield();
    atomic_store(&pool->threads[sid].exit_wanted, 1);
}

/* Threads that yield so often each and end (reference section 6.3). Their handle, or -errno. */
SHIM_API double exp_yield_create(uint32_t count, uint32_t loop_count)
{
    struct yielder *yielder = calloc(1, sizeof *yielder);
    if (yielder == NULL)
        return -ENOMEM;
    yielder->loop_count = loop_count;
    const int32_t error = exp_pool_start(&yielder->pool, count, NULL, yield_body, "yield");
    if (error == 0)
        return (double)(uintptr_t)yielder;
    free(yielder);
    return error;
}

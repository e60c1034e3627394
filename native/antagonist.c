/*
 * The antagonist: each thread uses a share of a CPU and notes what it got (reference section 6.2).
 */
#define _GNU_SOURCE
#include "experiment.h"

#include <stdlib.h>

#define PERIOD_NS 100000.0

struct soak {
    double start_ns; /* 0: not begun */
    double usage_start_ns;
    _Atomic double run_ns;
    char unused[CACHE_LINE - 3 * sizeof(double)];
};

struct antagonist {
    struct exp_pool pool;
    double work_share;
    struct soak *soaks;
};

/*
 * One period: works until the share of all periods so far is used, then sleeps until the period is
 * over. A thread that was kept from running works on without a sleep until it has caught up.
 */
static void soak_body(struct exp_pool *pool, uint32_t sid)
{
    struct antagonist *antagonist = (struct antagonist *)pool;
    struct soak *soak = &antagonist->soaks[sid];
    if (soak->start_ns == 0) {
        soak->start_ns = exp_now_ns();
        soak->usage_start_ns = exp_thread_cpu_ns();
    }
    const double period_count = __builtin_ceil((exp_now_ns() - soak->start_ns) / PERIOD_NS);
    const double target_ns = period_count * antagonist->work_share * PERIOD_NS;
    double usage_ns;
    do {
        usage_ns = exp_thread_cpu_ns() - soak->usage_start_ns;
    } while (usage_ns < target_ns && !exp_should_exit(pool, sid));
    atomic_store_explicit(&soak->run_ns, usage_ns, memory_order_relaxed);
    exp_sleep_until(soak->start_ns + period_count * PERIOD_NS);
}

/* Threads on `cpus` (-1: any) that wait for exp_pool_go. The handle, or -errno. */
SHIM_API double exp_antagonist_create(uint32_t count, const int32_t *cpus, double work_share)
{
    struct antagonist *antagonist = calloc(1, sizeof *antagonist);
    if (antagonist == NULL)
        return -ENOMEM;
    antagonist->work_share = work_share;
    antagonist->soaks = calloc(count, sizeof *antagonist->soaks);
    int32_t error = -ENOMEM;
    if (antagonist->soaks != NULL)
        error = exp_pool_start(&antagonist->pool, count, cpus, soak_body, "soak");
    if (error == 0)
        return (double)(uintptr_t)antagonist;
    free(antagonist->soaks);
    free(antagonist);
    return error;
}

/* CPU time in ns that a thread has used since it began. */
SHIM_API double exp_antagonist_run_ns(double handle, uint32_t sid)
{
    const struct antagonist *antagonist = shim_pointer(handle);
    return sid < antagonist->pool.count ? atomic_load(&antagonist->soaks[sid].run_ns) : -EINVAL;
}

/* Ends the threads; what they used can be read until exp_antagonist_free. */
SHIM_API void exp_antagonist_stop(double handle)
{
    struct antagonist *antagonist = shim_pointer(handle);
    struct exp_pool *pool = &antagonist->pool;
    for (uint32_t sid = 0; sid < pool->count; sid++)
        atomic_store(&pool->threads[sid].exit_wanted, 1);
    exp_pool_open(pool); /* threads that were never let go end at the gate */
    exp_pool_join(pool);
}

SHIM_API void exp_antagonist_free(double handle)
{
    struct antagonist *antagonist = shim_pointer(handle);
    free(antagonist->pool.threads);
    free(antagonist->soaks);
    free(antagonist);
}

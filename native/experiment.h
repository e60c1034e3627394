/*
 * What the experiments' native parts share: a pool of threads, waiting, clocks, random numbers,
 * Poisson arrivals. The hot loops of rocksdb and antagonist are here, because a thread whose work
 * is measured in microseconds must not be a JavaScript Worker.
 */
#ifndef GHOST_EXPERIMENT_H
#define GHOST_EXPERIMENT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "shim.h"

#define CACHE_LINE 64

struct exp_pool;

/* What a thread does; called again and again until the thread is to end. */
typedef void exp_body(struct exp_pool *pool, uint32_t sid);

struct exp_thread {
    struct exp_pool *pool;
    pthread_t thread;
    uint32_t sid;
    int32_t cpu; /* -1: any */
    _Atomic int32_t tid;
    _Atomic uint32_t exit_wanted; /* a futex */
};

/* The first member of every experiment; `sid` counts its threads from 0. */
struct exp_pool {
    uint32_t count;
    struct exp_thread *threads;
    exp_body *body;
    _Atomic uint32_t ready_count;
    _Atomic int32_t error; /* errno of a thread that could not be pinned */
    _Atomic uint32_t go; /* a futex: the threads wait for it before the first call of body */
    _Atomic uint32_t exited_count;
};

/* Starts the threads and waits until each is pinned; 0 or -errno, and then no thread is left. */
int32_t exp_pool_start(struct exp_pool *pool, uint32_t count, const int32_t *cpus, exp_body *body,
                       const char *name);
/* Lets the threads begin. */
void exp_pool_open(struct exp_pool *pool);
/* Waits for the end of threads that were all told to end. `threads` is the caller's to free. */
void exp_pool_join(struct exp_pool *pool);
int exp_should_exit(const struct exp_pool *pool, uint32_t sid);

/* How a thread waits for work: it spins, or sleeps. Upstream's ThreadWait. */
enum exp_wait { EXP_WAIT_SPIN, EXP_WAIT_FUTEX };
void exp_mark_runnable(_Atomic uint32_t *word, enum exp_wait how);
void exp_wait_until_runnable(_Atomic uint32_t *word, enum exp_wait how);
/* Sleeps until a time of CLOCK_MONOTONIC, without the usual slack of 50 us. */
void exp_sleep_until(double time_ns);

static inline void exp_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline double exp_clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static inline double exp_now_ns(void)
{
    return exp_clock_ns(CLOCK_MONOTONIC);
}

static inline double exp_thread_cpu_ns(void)
{
    return exp_clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* splitmix64 (Steele, Lea, Flood): one word of state, any seed. */
static inline uint64_t exp_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Uniform in [0, 1). */
static inline double exp_uniform(uint64_t *state)
{
    return (double)(exp_random(state) >> 11) * 0x1p-53;
}

/* 0 to n - 1; the bias of one in 2^32 / n is far below what an experiment can see. */
static inline uint32_t exp_below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((exp_random(state) >> 32) * n >> 32);
}

/* A seed of its own for each purpose, from the user's. */
static inline uint64_t exp_branch(uint64_t seed, uint64_t purpose)
{
    uint64_t state = seed ^ purpose * 0xd1342543de82ef95u;
    return exp_random(&state);
}

/* An exponentially distributed sample (arrivals.c). */
double exp_exponential(uint64_t *state, double mean);

/* Work of one request, as the rest of the load and ffi/experiment_library.ts know it. */
enum exp_kind { EXP_GET, EXP_RANGE };

struct exp_request {
    double generated_ns, received_ns, assigned_ns, start_ns, finished_ns; /* 0: not yet */
    uint32_t kind, entry;
};

#define EXP_ENTRY_COUNT 1000000u
#define EXP_RANGE_SIZE 5000u

/* A simulated network card: requests arrive by a Poisson process (arrivals.c). */
struct exp_network {
    double mean_gap_ns; /* 0: nothing ever arrives */
    double next_ns; /* 0: not started */
    double range_ratio;
    uint32_t entry_count, range_size;
    uint64_t random;
};

void exp_network_init(struct exp_network *network, double throughput_rps, double range_ratio,
                      uint64_t seed);
void exp_network_begin(struct exp_network *network, double now_ns);
/* Takes a request that has arrived by now: 1, or 0 if there is none. */
int exp_network_take(struct exp_network *network, double now_ns, struct exp_request *request);

#endif

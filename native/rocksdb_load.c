/*
 * The threads of the rocksdb experiment (reference section 6.1): load generators make requests,
 * dispatchers hand them out under the default scheduler, workers serve them from the database and
 * spin until the request has had its time. With ghOSt the load generators hand requests out
 * themselves, and the workers' rows in the PrioTable say who has work.
 */
#define _GNU_SOURCE
#include "experiment.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hint_table.h"
#include "rocksdb_database.h"

/* Requests that a load generator hands to a dispatcher at once. */
#define GENERATOR_BATCH 100u
/* A worker that sleeps on a futex gets no request so soon after its last, in ns. */
#define RECENT_NS 15000.0
#define DEADLINE_NS 100000.0
/* Threads that share a CPU sleep at most so long, so that they see when they are to end. */
#define NAP_NS 10e6

/* Order of the numbers that ffi/experiment_library.ts passes. */
enum config {
    CONFIG_IS_GHOST,
    CONFIG_WAIT, /* enum exp_wait; not used with hints */
    CONFIG_GENERATORS,
    CONFIG_DISPATCHERS,
    CONFIG_WORKERS,
    CONFIG_THROUGHPUT_RPS,
    CONFIG_RANGE_RATIO,
    CONFIG_GET_NS,
    CONFIG_RANGE_NS,
    CONFIG_GET_EXPONENTIAL_NS,
    CONFIG_BATCH,
    CONFIG_RESERVE, /* requests to make room for beforehand, in each worker */
    CONFIG_SEED,
    CONFIG_DATABASE, /* handle */
    CONFIG_HINTS, /* address of the PrioTable; 0: none */
    CONFIG_SHARES_CPUS, /* 1: threads share CPUs, so that whoever waits sleeps */
};

/* What one thread is handed, and what it has done. */
struct slot {
    _Alignas(CACHE_LINE) _Atomic uint32_t request_count; /* 0: the slot is its giver's */
    _Alignas(CACHE_LINE) _Atomic uint32_t is_runnable;
    _Atomic uint32_t bell; /* a futex of dispatchers on shared CPUs: something has happened */
    _Atomic double last_finished_ns;
    struct exp_request *requests;
    struct exp_request *done;
    size_t done_count, done_capacity;
    char *response;
    uint64_t random;
};

/* A dispatcher's queue: a ring that grows. */
struct queue {
    struct exp_request *requests;
    size_t first, count, capacity;
};

struct load {
    struct exp_pool pool;
    int is_ghost, shares_cpus;
    enum exp_wait wait;
    uint32_t generator_count, dispatcher_count, worker_count, batch, first_worker, range_size;
    double get_ns, range_ns, get_exponential_ns;
    struct exp_database *database;
    void *hints;
    struct slot *slots;
    struct queue *queues;
    struct exp_network *networks;
    _Atomic double start_ns;
    _Atomic uint32_t fault_count; /* wrong answers of the database, and requests lost to memory */
};

/* Tells a dispatcher that there are requests, or that a worker has become idle. */
static void ring(struct load *load, uint32_t sid)
{
    if (!load->shares_cpus)
        return;
    atomic_fetch_add(&load->slots[sid].bell, 1);
    shim_futex_wake_word((uint32_t *)&load->slots[sid].bell, 1);
}

/* ---- serving ---- */

static void serve(struct load *load, struct slot *slot, const struct exp_request *request)
{
    const double begin_ns = exp_thread_cpu_ns();
    double service_ns = load->range_ns;
    int result;
    if (request->kind == EXP_GET) {
        service_ns = load->get_ns;
        if (load->get_exponential_ns > 0)
            service_ns += exp_exponential(&slot->random, load->get_exponential_ns);
        result = exp_database_read(load->database, request->entry, slot->response);
    } else {
        result = exp_database_scan(load->database, request->entry, load->range_size,
                                   slot->response);
    }
    if (result != 1)
        atomic_fetch_add(&load->fault_count, 1);
    /* The thread's own CPU time: it does not advance while the thread is preempted. */
    while (exp_thread_cpu_ns() - begin_ns < service_ns)
        ;
}

static void note_done(struct load *load, struct slot *slot, const struct exp_request *request)
{
    if (slot->done_count == slot->done_capacity) {
        const size_t capacity = slot->done_capacity * 2;
        void *grown = realloc(slot->done, capacity * sizeof *slot->done);
        if (grown == NULL) {
            atomic_fetch_add(&load->fault_count, 1);
            return;
        }
        slot->done = grown;
        slot->done_capacity = capacity;
    }
    slot->done[slot->done_count++] = *request;
}

static void serve_all(struct load *load, struct slot *slot, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct exp_request *request = &slot->requests[i];
        request->start_ns = exp_now_ns();
        serve(load, slot, request);
        request->finished_ns = exp_now_ns();
        note_done(load, slot, request);
    }
}

static void make_worker_runnable(struct load *load, uint32_t sid)
{
    if (load->hints != NULL)
        hint_mark_runnable(load->hints, sid);
    else
        exp_mark_runnable(&load->slots[sid].is_runnable, load->wait);
}

/*
 * With hints a worker may lose its CPU as soon as its row says idle, so it gives its slot up
 * before; who hands out requests looks at both. Without, the other order: a worker that marked
 * itself idle after it was given work would sleep on it for ever.
 */
static void worker_body(struct load *load, uint32_t sid)
{
    struct slot *slot = &load->slots[sid];
    const uint32_t count = atomic_load_explicit(&slot->request_count, memory_order_acquire);
    if (count > 0) {
        serve_all(load, slot, count);
        if (load->hints != NULL) {
            atomic_store_explicit(&slot->request_count, 0, memory_order_release);
            hint_mark_idle(load->hints, sid);
        } else {
            atomic_store_explicit(&slot->last_finished_ns, exp_now_ns(), memory_order_relaxed);
            atomic_store_explicit(&slot->is_runnable, 0, memory_order_relaxed);
            atomic_store_explicit(&slot->request_count, 0, memory_order_release);
            if (!load->is_ghost)
                ring(load, load->generator_count +
                               (sid - load->first_worker) % load->dispatcher_count);
        }
    }
    if (load->hints == NULL) {
        exp_wait_until_runnable(&slot->is_runnable, load->wait);
        return;
    }
    while (hint_is_idle(load->hints, sid) && !exp_should_exit(&load->pool, sid))
        exp_pause();
}

/* ---- handing out ---- */

static int push(struct queue *queue, const struct exp_request *request)
{
    if (queue->count == queue->capacity) {
        const size_t capacity = queue->capacity * 2;
        struct exp_request *grown = malloc(capacity * sizeof *grown);
        if (grown == NULL)
            return 0;
        for (size_t i = 0; i < queue->count; i++)
            grown[i] = queue->requests[(queue->first + i) % queue->capacity];
        free(queue->requests);
        *queue = (struct queue){grown, 0, queue->count, capacity};
    }
    queue->requests[(queue->first + queue->count++) % queue->capacity] = *request;
    return 1;
}

static struct exp_request pop(struct queue *queue)
{
    const struct exp_request request = queue->requests[queue->first];
    queue->first = (queue->first + 1) % queue->capacity;
    queue->count--;
    return request;
}

static void dispatcher_body(struct load *load, uint32_t sid)
{
    struct slot *own = &load->slots[sid];
    struct queue *queue = &load->queues[sid - load->generator_count];
    const uint32_t bell = atomic_load(&own->bell);
    const uint32_t got = atomic_load_explicit(&own->request_count, memory_order_acquire);
    for (uint32_t i = 0; i < got; i++) {
        if (!push(queue, &own->requests[i]))
            atomic_fetch_add(&load->fault_count, 1);
    }
    if (got > 0)
        atomic_store_explicit(&own->request_count, 0, memory_order_release);
    uint32_t given_count = 0;
    for (uint32_t i = sid - load->generator_count; i < load->worker_count && queue->count > 0;
         i += load->dispatcher_count) {
        struct slot *worker = &load->slots[load->first_worker + i];
        if (atomic_load_explicit(&worker->request_count, memory_order_acquire) != 0)
            continue;
        uint32_t count = 0;
        for (; count < load->batch && queue->count > 0; count++) {
            worker->requests[count] = pop(queue);
            worker->requests[count].assigned_ns = exp_now_ns();
        }
        atomic_store_explicit(&worker->request_count, count, memory_order_release);
        exp_mark_runnable(&worker->is_runnable, load->wait);
        given_count += count;
    }
    if (got + given_count > 0)
        return;
    if (load->shares_cpus)
        shim_futex_wait_word((uint32_t *)&own->bell, bell, NAP_NS);
    else
        exp_pause();
}

/* Under the default scheduler a load generator feeds the dispatchers. */
static uint32_t feed_dispatchers(struct load *load, struct exp_network *network)
{
    uint32_t taken_count = 0;
    for (uint32_t i = 0; i < load->dispatcher_count; i++) {
        struct slot *slot = &load->slots[load->generator_count + i];
        if (atomic_load_explicit(&slot->request_count, memory_order_acquire) != 0)
            continue;
        uint32_t count = 0;
        while (count < GENERATOR_BATCH &&
               exp_network_take(network, exp_now_ns(), &slot->requests[count]))
            count++;
        taken_count += count;
        if (count == 0)
            continue;
        atomic_store_explicit(&slot->request_count, count, memory_order_release);
        ring(load, load->generator_count + i);
    }
    return taken_count;
}

/* With ghOSt it feeds its share of the workers: those whose index leaves its own as remainder. */
static uint32_t feed_workers(struct load *load, uint32_t sid, struct exp_network *network)
{
    uint32_t taken_count = 0;
    for (uint32_t i = sid; i < load->worker_count; i += load->generator_count) {
        const uint32_t worker_sid = load->first_worker + i;
        struct slot *worker = &load->slots[worker_sid];
        if (atomic_load_explicit(&worker->request_count, memory_order_acquire) != 0)
            continue;
        if (load->hints != NULL ? !hint_is_idle(load->hints, worker_sid) :
                                  exp_now_ns() - atomic_load(&worker->last_finished_ns) < RECENT_NS)
            continue;
        uint32_t count = 0;
        while (count < load->batch &&
               exp_network_take(network, exp_now_ns(), &worker->requests[count]))
            worker->requests[count++].assigned_ns = exp_now_ns();
        if (count == 0)
            break;
        atomic_store_explicit(&worker->request_count, count, memory_order_release);
        if (load->hints != NULL)
            hint_assign(load->hints, worker_sid, (uint64_t)(exp_now_ns() + DEADLINE_NS));
        else
            exp_mark_runnable(&worker->is_runnable, load->wait);
        taken_count += count;
    }
    return taken_count;
}

static void generator_body(struct load *load, uint32_t sid)
{
    struct exp_network *network = &load->networks[sid];
    if (network->next_ns == 0) {
        const double now_ns = exp_now_ns();
        exp_network_begin(network, now_ns);
        atomic_store(&load->start_ns, now_ns);
    }
    const uint32_t taken_count = load->is_ghost ? feed_workers(load, sid, network) :
                                                  feed_dispatchers(load, network);
    if (taken_count > 0)
        return;
    const double nap_end_ns = exp_now_ns() + NAP_NS;
    const double next_ns = network->next_ns;
    if (load->shares_cpus && network->mean_gap_ns > 0 && next_ns > exp_now_ns())
        exp_sleep_until(next_ns < nap_end_ns ? next_ns : nap_end_ns);
    else if (load->shares_cpus)
        exp_sleep_until(exp_now_ns() + NAP_NS / 1000); /* no dispatcher or worker is free */
    else
        exp_pause();
}

static void body(struct exp_pool *pool, uint32_t sid)
{
    struct load *load = (struct load *)pool;
    if (sid < load->generator_count)
        generator_body(load, sid);
    else if (sid < load->first_worker)
        dispatcher_body(load, sid);
    else
        worker_body(load, sid);
}

/* ---- beginning and end ---- */

static int init_slots(struct load *load, const double *config)
{
    const uint32_t thread_count = load->first_worker + load->worker_count;
    load->slots = aligned_alloc(CACHE_LINE, thread_count * sizeof *load->slots);
    load->queues = calloc(load->dispatcher_count + 1, sizeof *load->queues);
    load->networks = calloc(load->generator_count, sizeof *load->networks);
    if (load->slots == NULL || load->queues == NULL || load->networks == NULL)
        return -ENOMEM;
    memset(load->slots, 0, thread_count * sizeof *load->slots);
    for (uint32_t sid = 0; sid < thread_count; sid++) {
        struct slot *slot = &load->slots[sid];
        const int is_worker = sid >= load->first_worker;
        slot->requests = calloc(is_worker ? load->batch : GENERATOR_BATCH, sizeof *slot->requests);
        slot->random = exp_branch((uint64_t)config[CONFIG_SEED], 1000000 + sid);
        if (slot->requests == NULL)
            return -ENOMEM;
        if (!is_worker)
            continue;
        slot->done_capacity = (size_t)config[CONFIG_RESERVE] + 1;
        slot->done = malloc(slot->done_capacity * sizeof *slot->done);
        slot->response = malloc(EXP_RANGE_SIZE * (EXP_VALUE_BYTES + 1));
        if (slot->done == NULL || slot->response == NULL)
            return -ENOMEM;
        /* The first pages are touched now and not while the clock runs. */
        memset(slot->done, 0, (slot->done_capacity < 1000 ? slot->done_capacity : 1000) *
                                  sizeof *slot->done);
    }
    for (uint32_t i = 0; i < load->dispatcher_count; i++) {
        load->queues[i].capacity = 4096;
        load->queues[i].requests = malloc(4096 * sizeof *load->queues[i].requests);
        if (load->queues[i].requests == NULL)
            return -ENOMEM;
    }
    for (uint32_t i = 0; i < load->generator_count; i++) {
        exp_network_init(&load->networks[i], config[CONFIG_THROUGHPUT_RPS] / load->generator_count,
                         config[CONFIG_RANGE_RATIO], exp_branch((uint64_t)config[CONFIG_SEED], i));
        load->networks[i].entry_count = exp_database_entries(load->database);
        load->networks[i].range_size = load->range_size;
    }
    return 0;
}

/* Frees everything but the database and the hints. */
SHIM_API void exp_rocksdb_free(double handle)
{
    struct load *load = shim_pointer(handle);
    for (uint32_t sid = 0; load->slots != NULL && sid < load->first_worker + load->worker_count;
         sid++) {
        free(load->slots[sid].requests);
        free(load->slots[sid].done);
        free(load->slots[sid].response);
    }
    for (uint32_t i = 0; load->queues != NULL && i < load->dispatcher_count; i++)
        free(load->queues[i].requests);
    free(load->slots);
    free(load->queues);
    free(load->networks);
    free(load->pool.threads);
    free(load);
}

/* Threads that wait for exp_pool_go; `cpus` has one per thread, -1 for any. Handle or -errno. */
SHIM_API double exp_rocksdb_create(const double *config, const int32_t *cpus)
{
    struct load *load = calloc(1, sizeof *load);
    if (load == NULL)
        return -ENOMEM;
    load->is_ghost = config[CONFIG_IS_GHOST] != 0;
    load->shares_cpus = config[CONFIG_SHARES_CPUS] != 0;
    load->wait = (enum exp_wait)config[CONFIG_WAIT];
    load->generator_count = (uint32_t)config[CONFIG_GENERATORS];
    load->dispatcher_count = (uint32_t)config[CONFIG_DISPATCHERS];
    load->worker_count = (uint32_t)config[CONFIG_WORKERS];
    load->first_worker = load->generator_count + load->dispatcher_count;
    load->batch = (uint32_t)config[CONFIG_BATCH];
    load->get_ns = config[CONFIG_GET_NS];
    load->range_ns = config[CONFIG_RANGE_NS];
    load->get_exponential_ns = config[CONFIG_GET_EXPONENTIAL_NS];
    load->database = shim_pointer(config[CONFIG_DATABASE]);
    load->hints = shim_pointer(config[CONFIG_HINTS]);
    const uint32_t entry_count = exp_database_entries(load->database);
    load->range_size = entry_count < EXP_RANGE_SIZE ? entry_count : EXP_RANGE_SIZE;
    int32_t error = init_slots(load, config);
    if (error == 0)
        error = exp_pool_start(&load->pool, load->first_worker + load->worker_count, cpus, body,
                               "rocks");
    if (error == 0)
        return (double)(uintptr_t)load;
    load->pool.threads = NULL;
    exp_rocksdb_free((double)(uintptr_t)load);
    return error;
}

static void end_threads(struct load *load, uint32_t begin, uint32_t end)
{
    for (uint32_t sid = begin; sid < end; sid++)
        atomic_store(&load->pool.threads[sid].exit_wanted, 1);
    while (atomic_load(&load->pool.exited_count) < end) {
        for (uint32_t sid = begin; sid < end; sid++) {
            if (sid >= load->first_worker)
                make_worker_runnable(load, sid);
        }
        usleep(100);
    }
}

/*
 * Ends the load: generators, then dispatchers, then workers, so that each finds its receivers
 * alive. How long it ran, in ns; 0 if it did not begin.
 */
SHIM_API double exp_rocksdb_stop(double handle)
{
    struct load *load = shim_pointer(handle);
    const double start_ns = atomic_load(&load->start_ns);
    const double run_ns = start_ns == 0 ? 0 : exp_now_ns() - start_ns;
    /* A load that was never let go ends at the gate. */
    for (uint32_t sid = 0; start_ns == 0 && sid < load->pool.count; sid++)
        atomic_store(&load->pool.threads[sid].exit_wanted, 1);
    exp_pool_open(&load->pool);
    end_threads(load, 0, load->generator_count);
    end_threads(load, load->generator_count, load->first_worker);
    end_threads(load, load->first_worker, load->pool.count);
    exp_pool_join(&load->pool);
    return run_ns;
}

/* When the load began; CLOCK_MONOTONIC. */
SHIM_API double exp_rocksdb_start_ns(double handle)
{
    const struct load *load = shim_pointer(handle);
    return atomic_load(&load->start_ns);
}

/* Wrong answers of the database and requests that could not be kept. */
SHIM_API uint32_t exp_rocksdb_faults(double handle)
{
    const struct load *load = shim_pointer(handle);
    return atomic_load(&load->fault_count);
}

/* Requests that a thread has served. */
SHIM_API double exp_rocksdb_done_count(double handle, uint32_t sid)
{
    const struct load *load = shim_pointer(handle);
    return (double)load->slots[sid].done_count;
}

/* Address of these requests. */
SHIM_API double exp_rocksdb_done(double handle, uint32_t sid)
{
    const struct load *load = shim_pointer(handle);
    return (double)(uintptr_t)load->slots[sid].done;
}

/* Serves one request in the calling thread, for tests; its CPU time in ns. */
SHIM_API double exp_rocksdb_serve(double handle, uint32_t kind, uint32_t entry)
{
    struct load *load = shim_pointer(handle);
    const struct exp_request request = {.kind = kind, .entry = entry};
    const double begin_ns = exp_thread_cpu_ns();
    serve(load, &load->slots[load->first_worker], &request);
    return exp_thread_cpu_ns() - begin_ns;
}

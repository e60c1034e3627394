/*
 * Load threads: pthreads that carry out a short list of operations, so that a load of
 * experiments/ runs on a real kernel as it does on the simulated one. load.c starts and watches
 * them, load_ops.c is what a thread does. The numbers are those of ffi/load.ts.
 */
#ifndef GHOST_LOAD_H
#define GHOST_LOAD_H

#include "shim.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* Operations: a code and up to three arguments. */
/* A word is number a, or with c = 1 number a plus the thread's place among its siblings. */
enum load_code {
    LOAD_EXIT = 0,
    LOAD_RUN = 1,      /* use the CPU for a ns, and up to b ns more */
    LOAD_SLEEP = 2,    /* sleep for a ns */
    LOAD_YIELD = 3,    /* sched_yield */
    LOAD_ENTER = 4,    /* join the enclave */
    LOAD_LEAVE = 5,    /* back to SCHED_OTHER */
    LOAD_EXPECT = 6,   /* in the enclave's class (a = 1) or not (a = 0); else fault b */
    LOAD_FORK = 7,     /* start b threads of kind a */
    LOAD_JOIN = 8,     /* wait for all children */
    LOAD_LOOP = 9,     /* a times, or until the load is stopped if a < 0; b: behind the END */
    LOAD_END = 10,     /* end of the loop that begins at a */
    LOAD_CHANCE = 11,  /* with a chance of a in b go on, else at c */
    LOAD_JUMP = 12,    /* go on at a */
    LOAD_ONLY_IN = 13, /* the thread ends here if it is not in the enclave's class */
    LOAD_FAIL = 14,    /* fault a */
    LOAD_DRIVE = 15,   /* move every child out of the class; fault a if one was not in it once */
    LOAD_GIVE = 16,    /* give the token of word a, and wake who waits for it */
    LOAD_TAKE = 17,    /* take the token of word a; wait for it */
    LOAD_BARRIER = 18, /* wait at word a until b threads have come */
    LOAD_HINT = 19,    /* has work of class a, to be done in b ns: the caller writes its row */
    LOAD_REST = 20,    /* has no work until the agent says that it has */
    LOAD_WORK = 21,    /* use the CPU for a ns of time after the last barrier or WORK; stage b */
    LOAD_NICE = 22,    /* nice value a */
    LOAD_BIND = 23,    /* bound to the CPU of number a in the load's list; -1: to all of them */
};

/* Faults that the load did not name itself. */
#define LOAD_FAULT_ENTER (-1)
#define LOAD_FAULT_LEAVE (-2)
#define LOAD_FAULT_START (-3)
#define LOAD_FAULT_PIN (-4)
#define LOAD_FAULT_OPS (-5)
#define LOAD_FAULT_HINT (-6)
#define LOAD_FAULT_NICE (-7)

/* Stages of which a thread's CPU time is kept. */
#define LOAD_STAGE_COUNT 6

/* Latencies are counted in buckets: below 64 ns one each, then 64 for every doubling. */
#define LOAD_BUCKET_BITS 6
#define LOAD_BUCKET_COUNT ((42 - LOAD_BUCKET_BITS) << LOAD_BUCKET_BITS)

#define LOAD_NAME_BYTES 16
#define LOAD_FAULTS_MAX 16
#define LOAD_DEPTH_MAX 8
#define LOAD_VALUE_STOPPED 0x40000000u

struct load_op {
    double code, a, b, c;
};

struct load_stage {
    double cpu_ns;
    double cpu; /* where it was at the end */
};

/* A futex with the time of the last gift, on a cache line of its own. */
struct load_word {
    _Alignas(64) _Atomic uint32_t value;
    _Atomic uint64_t stamp_ns;
};

enum load_state { LOAD_STARTING = 0, LOAD_RUNNING = 1, LOAD_ENDED = 2 };

struct load;

struct load_thread {
    _Alignas(64) struct load *load;
    pthread_t thread;
    int32_t index;
    int32_t kind;
    int32_t parent;
    int32_t sibling; /* place among those that the same FORK started */
    int32_t first_child;
    int32_t next_child;
    int32_t was_moved;
    int32_t request_result;
    struct load_op request;
    struct load_stage stages[LOAD_STAGE_COUNT];
    uint64_t window_ns;     /* end of the last barrier or WORK, the same for all its threads */
    uint64_t window_cpu_ns; /* CPU time that the thread had then */
    uint64_t random;
    _Atomic int32_t tid;
    _Atomic uint32_t state;
    _Atomic uint32_t answer; /* a futex: 1 once request_result is there */
    _Atomic int32_t pc;
    _Atomic int32_t cpu; /* where it last used the CPU; -1: nowhere yet */
    _Atomic uint64_t yield_count;
    _Atomic uint64_t give_count;
    _Atomic uint64_t wake_count; /* tokens it slept for */
};

struct load_fault {
    int32_t thread, text, value;
};

struct load {
    struct load_op *ops;
    int32_t op_count;
    int32_t *kind_starts;
    char (*kind_names)[LOAD_NAME_BYTES];
    int32_t kind_count;
    struct load_thread *threads;
    int32_t thread_capacity;
    struct load_word *words;
    int32_t word_count;
    int32_t policy;     /* what sched_getscheduler says of a thread in the enclave */
    int32_t join_fd;    /* takes "0" for the writing thread; -1: the caller joins threads */
    int32_t join_enclave; /* with scx, where join_fd is the control program's; else -1 */
    void *cpu_mask;
    int32_t cpu_mask_bytes;
    int32_t is_free; /* only LOAD_BIND binds threads to the mask */
    void *hint_table; /* a PrioTable whose rows from first_sid on are those of the threads */
    int32_t first_sid;
    uint32_t *buckets; /* LOAD_BUCKET_COUNT for each thread */
    _Atomic int32_t thread_count;
    _Atomic int32_t ended_count;
    _Atomic uint32_t stop;
    _Atomic uint32_t doorbell; /* a futex: something for the caller */
    pthread_mutex_t lock;      /* of what follows */
    int32_t *requests;
    int32_t request_head, request_tail;
    struct load_fault faults[LOAD_FAULTS_MAX];
    int32_t fault_count;
};

static inline uint64_t load_now_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Starts a thread of a kind; -errno if there is no room for it. */
int32_t load_start_thread(struct load *load, struct load_thread *parent, int32_t kind,
                          int32_t sibling);
/* Asks the caller to carry an operation out for the calling thread: 0 or -errno. */
int32_t load_request(struct load_thread *self, const struct load_op *op);
/* Binds the calling thread to CPU number `nth` of the mask, or to all of them if that is -1. */
int32_t load_bind(const struct load *load, int32_t nth);
void load_fault(struct load_thread *self, int32_t text, int32_t value);
/* What a thread does: load_ops.c. */
void load_run_ops(struct load_thread *self);
void load_join_children(struct load_thread *self);

#endif

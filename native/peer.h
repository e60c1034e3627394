/*
 * A native in-memory peer: it plays the kernel's part over the ABI's own byte layout (queues with
 * rings, status words, transaction records), with pthreads for CPUs and for whatever else happens
 * on a machine. It is a test partner for the agents' thread path and no kernel: it schedules no
 * real thread, its "tasks" are rows of a table and its "CPUs" are threads that let time pass.
 *
 * One mutex is the whole kernel's lock. What agents read without a call (rings, status words,
 * transaction states) is written with release stores, in the order that the kernel keeps.
 */
#ifndef GHOST_PEER_H
#define GHOST_PEER_H

#include "shim.h"

#include <pthread.h>
#include <stddef.h>

#define PEER_CPUS_MAX 64
/* Of one peer in its life: a closed one may still be read. */
#define PEER_QUEUES_MAX 1024
#define PEER_PRODUCERS_MAX 16
#define PEER_MESSAGE_TYPES 192
#define PEER_FIRST_TID 1000

/* ---- the ABI ---- */

enum {
    MSG_NOP = 0,
    MSG_TASK_DEAD = 64,
    MSG_TASK_BLOCKED,
    MSG_TASK_WAKEUP,
    MSG_TASK_NEW,
    MSG_TASK_PREEMPT,
    MSG_TASK_YIELD,
    MSG_TASK_DEPARTED,
    MSG_TASK_SWITCHTO,
    MSG_TASK_AFFINITY_CHANGED,
    MSG_TASK_ON_CPU,
    MSG_TASK_PRIORITY_CHANGED,
    MSG_TASK_LATCH_FAILURE,
    MSG_CPU_TICK = 128,
    MSG_CPU_TIMER_EXPIRED,
    MSG_CPU_NOT_IDLE,
    MSG_CPU_AVAILABLE,
    MSG_CPU_BUSY,
    MSG_CPU_AGENT_BLOCKED,
    MSG_CPU_AGENT_WAKEUP
};

enum {
    SW_INUSE = 1,
    SW_CANFREE = 2,
    SW_ALLOCATED = 4,
    SW_CPU_AVAIL = 1 << 8,
    SW_BOOST_PRIO = 1 << 9,
    SW_ONCPU = 1 << 16,
    SW_RUNNABLE = 1 << 17,
    SW_IS_AGENT = 1 << 18,
    SW_MSG_GATED = 1 << 19
};

#define TXN_READY 0x7fffffff
#define TXN_BASE (-0x7fffffff - 1)
enum {
    TXN_COMPLETE = TXN_BASE,
    TXN_ABORTED,
    TXN_TARGET_ONCPU,
    TXN_TARGET_STALE,
    TXN_TARGET_NOT_FOUND,
    TXN_TARGET_NOT_RUNNABLE,
    TXN_AGENT_STALE,
    TXN_CPU_OFFLINE,
    TXN_CPU_UNAVAIL,
    TXN_INVALID_FLAGS,
    TXN_INVALID_TARGET,
    TXN_NOT_PERMITTED,
    TXN_INVALID_CPU,
    TXN_NO_AGENT,
    TXN_UNSUPPORTED_VERSION,
    TXN_POISONED
};

/* The fields are naturally aligned: no padding. */
struct ghost_status_word {
    uint32_t barrier;
    uint32_t flags;
    uint64_t gtid;
    int64_t switch_time;
    uint64_t runtime;
};

struct ghost_txn {
    int32_t version;
    int32_t cpu;
    int32_t state;
    uint32_t agent_barrier;
    uint32_t task_barrier;
    uint16_t run_flags;
    uint8_t commit_flags;
    uint8_t unused;
    int64_t gtid;
    int64_t commit_time;
    uint64_t cpu_seqnum;
    int32_t owner;
    int32_t padding[1011];
};

/* ---- the peer ---- */

enum task_state { TASK_OUT, TASK_BLOCKED, TASK_READY, TASK_LATCHED, TASK_RUNNING, TASK_GONE };
enum agent_state { AGENT_NONE, AGENT_BLOCKED, AGENT_READY, AGENT_RUNNING };
enum cpu_mode { MODE_IDLE, MODE_AGENT, MODE_TASK, MODE_DEFAULT };

struct peer_queue {
    int32_t open;
    int32_t elem_count;
    int32_t *words;
    size_t bytes;
    int32_t wake_count;
    int32_t wake_cpus[2];
};

struct peer_task {
    int64_t gtid;
    int32_t state;
    int32_t status_index;   /* of the present stay, or -1 */
    int32_t departed_index; /* of the last stay, until the agent frees it, or -1 */
    int32_t queue;
    int32_t cpu;
    int32_t leaving; /* off its CPU for the scheduler, still on it for the hardware */
    int32_t gated;
    int32_t in_switchto;
    int32_t nice;
    int32_t rounds_left;
    int32_t runners; /* CPUs that run it, counted outside the lock */
    double runtime_ns;
    double ready_since_ns;
};

struct peer_cpu {
    struct peer *peer;
    int32_t id;
    int32_t agent; /* enum agent_state */
    int32_t status_index;
    int32_t queue;
    int32_t wake_on_idle;
    int32_t is_busy; /* a thread of the default class wants the CPU */
    int32_t mode;
    int32_t current; /* task, or -1 */
    int32_t latched; /* task, or -1 */
    int32_t latched_flags;
    uint32_t turn;    /* futex: counts how often the agent was given the CPU */
    uint32_t work;    /* futex: something for the CPU's thread to look at */
    int32_t preempt;  /* the running task shall leave */
    int32_t event;    /* manual runs: the message with which the running task leaves */
    double timer_ns;
    int32_t timer_type;
    int32_t timer_cookie;
    uint64_t random;
    pthread_t thread;
};

struct peer_producer {
    struct peer *peer;
    uint64_t random;
    pthread_t thread;
};

/* Counters, in the order of PeerReport in kernels/peer/peer_report.ts. */
enum counter {
    COUNT_GONE,         /* tasks that have exited */
    COUNT_RUNS,         /* times a task was on a CPU */
    COUNT_COMMITS,      /* transactions that succeeded */
    COUNT_REFUSED,      /* transactions that did not, for a reason */
    COUNT_CAPRICIOUS,   /* transactions refused for no reason but the load's parameter */
    COUNT_YIELDS,       /* agents that gave their CPU away for nothing to run */
    COUNT_STALE_YIELDS, /* agents told to look again instead */
    COUNT_PINGS,
    COUNT_OVERFLOWS,
    COUNT_DOUBLE_RUNS,   /* broken: a task on two CPUs at once */
    COUNT_POLICY_FAULTS, /* broken: commits of tasks that the policy knew could not run */
    COUNT_FREED,         /* status words freed */
    COUNTERS
};

struct peer {
    pthread_mutex_t lock;
    int32_t abi;
    int32_t cpu_count;
    int32_t task_count;
    int32_t status_capacity;
    int32_t default_queue;
    int32_t is_online;
    int32_t is_destroyed;
    int32_t is_manual;
    int32_t refuse_per_10000;
    int32_t run_ns_max;
    int32_t round_count;
    int32_t stop;
    int32_t producer_count;
    int32_t threads_started;
    uint8_t *status_region;
    size_t status_bytes;
    struct ghost_txn *txns;
    struct peer_task *tasks;
    struct peer_queue queues[PEER_QUEUES_MAX];
    struct peer_cpu cpus[PEER_CPUS_MAX];
    struct peer_producer producers[PEER_PRODUCERS_MAX];
    double counters[COUNTERS];
    double message_counts[PEER_MESSAGE_TYPES];
    double longest_wait_ns;
};

/* peer.c */
double peer_now_ns(void);
uint32_t peer_random(uint64_t *state, uint32_t bound);
struct ghost_status_word *peer_word(struct peer *self, int32_t index);
int32_t peer_allocate_word(struct peer *self, int64_t gtid, uint32_t flags);
void peer_change_flags(struct peer *self, int32_t index, uint32_t set, uint32_t clear);
uint32_t peer_bump(struct peer *self, int32_t index);
struct peer_task *peer_find(struct peer *self, int64_t gtid);

/* peer_message.c */
int32_t peer_knows(const struct peer *self, int32_t type);
void peer_send_task(struct peer *self, struct peer_task *task, int32_t type, int32_t extra);
void peer_send_cpu(struct peer *self, struct peer_cpu *cpu, int32_t type);

/* peer_agent.c */
void peer_wake_agent(struct peer *self, struct peer_cpu *cpu);
void peer_resched(struct peer *self, struct peer_cpu *cpu);
void peer_agent_gone(struct peer *self, struct peer_cpu *cpu);

/* peer_task.c */
void peer_join(struct peer *self, struct peer_task *task, int32_t runnable);
void peer_wake(struct peer *self, struct peer_task *task, int32_t deferrable);
void peer_depart(struct peer *self, struct peer_task *task);
void peer_exit(struct peer *self, struct peer_task *task);
void peer_unlatch(struct peer *self, struct peer_task *task);
int32_t peer_start_threads(struct peer *self);
void peer_stop_threads(struct peer *self);

#endif

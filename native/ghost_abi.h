/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Layouts of ghOSt's ABI 91 that the scx program and its loader share, and the sizes of the maps.
 * Layouts: reference, sections 1.1 to 1.3.
 */
#ifndef GHOST_ABI_H
#define GHOST_ABI_H

#ifndef __bpf__ /* there scx_kernel.h has them */
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#endif

#define MAX_CPUS 64
#define QUEUE_COUNT_MAX 1024U /* the loader makes as many as there are CPUs, and some */
#define QUEUE_SLOTS 65536U /* a power of two; a queue may use fewer */
#define WORD_COUNT 65534U
#define ENCLAVE_COUNT 4
#define GTID_SEQNUM_BITS 41
/* A sequence number is when the thread began, in the unit of /proc/PID/stat's starttime. */
#define NS_PER_CLOCK_TICK 10000000ULL

struct ghost_msg_header {
	u16 type;
	u16 length; /* header and payload, in bytes */
	u32 seqnum;
};

/* A queue as it is mapped: header, ring, slots of 8 bytes that begin 12 bytes after the ring. */
struct ghost_queue {
	u32 version;
	u32 start;
	u32 nelems;
	u32 unused[13];
	u32 head;
	u32 tail;
	u32 overflow;
	u32 slots[QUEUE_SLOTS * 2];
	u8 padding[4096 - (76 + QUEUE_SLOTS * 8) % 4096];
};

struct ghost_status_word {
	u32 barrier;
	u32 flags;
	u64 gtid;
	s64 switch_time;
	u64 runtime;
};

struct ghost_sw_region {
	u32 version;
	u32 id;
	u32 numa_node;
	u32 start;
	u32 capacity;
	u32 available;
	u32 unused[10];
	struct ghost_status_word words[WORD_COUNT];
};

struct ghost_txn {
	s32 version;
	s32 cpu;
	s32 state;
	u32 agent_barrier;
	u32 task_barrier;
	u16 run_flags;
	u8 commit_flags;
	u8 unused;
	s64 gtid;
	s64 commit_time;
	u64 cpu_seqnum;
	s32 sync_group_owner;
	u32 padding[3];
};

struct ghost_cpu_data {
	struct ghost_txn txn;
	u8 padding[4096 - 64];
};

#define GHOST_SW_F_INUSE (1U << 0)
#define GHOST_SW_F_CANFREE (1U << 1)
#define GHOST_SW_F_ALLOCATED (1U << 2)
#define GHOST_SW_CPU_AVAIL (1U << 8)
#define GHOST_SW_BOOST_PRIO (1U << 9)
#define GHOST_SW_TASK_ONCPU (1U << 16)
#define GHOST_SW_TASK_RUNNABLE (1U << 17)
#define GHOST_SW_TASK_IS_AGENT (1U << 18)
#define GHOST_SW_TASK_MSG_GATED (1U << 19)

#define GHOST_TXN_READY 0x7fffffff
#define GHOST_TXN(n) ((s32)(0x80000000U + (n)))
#define GHOST_TXN_COMPLETE GHOST_TXN(0)
#define GHOST_TXN_TARGET_ONCPU GHOST_TXN(2)
#define GHOST_TXN_TARGET_STALE GHOST_TXN(3)
#define GHOST_TXN_TARGET_NOT_FOUND GHOST_TXN(4)
#define GHOST_TXN_TARGET_NOT_RUNNABLE GHOST_TXN(5)
#define GHOST_TXN_AGENT_STALE GHOST_TXN(6)
#define GHOST_TXN_CPU_UNAVAIL GHOST_TXN(8)
#define GHOST_TXN_INVALID_FLAGS GHOST_TXN(9)
#define GHOST_TXN_INVALID_TARGET GHOST_TXN(10)
#define GHOST_TXN_NOT_PERMITTED GHOST_TXN(11)
#define GHOST_TXN_INVALID_CPU GHOST_TXN(12)
#define GHOST_TXN_NO_AGENT GHOST_TXN(13)
#define GHOST_TXN_UNSUPPORTED_VERSION GHOST_TXN(14)
#define GHOST_TXN_POISONED GHOST_TXN(15)

/* Transactions name a task by its gtid, or: */
#define GTID_NULL 0LL
#define GTID_AGENT (-1LL)
#define GTID_IDLE (-2LL)

#define RTLA_ON_PREEMPT 1U
#define RTLA_ON_BLOCKED 2U
#define RTLA_ON_YIELD 4U
#define RTLA_ON_IDLE 32U
#define NEED_CPU_NOT_IDLE 128U
#define ELIDE_PREEMPT 512U
#define SEND_TASK_ON_CPU 1024U
#define DEFER_LATCHED_PREEMPTION_BY_AGENT 2048U
#define DO_NOT_PREEMPT 4096U
#define RUN_FLAGS_ALL 7911U

#define COMMIT_AT_SCHEDULE 1U
#define COMMIT_AT_FLAGS 3U
#define ALLOW_TASK_ONCPU 4U
#define ELIDE_AGENT_BARRIER_INC 8U
#define INC_AGENT_BARRIER_ON_FAILURE 16U
#define COMMIT_FLAGS_ALL 31U
#define SYNC_GROUP_NOT_OWNED (-1)

#define ASSOC_ALREADY 1
#define ASSOC_BRAND_NEW 2

#define MSG_NOP 0
#define MSG_TASK_DEAD 64
#define MSG_TASK_BLOCKED 65
#define MSG_TASK_WAKEUP 66
#define MSG_TASK_NEW 67
#define MSG_TASK_PREEMPT 68
#define MSG_TASK_YIELD 69
#define MSG_TASK_DEPARTED 70
#define MSG_TASK_AFFINITY_CHANGED 72
#define MSG_TASK_ON_CPU 73
#define MSG_TASK_PRIORITY_CHANGED 74
#define MSG_TASK_LATCH_FAILURE 75
#define MSG_CPU_TIMER_EXPIRED 129
#define MSG_CPU_NOT_IDLE 130
#define MSG_CPU_AVAILABLE 131
#define MSG_CPU_BUSY 132
#define MSG_CPU_AGENT_BLOCKED 133
#define MSG_CPU_AGENT_WAKEUP 134

/* Payload of BLOCKED (32 bytes); PREEMPT and YIELD (40) have agent_data before the CPU. */
struct ghost_msg_blocked {
	u64 gtid;
	u64 runtime;
	u64 cpu_seqnum;
	s32 cpu;
	u32 flags;
};
struct ghost_msg_preempt {
	u64 gtid;
	u64 runtime;
	u64 cpu_seqnum;
	u64 agent_data;
	s32 cpu;
	u32 flags;
};
struct ghost_msg_wakeup {
	u64 gtid;
	u64 agent_data;
	u32 deferrable;
	s32 last_ran_cpu;
	s32 wake_up_cpu;
	s32 waker_cpu;
};
struct ghost_msg_new {
	u64 gtid;
	u64 parent_gtid;
	u64 runtime;
	u32 runnable;
	s32 nice;
	u32 sw_id;
	u32 sw_index;
	u64 agent_data;
};
struct ghost_msg_departed {
	u64 gtid;
	u64 cpu_seqnum;
	s32 cpu;
	u32 flags; /* from_switchto in byte 0, was_current in byte 1 */
};
struct ghost_msg_dead {
	u64 gtid;
	s32 cpu;
	u32 unused;
};
struct ghost_msg_affinity_changed {
	u64 gtid;
};
struct ghost_msg_latch_failure {
	u64 gtid;
	s32 error;
	u32 unused;
};

struct ghost_msg_on_cpu {
	u64 gtid;
	u64 commit_time;
	u64 cpu_seqnum;
	s32 cpu;
	u32 unused;
};
struct ghost_msg_priority_changed {
	u64 gtid;
	s32 nice;
	u32 unused;
};
struct ghost_msg_timer_expired {
	s32 cpu;
	u32 unused;
	u64 type;
	u64 cookie;
};
struct ghost_msg_cpu_not_idle {
	s32 cpu;
	u32 unused;
	u64 next_gtid;
};
struct ghost_msg_cpu {
	s32 cpu;
};

/* ---- between the program and the agents' process; no part of ghOSt's ABI ---- */

/* How an agent sleeps: one per CPU, mapped by the agents' process. */
struct scx_turn {
	u32 turn; /* grows with each reason to wake up */
	u32 waiting; /* the agent sleeps, or is about to, and wants the doorbell rung */
	u32 wake_on_idle; /* its yield said RTLA_ON_IDLE */
	u32 is_gone; /* its enclave is gone: it must leave */
	u32 switches; /* how often the CPU switched to the agent */
	u32 commit; /* enum scx_turn_commit: of the transaction with which it gives its CPU away */
	u32 unused[10];
};
enum scx_turn_commit { SCX_TURN_NONE, SCX_TURN_WANTED, SCX_TURN_LATCHED, SCX_TURN_REFUSED };

/* Argument of the commit program. */
struct scx_commit_args {
	u64 cpus; /* whose transactions are to be committed */
	u32 enclave;
	u32 how; /* enum scx_commit_how */
	s32 result; /* of a sync group: 1 all, 0 none */
	u32 unused;
};
enum scx_commit_how { SCX_COMMIT_EACH, SCX_COMMIT_SYNC, SCX_COMMIT_LOCAL };

/* Argument of the control program; what a and b are depends on the operation. */
struct scx_call {
	u32 op; /* enum scx_op */
	u32 enclave;
	s32 a;
	s32 b;
	u64 value;
	s64 result; /* or -errno */
};
enum scx_op {
	SCX_OP_ENCLAVE_CREATE, /* a: status words, b: pid of the owner, value: CPUs */
	SCX_OP_ENCLAVE_CPUS, /* value: CPUs */
	SCX_OP_ENCLAVE_DESTROY,
	SCX_OP_QUEUE_CREATE, /* a: slots; the queue's index */
	SCX_OP_QUEUE_CLOSE, /* a: queue */
	SCX_OP_QUEUE_DEFAULT, /* a: queue, or -1 */
	SCX_OP_QUEUE_WAKEUP, /* a: queue, b: how many, value: CPUs in its low and high word */
	SCX_OP_AGENT_BECOME, /* a: CPU, b: queue; the index of its status word */
	SCX_OP_AGENT_LEAVE, /* a: CPU */
	SCX_OP_AGENT_WORD, /* a: CPU */
	SCX_OP_AGENT_ASSOCIATE, /* a: CPU, b: queue, value: barrier */
	SCX_OP_AGENT_WAKE, /* a: CPU, b: not 0 moves the barrier: a ping */
	SCX_OP_TIMER, /* a: type, b: cookie, value: deadline; of the caller's CPU */
	SCX_OP_UNLATCH, /* a: CPU: what is latched there is not to run now */
	SCX_OP_TASK_WORD, /* value: gtid */
	SCX_OP_TASK_RUNTIME, /* value: gtid */
	SCX_OP_TASK_ASSOCIATE, /* a: queue, b: barrier, value: gtid */
	SCX_OP_TASK_ENCLAVE, /* a: tid; 1 + its enclave, 0 if it is in none */
	SCX_OP_WORD_FREE, /* a: index */
	SCX_OP_JOIN, /* a: tid: what its SCHED_EXT will mean */
	SCX_OP_UNJOIN, /* a: tid: it did not become SCHED_EXT */
	SCX_OP_ONLINE, /* a: 0 or 1 */
	SCX_OP_TUNABLE, /* a: enum scx_tunable, b: value */
	SCX_OP_WAIT_LIMIT, /* a: ms that a task may wait for a CPU, 0: no limit */
	SCX_OP_DISCOVER, /* a: index of a status word: its task is told of anew */
};
enum scx_tunable {
	SCX_WAKE_ON_WAKER_CPU,
	SCX_DELIVER_CPU_AVAILABILITY,
	SCX_DELIVER_AGENT_RUNNABILITY,
	SCX_TUNABLE_COUNT,
};

/* An enclave, for the program and for tools. */
struct scx_enclave {
	u64 cpus;
	u32 state; /* enum scx_enclave_state */
	u32 is_online;
	u32 owner_pid;
	u32 default_queue; /* 1 + its index, or 0 */
	u32 task_count;
	u32 tunables[SCX_TUNABLE_COUNT];
};
enum scx_enclave_state { SCX_ENCLAVE_FREE, SCX_ENCLAVE_LIVE, SCX_ENCLAVE_DYING };

/* Why the program was unloaded, and what it counted. */
struct scx_report {
	s32 exit_kind;
	u32 latched_count;
	u32 dispatched_count;
	u32 latch_failure_count;
	u32 no_word_count; /* tasks that found no status word: they run without a policy */
	u32 message_count;
	u32 lost_doorbell_count;
	u32 fallback_count; /* times a task of no live enclave was given a CPU */
	u32 doorbell_count;
	u32 preempt_count;
	u32 stray_count; /* times a task ran where it may, not where its policy put it */
	u32 unused[5];
	u32 refused_counts[16]; /* of transactions, by state */
	char reason[64];
	char message[320];
};

/* What the kernel says of its CPUs and tasks when it unloads the program for a fault. */
struct scx_exit_dump {
	char text[32768];
};

#endif

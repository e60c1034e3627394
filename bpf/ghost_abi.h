/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * Layouts of ghOSt's ABI 91 that the scx program and its loader share, and the sizes of the maps.
 * The includer brings u8, u16, u32, u64, s32 and s64. Layouts: reference, sections 1.1 to 1.3.
 */
#ifndef GHOST_ABI_H
#define GHOST_ABI_H

#define GHOST_VERSION 91
#define MAX_CPUS 64
#define QUEUE_COUNT (MAX_CPUS + 1)
#define QUEUE_SLOTS 4096U /* a power of two */
#define WORD_COUNT 4096U
#define GTID_SEQNUM_BITS 41

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
#define GHOST_SW_TASK_ONCPU (1U << 16)
#define GHOST_SW_TASK_RUNNABLE (1U << 17)

#define GHOST_TXN_READY 0x7fffffff
#define GHOST_TXN(n) ((s32)(0x80000000U + (n)))
#define GHOST_TXN_COMPLETE GHOST_TXN(0)
#define GHOST_TXN_TARGET_ONCPU GHOST_TXN(2)
#define GHOST_TXN_TARGET_STALE GHOST_TXN(3)
#define GHOST_TXN_TARGET_NOT_FOUND GHOST_TXN(4)
#define GHOST_TXN_TARGET_NOT_RUNNABLE GHOST_TXN(5)
#define GHOST_TXN_CPU_UNAVAIL GHOST_TXN(8)
#define GHOST_TXN_INVALID_TARGET GHOST_TXN(10)
#define GHOST_TXN_INVALID_CPU GHOST_TXN(12)
#define GHOST_TXN_UNSUPPORTED_VERSION GHOST_TXN(14)

#define MSG_NOP 0
#define MSG_TASK_DEAD 64
#define MSG_TASK_BLOCKED 65
#define MSG_TASK_WAKEUP 66
#define MSG_TASK_NEW 67
#define MSG_TASK_PREEMPT 68
#define MSG_TASK_YIELD 69
#define MSG_TASK_DEPARTED 70
#define MSG_TASK_AFFINITY_CHANGED 72
#define MSG_TASK_LATCH_FAILURE 75

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

/* Argument of the commit program: the CPUs whose transactions are to be committed. */
struct scx_commit_args {
	u64 cpus;
};

/* Why the program was unloaded, and what it counted. */
struct scx_report {
	s32 exit_kind;
	u32 latched_count;
	u32 dispatched_count;
	u32 latch_failure_count;
	u32 no_word_count; /* tasks that found no status word: they run without a policy */
	u32 message_count;
	char reason[64];
	char message[128];
};

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps of the scx program, and how their values are found. What agents map holds nothing that
 * the program trusts: locks, latches and lists are in maps that only it writes.
 */
#ifndef SCX_MAPS_H
#define SCX_MAPS_H

#include "scx_kernel.h"
#include "../native/ghost_abi.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* Keeps the compiler from using a number before its bounds are checked: the verifier wants that. */
#define BOUNDED(VALUE) asm volatile("" : "+r"(VALUE))
#define GTID_SEQNUM_MASK ((1ULL << GTID_SEQNUM_BITS) - 1)

#define ARRAY_MAP(NAME, TYPE, COUNT, FLAGS)              \
	struct {                                         \
		__uint(type, BPF_MAP_TYPE_ARRAY);        \
		__uint(map_flags, FLAGS);                \
		__uint(max_entries, COUNT);              \
		__type(key, u32);                        \
		__type(value, TYPE);                     \
	} NAME SEC(".maps")

/* ---- mapped; an element begins at a page ---- */

ARRAY_MAP(queues, struct ghost_queue, QUEUE_COUNT_MAX, BPF_F_MMAPABLE);
ARRAY_MAP(status_words, struct ghost_sw_region, ENCLAVE_COUNT, BPF_F_MMAPABLE);
ARRAY_MAP(cpu_data, struct ghost_cpu_data, ENCLAVE_COUNT *MAX_CPUS, BPF_F_MMAPABLE);
ARRAY_MAP(turns, struct scx_turn, MAX_CPUS, BPF_F_MMAPABLE);
ARRAY_MAP(report, struct scx_report, 1, BPF_F_MMAPABLE);
ARRAY_MAP(exit_dump, struct scx_exit_dump, 1, BPF_F_MMAPABLE);

/* ---- not mapped ---- */

ARRAY_MAP(enclaves, struct scx_enclave, ENCLAVE_COUNT, 0);

/* The lock orders a ring's slots, and with them all that is told of the tasks of the queue. */
struct queue_state {
	struct bpf_spin_lock lock;
	u32 is_open;
	u32 enclave;
	u32 slot_mask;
	u32 wake_count;
	u32 wake_cpus[2];
};
ARRAY_MAP(queue_states, struct queue_state, QUEUE_COUNT_MAX, 0);

/* Free status words of an enclave: those given back, then those never used. */
struct word_list {
	struct bpf_spin_lock lock;
	u32 first; /* 1 + index, or 0 */
	u32 fresh;
	u32 capacity;
	u32 next[65536];
	u64 waits_since[65536]; /* when the task of a word began to wait for a CPU, or 0 */
};
ARRAY_MAP(word_lists, struct word_list, ENCLAVE_COUNT, 0);

/* What has a CPU, as far as the enclaves care. */
enum cpu_mode { MODE_IDLE, MODE_AGENT, MODE_TASK, MODE_DEFAULT };

struct cpu_state {
	u64 latched_gtid; /* what dispatch() is to run next; 0 is nothing */
	u64 commit_time;
	u64 seqnum;
	u32 latched_flags;
	u32 run_flags; /* of the transaction that runs */
	u32 enclave; /* 1 + index, or 0 */
	u32 agent_pid; /* 0 without an agent */
	u32 agent_word;
	u32 agent_queue;
	u32 mode;
	u32 want_not_idle;
	u32 runs_pid; /* the thread that has it */
	u32 is_agent_asleep; /* otherwise than by a yield */
	s32 group_state; /* of a sync group under way */
	u32 elides_preempt; /* what the last commit displaces there goes unsaid */
};
ARRAY_MAP(cpus, struct cpu_state, MAX_CPUS, 0);

/* Timers of agents. */
struct cpu_timer {
	struct bpf_timer timer;
	u32 type;
	u32 cookie;
	u32 is_ready;
	u32 unused;
};
ARRAY_MAP(timers, struct cpu_timer, MAX_CPUS, 0);

/* The limit on how long a task may wait for a CPU. */
struct wait_limit {
	struct bpf_timer timer;
	u64 timeout_ns; /* 0: none but the kernel's */
	u32 is_ready;
	u32 unused;
};
ARRAY_MAP(wait_limits, struct wait_limit, ENCLAVE_COUNT, 0);

/* A ring buffer per agent: something in it ends the agent's poll(). */
struct doorbell {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__array(values, struct doorbell);
} doorbells SEC(".maps");

/* The dead whose status words are not free yet. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u32);
} dead_gtids SEC(".maps");

/* What the next message about a task says. */
enum due { DUE_NONE, DUE_NEW, DUE_WAKEUP, DUE_PREEMPT, DUE_YIELD };

struct task_state {
	u64 gtid;
	u64 parent_gtid;
	u64 run_since; /* when it got its CPU, or 0 */
	u32 wanted; /* 1 + the enclave that it enters with SCHED_EXT, or 0 */
	u32 reserved; /* 1 + the status word set aside for that, or 0 */
	u32 is_member;
	u32 enclave;
	u32 word;
	u32 queue;
	u32 due;
	u32 has_run; /* since it joined */
	u32 is_queued; /* it waits for a decision */
	u32 is_inserted; /* dispatch() has given it to the kernel, and it does not run yet */
	u32 is_new_told;
	u32 is_told_runnable;
	u32 is_gated; /* nothing is told before the word of its last stay is free */
	u32 departed; /* 1 + the word of its last stay, or 0 */
	u32 departed_enclave;
	u32 latched_cpu; /* 1 + CPU, or 0 */
	u32 is_misfit; /* it was told that it may not run where it is put */
	u32 is_stray; /* it runs where it may; to its agent, where it was put: on `cpu` */
	u32 skip_cpumask; /* the kernel tells the affinity once while the task joins */
	s32 nice;
	s32 cpu; /* where it ran last */
};
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} task_states SEC(".maps");

static __always_inline struct scx_report *theReport(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&report, &zero);
}

#define COUNT(FIELD)                                                \
	do {                                                        \
		struct scx_report *counts_ = theReport();           \
		if (counts_)                                        \
			__sync_fetch_and_add(&counts_->FIELD, 1);   \
	} while (0)

static __always_inline struct ghost_status_word *wordOf(u32 enclave, u32 index)
{
	struct ghost_sw_region *region = bpf_map_lookup_elem(&status_words, &enclave);

	if (!region || index >= WORD_COUNT)
		return 0;
	BOUNDED(index);
	return &region->words[index];
}

static __always_inline struct cpu_state *cpuOf(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline struct ghost_txn *txnOf(u32 enclave, u32 cpu)
{
	u32 key = enclave * MAX_CPUS + cpu;
	struct ghost_cpu_data *data = bpf_map_lookup_elem(&cpu_data, &key);

	return data ? &data->txn : 0;
}

/* The state of a task that is in an enclave, or 0. */
static __always_inline struct task_state *memberState(struct task_struct *p)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);

	return state && state->is_member ? state : 0;
}

static __always_inline int isLive(u32 enclave)
{
	struct scx_enclave *found = bpf_map_lookup_elem(&enclaves, &enclave);

	return found && found->state == SCX_ENCLAVE_LIVE;
}

static __always_inline u32 tunableOf(u32 enclave, u32 tunable)
{
	struct scx_enclave *found = bpf_map_lookup_elem(&enclaves, &enclave);

	return found && tunable < SCX_TUNABLE_COUNT ? found->tunables[tunable] : 0;
}

static __always_inline u64 gtidOf(struct task_struct *p)
{
	return (u64)p->pid << GTID_SEQNUM_BITS |
	       ((p->start_boottime / NS_PER_CLOCK_TICK) & GTID_SEQNUM_MASK);
}

/* The task of a word waits for a CPU, or does so no more (0). */
static __always_inline void setWaiting(u32 enclave, u32 index, u64 since)
{
	struct word_list *list = bpf_map_lookup_elem(&word_lists, &enclave);

	if (list)
		list->waits_since[index & 65535] = since;
}

/* A status word for a task or an agent; -1 if there is none. */
static __noinline int takeWord(u32 enclave)
{
	struct word_list *list = bpf_map_lookup_elem(&word_lists, &enclave);
	struct ghost_sw_region *region = bpf_map_lookup_elem(&status_words, &enclave);
	u32 index = WORD_COUNT;

	if (!list || !region)
		return -1;
	bpf_spin_lock(&list->lock);
	if (list->first) {
		index = list->first - 1;
		list->first = list->next[index & 65535];
	} else if (list->fresh < list->capacity) {
		index = list->fresh++;
	}
	bpf_spin_unlock(&list->lock);
	if (index >= WORD_COUNT)
		return -1;
	__sync_fetch_and_sub(&region->available, 1);
	return index;
}

static __noinline int giveWord(u32 enclave, u32 index)
{
	struct word_list *list = bpf_map_lookup_elem(&word_lists, &enclave);
	struct ghost_sw_region *region = bpf_map_lookup_elem(&status_words, &enclave);
	struct ghost_status_word *word = wordOf(enclave, index);

	if (!list || !region || !word)
		return 0;
	word->flags = 0;
	word->gtid = 0;
	word->barrier = 0;
	word->runtime = 0;
	word->switch_time = 0;
	bpf_spin_lock(&list->lock);
	list->next[index & 65535] = list->first;
	list->first = index + 1;
	bpf_spin_unlock(&list->lock);
	__sync_fetch_and_add(&region->available, 1);
	return 0;
}

#endif

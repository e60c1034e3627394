// SPDX-License-Identifier: GPL-2.0
/*
 * ghOSt's data plane on sched_ext: message rings, status words and transactions in maps that agents
 * map, in the layout of ABI 91. The kernel's callbacks become messages; the commit program checks a
 * transaction and latches it; dispatch() inserts what is latched. Threads join by SCHED_EXT.
 */
#include "scx_kernel.h"
#include "ghost_abi.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

#define EINVAL_NUMBER 22

/* A map as it is mapped: an element begins at a page. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, QUEUE_COUNT);
	__type(key, u32);
	__type(value, struct ghost_queue);
} queues SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct ghost_sw_region);
} status_words SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct ghost_cpu_data);
} cpu_data SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scx_report);
} report SEC(".maps");

/* Not mapped: agents must not be able to hold it. */
struct ring_lock {
	struct bpf_spin_lock lock;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, QUEUE_COUNT);
	__type(key, u32);
	__type(value, struct ring_lock);
} ring_locks SEC(".maps");

/* What dispatch() is to run next on a CPU; gtid 0 is nothing. */
struct latch {
	u64 gtid;
	u32 barrier;
	u32 unused;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct latch);
} latches SEC(".maps");

/* Indices of free status words. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, WORD_COUNT);
	__type(value, u32);
} free_words SEC(".maps");

/* What the next message about a task says. */
enum { DUE_NONE, DUE_NEW, DUE_WAKEUP, DUE_PREEMPT, DUE_YIELD };

struct task_state {
	u64 gtid; /* 0 while the task is in no enclave */
	u32 word; /* index of its status word */
	u32 queue;
	u32 due;
	u32 has_run;   /* running() was called since the task joined */
	u32 is_queued; /* it waits for a decision */
	s32 cpu;       /* where it ran last */
};
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_state);
} task_states SEC(".maps");

static u64 next_seqnum = 1;

static __always_inline struct scx_report *theReport(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&report, &zero);
}

static __always_inline struct ghost_status_word *wordOf(u32 index)
{
	u32 zero = 0;
	struct ghost_sw_region *region = bpf_map_lookup_elem(&status_words, &zero);

	return region ? &region->words[index & (WORD_COUNT - 1)] : 0;
}

/* The state of a task of the enclave, or 0. */
static __always_inline struct task_state *stateOf(struct task_struct *p)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);

	return state && state->gtid ? state : 0;
}

/* Appends a message; pads the end of the ring rather than wrap it; counts what does not fit. */
static __always_inline void produce(u32 queue_index, u16 type, u32 seqnum, const u32 *payload,
				    const u32 payload_bytes)
{
	struct ring_lock *guard = bpf_map_lookup_elem(&ring_locks, &queue_index);
	struct ghost_queue *queue = bpf_map_lookup_elem(&queues, &queue_index);
	const u32 slots = (8 + payload_bytes) / 8;
	struct scx_report *counts = theReport();
	u32 head, at, to_end, need;

	if (!guard || !queue || !counts)
		return;
	bpf_spin_lock(&guard->lock);
	head = queue->head;
	at = head & (QUEUE_SLOTS - 1);
	to_end = QUEUE_SLOTS - at;
	need = to_end < slots ? to_end + slots : slots;
	if (need > QUEUE_SLOTS - (head - *(volatile u32 *)&queue->tail)) {
		queue->overflow++;
		bpf_spin_unlock(&guard->lock);
		return;
	}
	if (to_end < slots) {
		queue->slots[(at * 2) & (QUEUE_SLOTS * 2 - 1)] = MSG_NOP | (to_end * 8) << 16;
		queue->slots[(at * 2 + 1) & (QUEUE_SLOTS * 2 - 1)] = 0;
		at = 0;
	}
	at *= 2;
	queue->slots[at & (QUEUE_SLOTS * 2 - 1)] = type | (8 + payload_bytes) << 16;
	queue->slots[(at + 1) & (QUEUE_SLOTS * 2 - 1)] = seqnum;
#pragma unroll
	for (u32 i = 0; i < payload_bytes / 4; i++)
		queue->slots[(at + 2 + i) & (QUEUE_SLOTS * 2 - 1)] = payload[i];
	__sync_fetch_and_add(&queue->head, need); /* after the slots: it is a full barrier */
	counts->message_count++;
	bpf_spin_unlock(&guard->lock);
}

#define PRODUCE(state, type, barrier, message) \
	produce((state)->queue, type, barrier, (const u32 *)&(message), sizeof(message))

static __always_inline u32 nextBarrier(struct ghost_status_word *word)
{
	return __sync_fetch_and_add(&word->barrier, 1) + 1;
}

static __always_inline void sendNew(struct task_struct *p, struct task_state *state,
				    struct ghost_status_word *word, u32 is_runnable)
{
	struct ghost_msg_new message = {
		.gtid = state->gtid,
		.runtime = p->se.sum_exec_runtime,
		.runnable = is_runnable,
		.nice = p->static_prio - 120,
		.sw_index = state->word,
	};

	state->due = DUE_NONE;
	PRODUCE(state, MSG_TASK_NEW, nextBarrier(word), message);
}

static __always_inline void sendOffCpu(struct task_state *state, struct ghost_status_word *word,
				       u16 type)
{
	struct ghost_msg_preempt message = {
		.gtid = state->gtid,
		.runtime = word->runtime,
		.cpu = state->cpu,
	};

	PRODUCE(state, type, nextBarrier(word), message);
}

SEC("struct_ops/ghost_select_cpu")
s32 BPF_PROG(ghost_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu; /* without this callback the kernel places tasks on idle CPUs itself */
}

SEC("struct_ops/ghost_enqueue")
void BPF_PROG(ghost_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;

	if (!word) {
		scx_bpf_dsq_insert___v2___x(p, SCX_DSQ_LOCAL, SCX_SLICE_INF, 0);
		return;
	}
	state->is_queued = 1;
	__sync_fetch_and_or(&word->flags, GHOST_SW_TASK_RUNNABLE);
	/* A task that joins while it runs is announced once it is off its CPU. */
	if (state->due == DUE_NEW && p->on_cpu && !state->has_run)
		return;
	if (state->due == DUE_NEW) {
		sendNew(p, state, word, 1);
	} else if (state->due == DUE_WAKEUP) {
		struct ghost_msg_wakeup message = {
			.gtid = state->gtid,
			.last_ran_cpu = state->cpu,
			.wake_up_cpu = state->cpu,
			.waker_cpu = bpf_get_smp_processor_id(),
		};

		PRODUCE(state, MSG_TASK_WAKEUP, nextBarrier(word), message);
	} else if (state->due == DUE_PREEMPT) {
		sendOffCpu(state, word, MSG_TASK_PREEMPT);
	} else if (state->due == DUE_YIELD) {
		sendOffCpu(state, word, MSG_TASK_YIELD);
	}
	state->due = DUE_NONE; /* else: taken out and put back by a change of its attributes */
}

SEC("struct_ops/ghost_dequeue")
void BPF_PROG(ghost_dequeue, struct task_struct *p, u64 deq_flags)
{
	struct task_state *state = stateOf(p);

	if (state)
		state->is_queued = 0;
}

static __always_inline void failLatch(struct task_state *state, s32 error)
{
	struct ghost_status_word *word = wordOf(state->word);
	struct ghost_msg_latch_failure message = { .gtid = state->gtid, .error = error };
	struct scx_report *counts = theReport();

	if (!word || !counts)
		return;
	__sync_fetch_and_add(&counts->latch_failure_count, 1);
	PRODUCE(state, MSG_TASK_LATCH_FAILURE, nextBarrier(word), message);
}

SEC("struct_ops/ghost_dispatch")
void BPF_PROG(ghost_dispatch, s32 cpu, struct task_struct *prev)
{
	u32 key = cpu;
	struct latch *latch = bpf_map_lookup_elem(&latches, &key);
	struct scx_report *counts = theReport();
	struct ghost_status_word *word;
	struct task_state *state;
	struct task_struct *p;
	u32 barrier;
	u64 gtid;

	if (!latch || !counts)
		return;
	barrier = latch->barrier;
	gtid = __sync_lock_test_and_set(&latch->gtid, 0);
	if (!gtid)
		return;
	p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
	if (!p)
		return; /* DEAD tells it */
	state = stateOf(p);
	word = state ? wordOf(state->word) : 0;
	/* A barrier that moved on has told the agent already what became of the task. */
	if (word && state->gtid == gtid && word->barrier == barrier && state->is_queued) {
		if (bpf_cpumask_test_cpu(cpu, p->cpus_ptr)) {
			scx_bpf_dsq_insert___v2___x(p, SCX_DSQ_LOCAL, SCX_SLICE_INF, 0);
			__sync_fetch_and_add(&counts->dispatched_count, 1);
		} else {
			failLatch(state, EINVAL_NUMBER);
		}
	}
	bpf_task_release(p);
}

SEC("struct_ops/ghost_running")
void BPF_PROG(ghost_running, struct task_struct *p)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;

	if (!word)
		return;
	state->is_queued = 0;
	state->has_run = 1;
	state->cpu = bpf_get_smp_processor_id();
	if (state->due != DUE_NEW)
		state->due = DUE_PREEMPT;
	word->switch_time = bpf_ktime_get_ns();
	__sync_fetch_and_or(&word->flags, GHOST_SW_TASK_ONCPU);
}

SEC("struct_ops/ghost_stopping")
void BPF_PROG(ghost_stopping, struct task_struct *p, bool runnable)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;

	if (!word)
		return;
	word->runtime = p->se.sum_exec_runtime;
	__sync_fetch_and_and(&word->flags, ~GHOST_SW_TASK_ONCPU);
}

SEC("struct_ops/ghost_quiescent")
void BPF_PROG(ghost_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;

	if (!word || !(deq_flags & SCX_DEQ_SLEEP))
		return;
	state->is_queued = 0;
	__sync_fetch_and_and(&word->flags, ~GHOST_SW_TASK_RUNNABLE);
	if (p->__state & TASK_DEAD)
		return; /* DEAD follows */
	if (state->due == DUE_NEW) {
		sendNew(p, state, word, 0);
	} else {
		struct ghost_msg_blocked message = {
			.gtid = state->gtid,
			.runtime = word->runtime,
			.cpu = state->cpu,
		};

		PRODUCE(state, MSG_TASK_BLOCKED, nextBarrier(word), message);
	}
	state->due = DUE_WAKEUP;
}

SEC("struct_ops/ghost_yield")
bool BPF_PROG(ghost_yield, struct task_struct *from, struct task_struct *to)
{
	struct task_state *state = stateOf(from);

	if (state && state->due == DUE_PREEMPT)
		state->due = DUE_YIELD;
	scx_bpf_task_set_slice(from, 0); /* with a callback the kernel leaves this to it */
	return false;
}

SEC("struct_ops/ghost_set_cpumask")
void BPF_PROG(ghost_set_cpumask, struct task_struct *p, const struct cpumask *cpumask)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;
	struct ghost_msg_affinity_changed message;

	if (!word || state->due == DUE_NEW)
		return;
	message.gtid = state->gtid;
	PRODUCE(state, MSG_TASK_AFFINITY_CHANGED, nextBarrier(word), message);
}

SEC("struct_ops.s/ghost_init_task")
s32 BPF_PROG(ghost_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_state *state =
		bpf_task_storage_get(&task_states, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);

	/* Asked for so that clang describes the type, which bpf_cpumask_test_cpu's check needs. */
	if (!bpf_core_type_exists(struct cpumask))
		return -EINVAL_NUMBER;
	return state ? 0 : -12; /* ENOMEM */
}

SEC("struct_ops/ghost_enable")
void BPF_PROG(ghost_enable, struct task_struct *p)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);
	struct scx_report *counts = theReport();
	struct ghost_status_word *word;
	u64 seqnum;
	u32 index;

	if (!state || !counts)
		return;
	if (bpf_map_pop_elem(&free_words, &index)) {
		__sync_fetch_and_add(&counts->no_word_count, 1);
		return;
	}
	word = wordOf(index);
	if (!word)
		return;
	seqnum = __sync_fetch_and_add(&next_seqnum, 1) & ((1ULL << GTID_SEQNUM_BITS) - 1);
	state->word = index;
	state->queue = 0;
	state->due = DUE_NEW;
	state->has_run = 0;
	state->is_queued = 0;
	state->cpu = -1;
	state->gtid = (u64)p->pid << GTID_SEQNUM_BITS | seqnum;
	word->barrier = 0;
	word->gtid = state->gtid;
	word->runtime = p->se.sum_exec_runtime;
	word->flags = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED;
	if (!p->on_rq)
		sendNew(p, state, word, 0), state->due = DUE_WAKEUP;
}

SEC("struct_ops/ghost_disable")
void BPF_PROG(ghost_disable, struct task_struct *p)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;

	if (!word)
		return;
	__sync_fetch_and_or(&word->flags, GHOST_SW_F_CANFREE);
	if (p->__state & TASK_DEAD) {
		struct ghost_msg_dead message = { .gtid = state->gtid, .cpu = state->cpu };

		PRODUCE(state, MSG_TASK_DEAD, nextBarrier(word), message);
	} else {
		struct ghost_msg_departed message = {
			.gtid = state->gtid,
			.cpu = state->cpu,
			.flags = p->on_cpu ? 0x100 : 0,
		};

		PRODUCE(state, MSG_TASK_DEPARTED, nextBarrier(word), message);
	}
	state->gtid = 0;
}

SEC("struct_ops/ghost_exit")
void BPF_PROG(ghost_exit, struct scx_exit_info *info)
{
	struct scx_report *end = theReport();

	if (!end)
		return;
	bpf_probe_read_kernel_str(end->reason, sizeof(end->reason), info->reason);
	bpf_probe_read_kernel_str(end->message, sizeof(end->message), info->msg);
	end->exit_kind = info->kind;
}

/* Checks a transaction whose task is known; latches it if it is good. */
static __always_inline s32 latchTask(struct ghost_txn *txn, struct task_struct *p, u32 cpu,
				     u64 gtid)
{
	struct task_state *state = stateOf(p);
	struct ghost_status_word *word = state ? wordOf(state->word) : 0;
	struct latch *latch = bpf_map_lookup_elem(&latches, &cpu);
	u32 flags;

	if (!word || state->gtid != gtid || !latch)
		return GHOST_TXN_TARGET_NOT_FOUND;
	flags = *(volatile u32 *)&word->flags;
	if (txn->task_barrier != word->barrier)
		return GHOST_TXN_TARGET_STALE;
	if (!(flags & GHOST_SW_TASK_RUNNABLE))
		return GHOST_TXN_TARGET_NOT_RUNNABLE;
	if (flags & GHOST_SW_TASK_ONCPU)
		return GHOST_TXN_TARGET_ONCPU;
	if (!bpf_cpumask_test_cpu(cpu, p->cpus_ptr))
		return GHOST_TXN_INVALID_CPU;
	latch->barrier = txn->task_barrier;
	__sync_lock_test_and_set(&latch->gtid, gtid);
	return GHOST_TXN_COMPLETE;
}

static __always_inline s32 commitOne(struct ghost_txn *txn, u32 cpu)
{
	u64 gtid = txn->gtid;
	struct task_struct *p;
	s32 state;

	if (txn->version != GHOST_VERSION)
		return GHOST_TXN_UNSUPPORTED_VERSION;
	if ((u32)txn->cpu != cpu)
		return GHOST_TXN_INVALID_CPU;
	if ((s64)gtid <= 0)
		return GHOST_TXN_INVALID_TARGET;
	p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
	if (!p)
		return GHOST_TXN_TARGET_NOT_FOUND;
	bpf_rcu_read_lock();
	state = latchTask(txn, p, cpu, gtid);
	bpf_rcu_read_unlock();
	bpf_task_release(p);
	return state;
}

SEC("syscall")
int ghost_commit(struct scx_commit_args *args)
{
	struct scx_report *counts = theReport();
	u64 cpus = args->cpus;

	if (!counts)
		return 0;
	for (u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
		u32 key = cpu;
		struct ghost_cpu_data *data;
		s32 state;

		if (!(cpus >> cpu & 1))
			continue;
		data = bpf_map_lookup_elem(&cpu_data, &key);
		if (!data ||
		    __sync_val_compare_and_swap(&data->txn.state, GHOST_TXN_READY, cpu) !=
			    GHOST_TXN_READY)
			continue;
		state = commitOne(&data->txn, cpu);
		data->txn.commit_time = bpf_ktime_get_ns();
		__sync_lock_test_and_set(&data->txn.state, state);
		if (state != GHOST_TXN_COMPLETE)
			continue;
		__sync_fetch_and_add(&counts->latched_count, 1);
		scx_bpf_kick_cpu(cpu, SCX_KICK_PREEMPT);
	}
	return 0;
}

SEC(".struct_ops.link")
struct sched_ext_ops ghost_ops = {
	.select_cpu = (void *)ghost_select_cpu,
	.enqueue = (void *)ghost_enqueue,
	.dequeue = (void *)ghost_dequeue,
	.dispatch = (void *)ghost_dispatch,
	.running = (void *)ghost_running,
	.stopping = (void *)ghost_stopping,
	.quiescent = (void *)ghost_quiescent,
	.yield = (void *)ghost_yield,
	.set_cpumask = (void *)ghost_set_cpumask,
	.init_task = (void *)ghost_init_task,
	.enable = (void *)ghost_enable,
	.disable = (void *)ghost_disable,
	.exit = (void *)ghost_exit,
	.flags = SCX_OPS_SWITCH_PARTIAL | SCX_OPS_ENQ_LAST,
	.timeout_ms = 5000,
	.name = "ghost",
};

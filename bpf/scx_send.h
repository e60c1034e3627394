/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the scx program tells agents: messages in rings, barriers, and the doorbell that wakes an
 * agent. Everything about one task is told under the lock of its queue, in order.
 */
#ifndef SCX_SEND_H
#define SCX_SEND_H

#include "scx_maps.h"

#define MESSAGE_WORDS 14 /* header and the longest payload, TASK_NEW */

struct message {
	u32 words[MESSAGE_WORDS];
};

/* A message on the stack, empty but for its header. */
#define MESSAGE(NAME, TYPE, PAYLOAD, PAYLOAD_NAME)                                      \
	struct message NAME = { .words = { (TYPE) | (8 + sizeof(PAYLOAD)) << 16 } };    \
	PAYLOAD *PAYLOAD_NAME = (PAYLOAD *)&NAME.words[2]

/* Appends a message; pads the end of the ring rather than wrap it; counts what does not fit. */
static __always_inline int append(struct ghost_queue *queue, u32 mask,
				  const struct message *message)
{
	const u32 bytes = message->words[0] >> 16, slots = (bytes + 7) / 8;
	const u32 head = queue->head;
	u32 at = head & mask, to_end = mask + 1 - at, need = slots;

	if (to_end < slots)
		need += to_end;
	if (need > mask + 1 - (head - *(volatile u32 *)&queue->tail)) {
		queue->overflow++;
		return 0;
	}
	if (to_end < slots) {
		queue->slots[(at * 2) & (QUEUE_SLOTS * 2 - 1)] = MSG_NOP | (to_end * 8) << 16;
		queue->slots[(at * 2 + 1) & (QUEUE_SLOTS * 2 - 1)] = 0;
		at = 0;
	}
#pragma unroll
	for (u32 i = 0; i < MESSAGE_WORDS; i++)
		if (i * 4 < bytes)
			queue->slots[(at * 2 + i) & (QUEUE_SLOTS * 2 - 1)] = message->words[i];
	__sync_fetch_and_add(&queue->head, need); /* after the slots: it is a full barrier */
	return 1;
}

/* Ends the sleep of a CPU's agent, now or when it begins. */
static __noinline int wakeAgent(u32 cpu)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu);
	void *bell;
	u64 ring = 0;

	if (!turn)
		return 0;
	__sync_fetch_and_add(&turn->turn, 1);
	if (!__sync_lock_test_and_set(&turn->waiting, 0))
		return 0;
	bell = bpf_map_lookup_elem(&doorbells, &cpu);
	if (bell) {
		COUNT(doorbell_count);
		/* It can fail where its lock is held up; the agent's poll() ends in time then. */
		if (bpf_ringbuf_output(bell, &ring, sizeof(ring), BPF_RB_FORCE_WAKEUP))
			COUNT(lost_doorbell_count);
	}
	return 0;
}

static __always_inline void bumpAgent(struct cpu_state *cpu)
{
	struct ghost_status_word *word = wordOf(cpu->enclave - 1, cpu->agent_word);

	if (word)
		__sync_fetch_and_add(&word->barrier, 1);
}

/* After a message: the agent that the queue wakes, of two the one of the message's CPU. */
static __noinline int wakeFor(u32 target)
{
	struct cpu_state *cpu = cpuOf(target);

	if (!cpu || !cpu->agent_pid || !cpu->enclave)
		return 0;
	bumpAgent(cpu);
	wakeAgent(target);
	return 0;
}

static __always_inline u32 wakeTarget(const struct queue_state *guard, s32 cpu)
{
	if (!guard->wake_count)
		return MAX_CPUS;
	return guard->wake_count > 1 && guard->wake_cpus[1] == (u32)cpu ? guard->wake_cpus[1] :
									  guard->wake_cpus[0];
}

/*
 * The doorbell's interrupt comes when the kernel lets go of the run queue. Rung from here the agent
 * is runnable before the task has left its CPU; rung from enqueue() the CPU would go idle first.
 * Another CPU's agent would find no message yet.
 */
static __always_inline void ringEarly(struct task_state *state)
{
	u32 index = state->queue, cpu_id = bpf_get_smp_processor_id();
	struct queue_state *guard = bpf_map_lookup_elem(&queue_states, &index);

	if (guard && wakeTarget(guard, cpu_id) == cpu_id)
		wakeAgent(cpu_id);
}

/* Sends a message about a CPU. */
static __noinline int sendCpu(u32 cpu_id, struct message *message)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_status_word *word;
	struct queue_state *guard;
	struct ghost_queue *queue;
	u32 index, target;

	if (!cpu || !cpu->agent_pid || !cpu->enclave || !message)
		return 0;
	index = cpu->agent_queue;
	guard = bpf_map_lookup_elem(&queue_states, &index);
	queue = bpf_map_lookup_elem(&queues, &index);
	word = wordOf(cpu->enclave - 1, cpu->agent_word);
	if (!guard || !queue || !word)
		return 0;
	bpf_spin_lock(&guard->lock);
	message->words[1] = __sync_fetch_and_add(&word->barrier, 1) + 1;
	if (guard->is_open)
		append(queue, guard->slot_mask, message);
	target = wakeTarget(guard, cpu_id);
	bpf_spin_unlock(&guard->lock);
	COUNT(message_count);
	wakeFor(target);
	return 0;
}

/* What a message does to what has been told of its task. */
enum telling {
	TELL, /* nothing */
	TELL_BARRIER, /* nothing: only the barrier moves */
	TELL_NEW, /* that it is there, once; opens its gate */
	TELL_AGAIN, /* the same to an agent that looks for tasks */
	TELL_RUNNABLE, /* that it can run; not needed if TASK_NEW said so */
	TELL_BLOCKED, /* that it cannot; not needed if TASK_NEW said so */
};

/* Sends a message about a task; before TASK_NEW only its barrier moves. */
static __noinline int sendTask(struct task_state *state, struct message *message, s32 cpu,
			       u32 telling)
{
	u32 index, target = MAX_CPUS, is_due, is_known, is_runnable;
	struct ghost_status_word *word;
	struct queue_state *guard;
	struct ghost_queue *queue;

	if (!state || !message || !isLive(state->enclave))
		return 0;
	index = state->queue;
	guard = bpf_map_lookup_elem(&queue_states, &index);
	queue = bpf_map_lookup_elem(&queues, &index);
	word = wordOf(state->enclave, state->word);
	if (!guard || !queue || !word)
		return 0;
	bpf_spin_lock(&guard->lock);
	if (*(volatile u32 *)&state->queue != index) {
		/* It was associated meanwhile: once, since that fails after a message. */
		bpf_spin_unlock(&guard->lock);
		index = *(volatile u32 *)&state->queue;
		guard = bpf_map_lookup_elem(&queue_states, &index);
		queue = bpf_map_lookup_elem(&queues, &index);
		if (!guard || !queue)
			return 0;
		bpf_spin_lock(&guard->lock);
	}
	is_due = guard->is_open;
	is_known = 0;
	is_runnable = (word->flags & GHOST_SW_TASK_RUNNABLE) != 0;
	if (telling == TELL_NEW && state->is_new_told) {
		/* The gate was opened as the task was enqueued: one of the two has told. */
		is_due = 0;
		is_known = 1;
	} else if (telling == TELL_NEW || telling == TELL_AGAIN) {
		state->is_new_told = 1;
		state->is_gated = 0;
		state->is_told_runnable = is_runnable;
		message->words[2 + 6] = is_runnable;
	} else if (!state->is_new_told || telling == TELL_BARRIER) {
		is_due = 0;
	} else if (telling == TELL_RUNNABLE) {
		is_known = state->is_told_runnable;
		state->is_told_runnable = 1;
	} else if (telling == TELL_BLOCKED) {
		is_known = !state->is_told_runnable;
		state->is_told_runnable = 0;
	}
	/* A barrier that moves without a message would make every later commit stale. */
	if (!is_known)
		message->words[1] = __sync_fetch_and_add(&word->barrier, 1) + 1;
	if (is_due && !is_known) {
		append(queue, guard->slot_mask, message);
		target = wakeTarget(guard, cpu);
	}
	bpf_spin_unlock(&guard->lock);
	COUNT(message_count);
	wakeFor(target);
	return 0;
}

/* TASK_NEW, unless the word of the task's last stay is not free yet. */
static __noinline int sendNewAs(struct task_state *state, u64 runtime, u32 telling)
{
	MESSAGE(message, MSG_TASK_NEW, struct ghost_msg_new, new);

	if (!state || state->is_gated)
		return 0;
	new->gtid = state->gtid;
	new->parent_gtid = state->parent_gtid;
	new->runtime = runtime;
	new->nice = state->nice;
	new->sw_index = state->word;
	return sendTask(state, &message, state->cpu, telling);
}

static __always_inline int sendNew(struct task_state *state, u64 runtime)
{
	return sendNewAs(state, runtime, TELL_NEW);
}

/* PREEMPT or YIELD. */
static __noinline int sendOffCpu(struct task_state *state, u32 type, u32 was_latched)
{
	struct ghost_status_word *word;
	struct cpu_state *cpu;
	MESSAGE(message, type, struct ghost_msg_preempt, off);

	if (!state)
		return 0;
	word = wordOf(state->enclave, state->word);
	cpu = cpuOf(state->cpu);
	off->gtid = state->gtid;
	off->runtime = word ? word->runtime : 0;
	off->cpu_seqnum = cpu ? __sync_fetch_and_add(&cpu->seqnum, 1) + 1 : 0;
	off->cpu = state->cpu;
	off->flags = was_latched ? 0x100 : 0;
	return sendTask(state, &message, state->cpu, TELL);
}

/* What ELIDE_PREEMPT leaves of a PREEMPT. */
static __noinline int elidePreempt(struct task_state *state)
{
	MESSAGE(message, MSG_TASK_PREEMPT, struct ghost_msg_preempt, off);

	if (!state)
		return 0;
	off->gtid = state->gtid;
	return sendTask(state, &message, state->cpu, TELL_BARRIER);
}

static __noinline int sendLatchFailure(struct task_state *state, s32 error)
{
	MESSAGE(message, MSG_TASK_LATCH_FAILURE, struct ghost_msg_latch_failure, failure);

	if (!state)
		return 0;
	COUNT(latch_failure_count);
	failure->gtid = state->gtid;
	failure->error = error;
	return sendTask(state, &message, state->cpu, TELL);
}

/* Gives the CPU back to its agent, if the transaction that runs there asked for it. */
static __always_inline void returnToAgent(u32 cpu_id, u32 flag)
{
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (cpu && cpu->agent_pid && (cpu->run_flags & flag))
		wakeAgent(cpu_id);
}

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Queues, agents, their timers, and the limit on how long a task may wait: the parts of the control
 * plane (scx_control.h) that the kernel's callbacks meet.
 */
#ifndef SCX_AGENTS_H
#define SCX_AGENTS_H

#include "scx_commit.h"

#define CLOCK_MS 1000000ULL

struct queue_search {
	u32 found; /* 1 + index */
};

static long findFreeQueue(u32 index, void *data)
{
	struct queue_search *search = data;
	struct queue_state *guard = bpf_map_lookup_elem(&queue_states, &index);

	if (!guard)
		return 1;
	if (guard->is_open || guard->enclave)
		return 0;
	search->found = index + 1;
	return 1;
}

static __always_inline s64 createQueue(u32 enclave, u32 slots)
{
	struct queue_search search = { 0 };
	struct queue_state *guard;
	struct ghost_queue *queue;
	u32 index;

	bpf_loop(QUEUE_COUNT_MAX, findFreeQueue, &search, 0);
	if (!search.found)
		return -ENOSPC_;
	index = search.found - 1;
	guard = bpf_map_lookup_elem(&queue_states, &index);
	queue = bpf_map_lookup_elem(&queues, &index);
	if (!guard || !queue)
		return -ENOSPC_;
	queue->version = 0;
	queue->start = 64;
	queue->nelems = slots;
	queue->head = 0;
	queue->tail = 0;
	queue->overflow = 0;
	guard->slot_mask = slots - 1;
	guard->wake_count = 0;
	guard->enclave = enclave + 1;
	guard->is_open = 1;
	return index;
}

/* A queue of the enclave that is open, or 0. */
static __always_inline struct queue_state *openQueue(u32 enclave, u32 index)
{
	struct queue_state *guard = bpf_map_lookup_elem(&queue_states, &index);

	return guard && guard->is_open && guard->enclave == enclave + 1 ? guard : 0;
}

static __always_inline s64 closeQueue(u32 enclave_index, u32 index)
{
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &enclave_index);
	struct queue_state *guard = openQueue(enclave_index, index);

	if (!guard || !enclave)
		return -EBADF_;
	bpf_spin_lock(&guard->lock);
	guard->is_open = 0;
	guard->enclave = 0;
	bpf_spin_unlock(&guard->lock);
	if (enclave->default_queue == index + 1)
		enclave->default_queue = 0;
	return 0;
}

static __always_inline s64 configWakeup(u32 enclave, u32 index, u32 count, u64 cpu_pair)
{
	struct queue_state *guard = openQueue(enclave, index);
	u32 last = count == 2 ? (u32)(cpu_pair >> 32) : (u32)cpu_pair;

	if (!guard)
		return -EBADF_;
	bpf_spin_lock(&guard->lock);
	guard->wake_count = count;
	guard->wake_cpus[0] = (u32)cpu_pair;
	guard->wake_cpus[1] = (u32)(cpu_pair >> 32);
	bpf_spin_unlock(&guard->lock);
	if (count)
		wakeAgent(last);
	return 0;
}

/* The agent of a CPU is no more: its calls fail from now on, and its word may be freed. */
static __noinline s64 leaveAgent(u32 cpu_id)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);
	struct ghost_status_word *word;

	if (!cpu || !turn || !cpu->agent_pid || !cpu->enclave)
		return -ENODEV_;
	unlatch(cpu, cpu_id);
	cpu->agent_pid = 0;
	word = wordOf(cpu->enclave - 1, cpu->agent_word);
	if (word)
		__sync_fetch_and_or(&word->flags, GHOST_SW_F_CANFREE);
	turn->is_gone = 1;
	wakeAgent(cpu_id);
	return 0;
}

static long leaveOfEnclave(u32 cpu_id, void *data)
{
	u32 *enclave = data;
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (cpu && cpu->enclave == *enclave + 1)
		leaveAgent(cpu_id);
	return 0;
}

static __always_inline s64 becomeAgent(u32 enclave, u32 cpu_id, s32 queue)
{
	struct scx_enclave *owner = bpf_map_lookup_elem(&enclaves, &enclave);
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);
	struct task_struct *me = bpf_get_current_task_btf();
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_status_word *word;
	s64 index;

	if (!owner || !cpu || !turn || owner->state != SCX_ENCLAVE_LIVE ||
	    cpu->enclave != enclave + 1)
		return -ENODEV_;
	if (queue == -1) {
		if (!owner->default_queue)
			return -ENXIO_;
		queue = owner->default_queue - 1;
	} else if (!openQueue(enclave, queue)) {
		return -EBADF_;
	}
	if (cpu->agent_pid)
		return -EBUSY_;
	index = takeWord(enclave);
	word = index < 0 ? 0 : wordOf(enclave, index);
	if (!word)
		return -ENOMEM_;
	word->barrier = 0;
	word->gtid = gtidOf(me);
	word->flags = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED | GHOST_SW_TASK_IS_AGENT |
		      GHOST_SW_CPU_AVAIL;
	turn->is_gone = 0;
	turn->waiting = 0;
	turn->wake_on_idle = 0;
	turn->commit = SCX_TURN_NONE;
	cpu->agent_word = index;
	cpu->agent_queue = queue;
	cpu->is_agent_asleep = 0;
	cpu->mode = MODE_AGENT;
	cpu->agent_pid = me->pid;
	return index;
}

static __always_inline s64 associateAgent(u32 enclave, u32 cpu_id, u32 queue, u32 barrier)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_status_word *word;

	if (!openQueue(enclave, queue))
		return -EBADF_;
	if (!cpu || cpu->enclave != enclave + 1 || !cpu->agent_pid)
		return -ENOENT_;
	word = wordOf(enclave, cpu->agent_word);
	if (!word || word->barrier != barrier)
		return -ESTALE_;
	cpu->agent_queue = queue;
	return 0;
}

static __always_inline s64 wakeCpu(u32 enclave, u32 cpu_id, u32 is_ping)
{
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (!cpu || cpu->enclave != enclave + 1 || !cpu->agent_pid)
		return -EINVAL_;
	if (is_ping)
		bumpAgent(cpu);
	wakeAgent(cpu_id);
	return 0;
}

static int timerExpired(void *map, u32 *cpu_id, struct cpu_timer *timer)
{
	MESSAGE(message, MSG_CPU_TIMER_EXPIRED, struct ghost_msg_timer_expired, expired);

	expired->cpu = *cpu_id;
	expired->type = timer->type;
	expired->cookie = timer->cookie;
	sendCpu(*cpu_id, &message);
	return 0;
}

static __always_inline s64 armTimer(u32 type, u32 cookie, u64 deadline)
{
	u32 cpu_id = bpf_get_smp_processor_id();
	struct cpu_timer *timer = bpf_map_lookup_elem(&timers, &cpu_id);

	if (!timer)
		return -EINVAL_;
	if (!timer->is_ready) {
		bpf_timer_init(&timer->timer, &timers, CLOCK_MONOTONIC);
		timer->is_ready = 1;
	}
	bpf_timer_cancel(&timer->timer); /* forgets the callback, too */
	bpf_timer_set_callback(&timer->timer, timerExpired);
	timer->type = type;
	timer->cookie = cookie;
	return deadline ? bpf_timer_start(&timer->timer, deadline, BPF_F_TIMER_ABS) : 0;
}

static __always_inline s64 onAgent(const struct scx_call *call)
{
	struct cpu_state *cpu = cpuOf(call->a);

	switch (call->op) {
	case SCX_OP_AGENT_BECOME:
		return becomeAgent(call->enclave, call->a, call->b);
	case SCX_OP_AGENT_LEAVE:
		return cpu && cpu->enclave == call->enclave + 1 ? leaveAgent(call->a) : -ENODEV_;
	case SCX_OP_AGENT_WORD:
		return cpu && cpu->enclave == call->enclave + 1 && cpu->agent_pid ?
			       (s64)cpu->agent_word :
			       -EINVAL_;
	case SCX_OP_AGENT_ASSOCIATE:
		return associateAgent(call->enclave, call->a, call->b, call->value);
	case SCX_OP_AGENT_WAKE:
		return wakeCpu(call->enclave, call->a, call->b);
	case SCX_OP_TIMER:
		return armTimer(call->a, call->b, call->value);
	case SCX_OP_UNLATCH:
		if (cpu)
			unlatch(cpu, call->a);
		return 0;
	default:
		return -EINVAL_;
	}
}

struct wait_check {
	u64 now;
	u64 timeout_ns;
	u32 enclave;
	u32 found; /* 1 + index of a word whose task has waited too long */
	u64 waited_ns;
};

static long checkWait(u32 index, void *data)
{
	struct wait_check *check = data;
	u32 enclave = check->enclave;
	struct word_list *list = bpf_map_lookup_elem(&word_lists, &enclave);
	u64 since;

	if (!list || index >= list->fresh)
		return 1;
	since = list->waits_since[index & 65535];
	if (!since || check->now < since + check->timeout_ns)
		return 0;
	check->found = index + 1;
	check->waited_ns = check->now - since;
	return 1;
}

/* With the time it takes the kernel to unload the program, well within a second of the limit. */
#define WAIT_CHECK_NS_MAX (200 * CLOCK_MS)

/* Ends the program for a task that waits; says what is known, to tell whose fault it is. */
static __noinline int endForWait(u32 enclave, u32 index, u64 waited_ms)
{
	static char format[] = "runnable_timeout: thread %llu waited %llu ms for a CPU (queue %llu; "
			       "latched on CPU %lld, which thread %llu of class %llu has)";
	struct scx_enclave *owner = bpf_map_lookup_elem(&enclaves, &enclave);
	struct ghost_status_word *word = wordOf(enclave, index);
	unsigned long long numbers[6] = { 0, waited_ms };
	struct task_state *state;
	struct task_struct *p;

	if (!word || !owner)
		return 0;
	numbers[0] = word->gtid >> GTID_SEQNUM_BITS;
	p = bpf_task_from_pid(word->gtid >> GTID_SEQNUM_BITS);
	state = p ? memberState(p) : 0;
	if (state) {
		struct cpu_state *cpu = cpuOf(state->latched_cpu - 1);

		numbers[2] = state->queue;
		numbers[3] = (s64)state->latched_cpu - 1;
		numbers[4] = cpu ? cpu->runs_pid : 0;
		numbers[5] = cpu ? cpu->mode : 0;
	}
	if (p)
		bpf_task_release(p);
	/* From here on tasks leave untold: the agents' dump shows what led to this. */
	owner->state = SCX_ENCLAVE_DYING;
	scx_bpf_error_bstr(format, numbers, sizeof(numbers));
	return 0;
}

/* A task that waits for longer than the limit ends the program, as a kernel ends the enclave. */
static int limitWaits(void *map, u32 *enclave, struct wait_limit *limit)
{
	u64 timeout_ns = limit->timeout_ns, period_ns = timeout_ns / 4;
	struct wait_check check = {
		.now = bpf_ktime_get_ns(),
		.timeout_ns = timeout_ns,
		.enclave = *enclave,
	};

	if (!timeout_ns || !isLive(*enclave))
		return 0;
	bpf_loop(WORD_COUNT, checkWait, &check, 0);
	if (check.found) {
		endForWait(*enclave, check.found - 1, check.waited_ns / CLOCK_MS);
		return 0;
	}
	if (period_ns > WAIT_CHECK_NS_MAX)
		period_ns = WAIT_CHECK_NS_MAX;
	bpf_timer_start(&limit->timer, period_ns, 0);
	return 0;
}

static __always_inline s64 setWaitLimit(u32 enclave, u32 timeout_ms)
{
	struct wait_limit *limit = bpf_map_lookup_elem(&wait_limits, &enclave);

	if (!limit)
		return -EINVAL_;
	if (!limit->is_ready) {
		bpf_timer_init(&limit->timer, &wait_limits, CLOCK_MONOTONIC);
		limit->is_ready = 1;
	}
	bpf_timer_cancel(&limit->timer);
	bpf_timer_set_callback(&limit->timer, limitWaits);
	limit->timeout_ns = timeout_ms * CLOCK_MS;
	return timeout_ms ? bpf_timer_start(&limit->timer, 0, 0) : 0;
}

#endif

// SPDX-License-Identifier: GPL-2.0
/*
 * ghOSt's data plane on sched_ext: message rings, status words and transactions in maps that agents
 * map, in the layout of ABI 91. The kernel's callbacks become messages; a commit latches a task;
 * dispatch() inserts what is latched. Threads join by SCHED_EXT, once the control program has
 * said which enclave that means.
 */
#include "scx_control.h"
#include "scx_switch.h"

char _license[] SEC("license") = "GPL";

/* A task that no live enclave schedules gets what sched_ext gives without a policy. */
static __always_inline void runWithoutPolicy(struct task_struct *p, u64 enq_flags)
{
	scx_bpf_dsq_insert___v2___x(p, SCX_DSQ_GLOBAL, SCX_SLICE_DFL, enq_flags);
}

SEC("struct_ops/ghost_select_cpu")
s32 BPF_PROG(ghost_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu; /* without this callback the kernel places tasks on idle CPUs itself */
}

static __noinline int sendWakeup(struct task_state *state, u32 waker_cpu)
{
	MESSAGE(message, MSG_TASK_WAKEUP, struct ghost_msg_wakeup, wakeup);
	u32 on_waker;

	if (!state)
		return 0;
	on_waker = tunableOf(state->enclave, SCX_WAKE_ON_WAKER_CPU);
	wakeup->gtid = state->gtid;
	wakeup->last_ran_cpu = state->cpu;
	wakeup->wake_up_cpu = on_waker ? (s32)waker_cpu : state->cpu;
	wakeup->waker_cpu = waker_cpu;
	return sendTask(state, &message, wakeup->wake_up_cpu, TELL_RUNNABLE);
}

#define SIGKILL_BIT (1UL << 8)

/*
 * Killed, or on its way out: no policy is to keep it from that. The kernel itself gives exiting
 * tasks a CPU, unasked; and from some point on they have no pid by which a commit could find them.
 */
static __always_inline int isDying(struct task_struct *p)
{
	return (p->pending.signal.sig[0] & SIGKILL_BIT) != 0 || (p->flags & PF_EXITING) != 0;
}

static __noinline int sendBlocked(struct task_state *state, u64 runtime)
{
	MESSAGE(message, MSG_TASK_BLOCKED, struct ghost_msg_blocked, blocked);
	struct cpu_state *cpu;

	if (!state)
		return 0;
	cpu = cpuOf(state->cpu);
	blocked->gtid = state->gtid;
	blocked->runtime = runtime;
	blocked->cpu_seqnum = cpu ? __sync_fetch_and_add(&cpu->seqnum, 1) + 1 : 0;
	blocked->cpu = state->cpu;
	return sendTask(state, &message, state->cpu, TELL_BLOCKED);
}

/* The kernel runs a dying task: to its agent it is one that blocks, and never wakes up. */
static __always_inline void letDie(struct task_state *state, struct ghost_status_word *word)
{
	forgetLatch(state);
	state->is_queued = 0;
	state->is_inserted = 0;
	setWaiting(state->enclave, state->word, 0);
	__sync_fetch_and_and(&word->flags, ~GHOST_SW_TASK_RUNNABLE);
	sendBlocked(state, word->runtime);
	returnToAgent(state->cpu, RTLA_ON_BLOCKED);
}

/* By now the commit that displaced it has been dispatched; of an idle CPU there is no such task. */
static __always_inline void tellPreempt(struct task_state *state)
{
	struct cpu_state *cpu = cpuOf(state->cpu);

	if (cpu && cpu->elides_preempt) {
		cpu->elides_preempt = 0;
		elidePreempt(state);
	} else {
		sendOffCpu(state, MSG_TASK_PREEMPT, 0);
	}
}

SEC("struct_ops/ghost_enqueue")
void BPF_PROG(ghost_enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word = state ? wordOf(state->enclave, state->word) : 0;
	u32 due;

	if (!word || !isLive(state->enclave)) {
		COUNT(fallback_count);
		runWithoutPolicy(p, enq_flags);
		return;
	}
	if (isDying(p)) {
		letDie(state, word);
		runWithoutPolicy(p, enq_flags);
		return;
	}
	/* One that joins while it runs is told of once it is off its CPU. */
	if (state->due == DUE_NEW && p->on_cpu && !state->has_run)
		return;
	due = state->due;
	state->due = DUE_NONE;
	state->is_queued = 1;
	state->is_stray = 0;
	__sync_fetch_and_or(&word->flags, GHOST_SW_TASK_RUNNABLE);
	setWaiting(state->enclave, state->word, bpf_ktime_get_ns());
	if (due == DUE_NEW) {
		sendNew(state, word->runtime);
	} else if (due == DUE_WAKEUP) {
		sendWakeup(state, bpf_get_smp_processor_id());
	} else if (due == DUE_PREEMPT) {
		COUNT(preempt_count);
		tellPreempt(state);
		returnToAgent(state->cpu, RTLA_ON_PREEMPT);
	} else if (due == DUE_YIELD) {
		sendOffCpu(state, MSG_TASK_YIELD, 0);
		returnToAgent(state->cpu, RTLA_ON_YIELD);
	} else if (state->is_inserted) {
		/* Taken out and put back by a change of its attributes: it lost its place. */
		state->is_inserted = 0;
		sendLatchFailure(state, EINVAL_);
	}
}

SEC("struct_ops/ghost_dequeue")
void BPF_PROG(ghost_dequeue, struct task_struct *p, u64 deq_flags)
{
	struct task_state *state = memberState(p);

	if (state)
		state->is_queued = 0;
}

/* For a task that its policy puts where it may not run. */
#define STRAY_SLICE_NS (5 * CLOCK_MS)

/*
 * A ghOSt kernel runs a task where the policy says, allowed or not, and policies count on that;
 * sched_ext does not. So a task that is put a second time where it may not run gets a slice on the
 * CPU where it waits, behind what runs there. A global agent in its way is asked to move on.
 */
static __always_inline void runAsStray(struct task_struct *p, struct task_state *state, u32 put_on)
{
	u32 cpu_id = scx_bpf_task_cpu(p);
	struct cpu_state *cpu = cpuOf(cpu_id);

	state->cpu = put_on;
	state->is_stray = 1;
	state->is_inserted = 1;
	scx_bpf_dsq_insert___v2___x(p, SCX_DSQ_LOCAL_ON | cpu_id, STRAY_SLICE_NS, 0);
	COUNT(stray_count);
	if (cpu && cpu->enclave && cpu->mode == MODE_AGENT)
		setAvailable(cpu, cpu_id, 0);
}

/* Gives the latched task to the kernel, or tells why not. */
static __always_inline void insertLatched(struct task_struct *p, u64 gtid, u32 cpu_id, u32 flags)
{
	struct task_state *state = memberState(p);
	struct cpu_state *cpu = cpuOf(cpu_id);
	u32 is_allowed;

	if (!state || !cpu || state->gtid != gtid)
		return;
	/* Whoever takes the latch away tells what became of the task. */
	if (__sync_val_compare_and_swap(&state->latched_cpu, cpu_id + 1, 0) != cpu_id + 1)
		return;
	is_allowed = bpf_cpumask_test_cpu(cpu_id, p->cpus_ptr);
	if (!state->is_queued || (!is_allowed && !state->is_misfit)) {
		state->is_misfit = !is_allowed;
		sendLatchFailure(state, EINVAL_);
		return;
	}
	cpu->run_flags = flags;
	cpu->elides_preempt = (flags & ELIDE_PREEMPT) != 0;
	if (!is_allowed) {
		runAsStray(p, state, cpu_id);
		return;
	}
	state->is_inserted = 1;
	scx_bpf_dsq_insert___v2___x(p, SCX_DSQ_LOCAL, SCX_SLICE_INF, 0);
	COUNT(dispatched_count);
}

SEC("struct_ops/ghost_dispatch")
void BPF_PROG(ghost_dispatch, s32 cpu_id, struct task_struct *prev)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct task_struct *p;
	u32 flags;
	u64 gtid;

	if (!cpu || !cpu->enclave)
		return;
	if (cpu->mode == MODE_AGENT)
		commitOfSleeper(cpu, cpu_id);
	if (!cpu->latched_gtid)
		return;
	flags = cpu->latched_flags;
	gtid = __sync_lock_test_and_set(&cpu->latched_gtid, 0);
	if (!gtid)
		return;
	p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
	if (!p)
		return; /* DEAD tells it */
	insertLatched(p, gtid, cpu_id, flags);
	bpf_task_release(p);
}

static __noinline int sendOnCpu(struct task_state *state, struct cpu_state *cpu)
{
	MESSAGE(message, MSG_TASK_ON_CPU, struct ghost_msg_on_cpu, on_cpu);

	if (!state || !cpu)
		return 0;
	on_cpu->gtid = state->gtid;
	on_cpu->commit_time = cpu->commit_time;
	on_cpu->cpu_seqnum = cpu->seqnum;
	on_cpu->cpu = state->cpu;
	return sendTask(state, &message, state->cpu, TELL);
}

SEC("struct_ops/ghost_running")
void BPF_PROG(ghost_running, struct task_struct *p)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word = state ? wordOf(state->enclave, state->word) : 0;
	u32 cpu_id = bpf_get_smp_processor_id();
	struct cpu_state *cpu = cpuOf(state && state->is_stray ? (u32)state->cpu : cpu_id);

	if (!word || !cpu)
		return;
	cpu->elides_preempt = 0;
	state->is_queued = 0;
	state->has_run = 1;
	if (!state->is_stray) {
		state->is_misfit = 0;
		state->cpu = cpu_id;
	}
	state->run_since = bpf_ktime_get_ns();
	word->switch_time = state->run_since;
	setWaiting(state->enclave, state->word, 0);
	__sync_fetch_and_or(&word->flags, GHOST_SW_TASK_ONCPU);
	if (!isLive(state->enclave) || isDying(p))
		return;
	__sync_fetch_and_or(&word->flags, GHOST_SW_TASK_RUNNABLE);
	/* It waited on this CPU already when it was latched there once more. */
	if (cpu->latched_gtid == state->gtid) {
		cpu->run_flags = cpu->latched_flags;
		forgetLatch(state);
	}
	/* What joined while it ran, or has been overtaken by a commit, must leave its CPU. */
	if (!state->is_new_told || cpu->latched_gtid) {
		if (!state->is_new_told)
			state->due = DUE_NEW;
		scx_bpf_task_set_slice(p, 0);
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_PREEMPT);
	}
	if (state->is_inserted && (cpu->run_flags & SEND_TASK_ON_CPU))
		sendOnCpu(state, cpu);
	state->is_inserted = 0;
}

SEC("struct_ops/ghost_stopping")
void BPF_PROG(ghost_stopping, struct task_struct *p, bool runnable)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word = state ? wordOf(state->enclave, state->word) : 0;

	if (!word)
		return;
	word->runtime = p->se.sum_exec_runtime;
	state->run_since = 0;
	__sync_fetch_and_and(&word->flags, ~GHOST_SW_TASK_ONCPU);
	if (!runnable || !isLive(state->enclave))
		return;
	if (p->flags & PF_EXITING) {
		letDie(state, word); /* the kernel will not ask where it goes on */
		return;
	}
	if (state->due == DUE_NONE)
		state->due = DUE_PREEMPT;
	/* With a slice left the kernel would let it go on later without asking. */
	scx_bpf_task_set_slice(p, 0);
}

SEC("struct_ops/ghost_quiescent")
void BPF_PROG(ghost_quiescent, struct task_struct *p, u64 deq_flags)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word = state ? wordOf(state->enclave, state->word) : 0;
	u32 due;

	if (!word || !(deq_flags & SCX_DEQ_SLEEP))
		return;
	forgetLatch(state);
	state->is_queued = 0;
	state->is_inserted = 0;
	state->is_stray = 0;
	due = state->due;
	state->due = DUE_WAKEUP; /* before a look at the gate, as whoever opens it looks here after */
	__sync_fetch_and_and(&word->flags, ~GHOST_SW_TASK_RUNNABLE);
	if (p->__state & TASK_DEAD)
		return; /* DEAD follows */
	if (due == DUE_NEW) {
		sendNew(state, word->runtime);
	} else {
		sendBlocked(state, word->runtime);
		returnToAgent(state->cpu, RTLA_ON_BLOCKED);
	}
}

SEC("struct_ops/ghost_yield")
bool BPF_PROG(ghost_yield, struct task_struct *from, struct task_struct *to)
{
	struct task_state *state = memberState(from);

	if (state && state->due == DUE_NONE)
		state->due = DUE_YIELD;
	if (state)
		ringEarly(state);
	scx_bpf_task_set_slice(from, 0); /* with a callback the kernel leaves this to it */
	return false;
}

SEC("struct_ops/ghost_set_cpumask")
void BPF_PROG(ghost_set_cpumask, struct task_struct *p, const struct cpumask *cpumask)
{
	struct task_state *state = memberState(p);
	MESSAGE(message, MSG_TASK_AFFINITY_CHANGED, struct ghost_msg_affinity_changed, changed);

	if (!state)
		return;
	state->is_misfit = 0;
	if (state->skip_cpumask) {
		state->skip_cpumask = 0;
		return;
	}
	changed->gtid = state->gtid;
	sendTask(state, &message, state->cpu, TELL);
}

SEC("struct_ops/ghost_set_weight")
void BPF_PROG(ghost_set_weight, struct task_struct *p, u32 weight)
{
	struct task_state *state = memberState(p);
	MESSAGE(message, MSG_TASK_PRIORITY_CHANGED, struct ghost_msg_priority_changed, changed);
	s32 nice = p->static_prio - 120;

	if (!state || state->nice == nice)
		return;
	state->nice = nice;
	changed->gtid = state->gtid;
	changed->nice = nice;
	sendTask(state, &message, state->cpu, TELL);
}

SEC("struct_ops.s/ghost_init_task")
s32 BPF_PROG(ghost_init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_state *state =
		bpf_task_storage_get(&task_states, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct task_state *parent;

	/* Asked for so that clang describes the type, which bpf_cpumask_test_cpu's check needs. */
	if (!bpf_core_type_exists(struct cpumask))
		return -EINVAL_;
	if (!state)
		return -ENOMEM_;
	if (!args->fork)
		return 0;
	parent = memberState(bpf_get_current_task_btf());
	if (parent) {
		state->wanted = parent->enclave + 1;
		state->parent_gtid = parent->gtid;
	}
	return 0;
}

SEC("struct_ops/ghost_exit_task")
void BPF_PROG(ghost_exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);

	if (state && state->reserved && state->wanted && !state->is_member)
		giveWord(state->wanted - 1, state->reserved - 1);
	if (state)
		state->reserved = 0;
}

static __always_inline void enterEnclave(struct task_struct *p, struct task_state *state,
					 u32 enclave, u32 index)
{
	struct ghost_status_word *word = wordOf(enclave, index);
	struct scx_enclave *owner = bpf_map_lookup_elem(&enclaves, &enclave);

	if (!word || !owner)
		return;
	state->gtid = gtidOf(p);
	state->enclave = enclave;
	state->word = index;
	state->queue = owner->default_queue - 1;
	state->due = DUE_NEW;
	state->has_run = 0;
	state->is_queued = 0;
	state->is_inserted = 0;
	state->is_new_told = 0;
	state->is_told_runnable = 0;
	state->is_misfit = 0;
	state->is_stray = 0;
	state->latched_cpu = 0;
	state->run_since = 0;
	state->nice = p->static_prio - 120;
	state->cpu = bpf_get_smp_processor_id();
	state->skip_cpumask = !(p->__state & TASK_NEW);
	state->is_gated = state->departed && state->departed_enclave == enclave;
	word->barrier = 0;
	word->gtid = state->gtid;
	word->runtime = p->se.sum_exec_runtime;
	word->switch_time = 0;
	word->flags = GHOST_SW_F_INUSE | GHOST_SW_F_ALLOCATED;
	state->is_member = 1;
	__sync_fetch_and_add(&owner->task_count, 1);
	if (state->is_gated && !*(volatile u32 *)&state->departed)
		state->is_gated = 0; /* the word was freed meanwhile, by one that saw no member */
	if (state->is_gated) {
		struct ghost_status_word *old = wordOf(enclave, state->departed - 1);

		if (old)
			__sync_fetch_and_or(&old->flags, GHOST_SW_TASK_MSG_GATED);
	}
	/* One that can run, a child just forked among them, is told of when it is enqueued. */
	if (!p->on_rq && !(p->__state & TASK_NEW)) {
		__sync_lock_test_and_set(&state->due, DUE_WAKEUP);
		sendNew(state, word->runtime);
	}
}

SEC("struct_ops/ghost_enable")
void BPF_PROG(ghost_enable, struct task_struct *p)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);
	struct scx_enclave *owner;
	u32 enclave;
	s64 word;

	if (!state || !state->wanted)
		return; /* it joined no enclave */
	enclave = state->wanted - 1;
	owner = bpf_map_lookup_elem(&enclaves, &enclave);
	word = (s64)state->reserved - 1; /* negative if none was set aside: a child */
	state->reserved = 0;
	state->wanted = 0;
	if (!owner || owner->state != SCX_ENCLAVE_LIVE || !owner->default_queue)
		return;
	if (word < 0)
		word = takeWord(enclave);
	if (word < 0) {
		COUNT(no_word_count);
		return;
	}
	enterEnclave(p, state, enclave, word);
}

/* DEAD or DEPARTED; a word that nobody has heard of is free at once. */
static __always_inline void tellLeaving(struct task_struct *p, struct task_state *state,
					struct ghost_status_word *word)
{
	struct cpu_state *cpu = cpuOf(state->cpu);
	u64 gtid = state->gtid;
	u32 index = state->word;

	__sync_fetch_and_and(&word->flags, ~(GHOST_SW_TASK_ONCPU | GHOST_SW_TASK_RUNNABLE));
	if (!state->is_new_told) {
		giveWord(state->enclave, index);
		return;
	}
	__sync_fetch_and_or(&word->flags, GHOST_SW_F_CANFREE);
	state->departed = index + 1;
	state->departed_enclave = state->enclave;
	if (p->__state & TASK_DEAD) {
		MESSAGE(message, MSG_TASK_DEAD, struct ghost_msg_dead, dead);

		bpf_map_update_elem(&dead_gtids, &gtid, &index, 0);
		dead->gtid = gtid;
		dead->cpu = state->cpu;
		sendTask(state, &message, state->cpu, TELL);
	} else {
		MESSAGE(message, MSG_TASK_DEPARTED, struct ghost_msg_departed, departed);

		departed->gtid = gtid;
		departed->cpu_seqnum = cpu ? __sync_fetch_and_add(&cpu->seqnum, 1) + 1 : 0;
		departed->cpu = state->cpu;
		departed->flags = p->on_cpu ? 0x100 : 0;
		sendTask(state, &message, state->cpu, TELL);
	}
}

SEC("struct_ops/ghost_disable")
void BPF_PROG(ghost_disable, struct task_struct *p)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word = state ? wordOf(state->enclave, state->word) : 0;
	struct scx_enclave *owner;
	u32 enclave;

	if (!word)
		return;
	enclave = state->enclave;
	owner = bpf_map_lookup_elem(&enclaves, &enclave);
	setWaiting(enclave, state->word, 0);
	forgetLatch(state);
	tellLeaving(p, state, word);
	state->is_member = 0;
	if (owner)
		__sync_fetch_and_sub(&owner->task_count, 1);
}

static long wakeForEnd(u32 cpu_id, void *data)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (!turn || !cpu || !cpu->agent_pid)
		return 0;
	turn->is_gone = 1;
	wakeAgent(cpu_id);
	return 0;
}

SEC("struct_ops/ghost_exit")
void BPF_PROG(ghost_exit, struct scx_exit_info *info)
{
	struct scx_report *end = theReport();
	u32 unused = 0;
	struct scx_exit_dump *dump = bpf_map_lookup_elem(&exit_dump, &unused);

	if (!end || !dump)
		return;
	bpf_probe_read_kernel_str(dump->text, sizeof(dump->text), info->dump);
	bpf_probe_read_kernel_str(end->reason, sizeof(end->reason), info->reason);
	bpf_probe_read_kernel_str(end->message, sizeof(end->message), info->msg);
	end->exit_kind = info->kind;
	bpf_loop(MAX_CPUS, wakeForEnd, &unused, 0);
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
	.set_weight = (void *)ghost_set_weight,
	.set_cpumask = (void *)ghost_set_cpumask,
	.init_task = (void *)ghost_init_task,
	.exit_task = (void *)ghost_exit_task,
	.enable = (void *)ghost_enable,
	.disable = (void *)ghost_disable,
	.exit = (void *)ghost_exit,
	.flags = SCX_OPS_SWITCH_PARTIAL | SCX_OPS_ENQ_LAST,
	.timeout_ms = 4000,
	.name = "ghost",
};

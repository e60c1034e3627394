/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Transactions: the kernel's checks in the kernel's order (reference, section 1.5), and the latch,
 * what a CPU is to run as soon as it looks. COMPLETE means latched.
 */
#ifndef SCX_COMMIT_H
#define SCX_COMMIT_H

#include "scx_send.h"

/* The task that was latched on a CPU will not run there now. */
static __noinline int tellUnlatched(u64 gtid, u32 cpu_id)
{
	struct task_struct *p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
	struct task_state *state;

	if (!p)
		return 0;
	state = memberState(p);
	if (state && state->gtid == gtid &&
	    __sync_val_compare_and_swap(&state->latched_cpu, cpu_id + 1, 0) == cpu_id + 1) {
		state->cpu = cpu_id;
		sendOffCpu(state, MSG_TASK_PREEMPT, 1);
	}
	bpf_task_release(p);
	return 0;
}

/* Empties a CPU's latch; its task is told to be preempted. */
static __always_inline void unlatch(struct cpu_state *cpu, u32 cpu_id)
{
	u64 gtid = cpu->latched_gtid ? __sync_lock_test_and_set(&cpu->latched_gtid, 0) : 0;
	u32 flags = cpu->latched_flags;

	if (!gtid)
		return;
	tellUnlatched(gtid, cpu_id);
	if (flags & RTLA_ON_PREEMPT)
		wakeAgent(cpu_id);
}

/* Forgets a latch whose task has something else to tell. */
static __always_inline void forgetLatch(struct task_state *state)
{
	u32 at = state->latched_cpu ? __sync_lock_test_and_set(&state->latched_cpu, 0) : 0;
	struct cpu_state *cpu = at ? cpuOf(at - 1) : 0;

	if (cpu)
		__sync_val_compare_and_swap(&cpu->latched_gtid, state->gtid, 0);
}

/* Latches a task that has passed the checks. */
static __always_inline void latchTask(struct task_state *state, struct cpu_state *cpu, u32 cpu_id,
				      u32 run_flags)
{
	u64 gtid = state->gtid, displaced;
	u32 before = __sync_lock_test_and_set(&state->latched_cpu, cpu_id + 1);
	struct cpu_state *other = before && before != cpu_id + 1 ? cpuOf(before - 1) : 0;

	if (other)
		__sync_val_compare_and_swap(&other->latched_gtid, gtid, 0);
	cpu->latched_flags = run_flags;
	displaced = __sync_lock_test_and_set(&cpu->latched_gtid, gtid);
	if (displaced && displaced != gtid)
		tellUnlatched(displaced, cpu_id);
}

/* The record's own flags and CPU. */
static __always_inline s32 checkRecord(const struct ghost_txn *txn, u32 cpu_id)
{
	u32 run = txn->run_flags, commit = txn->commit_flags;
	const u32 both = ELIDE_AGENT_BARRIER_INC | INC_AGENT_BARRIER_ON_FAILURE;

	if (txn->version != 0)
		return GHOST_TXN_UNSUPPORTED_VERSION;
	if ((u32)txn->cpu != cpu_id)
		return GHOST_TXN_INVALID_CPU;
	if ((run & ~RUN_FLAGS_ALL) || ((run & RTLA_ON_IDLE) && txn->gtid < 0) ||
	    ((run & NEED_CPU_NOT_IDLE) && txn->gtid != GTID_IDLE) ||
	    (txn->gtid == GTID_AGENT && run))
		return GHOST_TXN_INVALID_FLAGS;
	if ((commit & ~COMMIT_FLAGS_ALL) || (commit & COMMIT_AT_FLAGS) == COMMIT_AT_FLAGS ||
	    (commit & both) == both)
		return GHOST_TXN_INVALID_FLAGS;
	return GHOST_TXN_COMPLETE;
}

/* The task, whose thread is there. */
static __always_inline s32 checkTask(const struct ghost_txn *txn, struct task_struct *p,
				     u32 enclave, u32 cpu_id)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);
	struct ghost_status_word *word;
	u32 flags;

	if (!state || gtidOf(p) != (u64)txn->gtid)
		return gtidOf(p) == (u64)txn->gtid ? GHOST_TXN_INVALID_TARGET :
						     GHOST_TXN_TARGET_NOT_FOUND;
	if (!state->is_member || state->enclave != enclave)
		return state->departed && state->departed_enclave == enclave ?
			       GHOST_TXN_TARGET_STALE :
			       GHOST_TXN_INVALID_TARGET;
	word = wordOf(enclave, state->word);
	if (!word || state->is_gated || !state->is_new_told)
		return GHOST_TXN_TARGET_STALE;
	flags = *(volatile u32 *)&word->flags;
	if (txn->task_barrier != *(volatile u32 *)&word->barrier)
		return GHOST_TXN_TARGET_STALE;
	if (!(flags & (GHOST_SW_TASK_RUNNABLE | GHOST_SW_TASK_ONCPU)))
		return GHOST_TXN_TARGET_NOT_RUNNABLE;
	if ((flags & GHOST_SW_TASK_ONCPU) &&
	    (!(txn->commit_flags & ALLOW_TASK_ONCPU) || (u32)state->cpu != cpu_id))
		return GHOST_TXN_TARGET_ONCPU;
	return GHOST_TXN_COMPLETE;
}

/* The CPU and the caller. */
static __always_inline s32 checkCpu(const struct ghost_txn *txn, struct cpu_state *cpu, u32 enclave,
				    u32 caller_pid, u32 is_agent)
{
	struct ghost_status_word *word;

	if (cpu->enclave != enclave + 1 || !cpu->agent_pid)
		return GHOST_TXN_NO_AGENT;
	if (!is_agent)
		return GHOST_TXN_NOT_PERMITTED;
	if ((txn->run_flags & DO_NOT_PREEMPT) && cpu->mode == MODE_TASK)
		return GHOST_TXN_AGENT_STALE;
	/* An agent that commits locally has the CPU itself. */
	if (cpu->mode == MODE_DEFAULT && cpu->agent_pid != caller_pid)
		return GHOST_TXN_CPU_UNAVAIL;
	word = wordOf(enclave, cpu->agent_word);
	if (cpu->agent_pid == caller_pid && word && txn->agent_barrier != word->barrier)
		return GHOST_TXN_AGENT_STALE;
	return GHOST_TXN_COMPLETE;
}

/* Who commits, and what is done with a good transaction. */
struct commit {
	u32 enclave;
	u32 caller_pid; /* 0 if it is no agent of the enclave */
	u32 caller_cpu; /* of the agent */
	u32 how;
	u64 cpus;
	u32 has_failed;
	u32 phase; /* of a sync group */
};

/* A transaction that has passed: what its CPU is to do. 1 if that is to go on with what it does. */
static __noinline int applyTxn(struct ghost_txn *txn, struct cpu_state *cpu, u32 cpu_id)
{
	struct task_struct *p;
	struct task_state *state;
	u32 goes_on = 0;

	if (!txn || !cpu)
		return 0;
	cpu->commit_time = bpf_ktime_get_ns();
	if (txn->gtid <= 0) {
		unlatch(cpu, cpu_id);
		cpu->run_flags = txn->run_flags;
		cpu->elides_preempt = cpu->mode == MODE_TASK &&
				      (txn->run_flags & ELIDE_PREEMPT) != 0;
		cpu->want_not_idle = txn->gtid == GTID_IDLE &&
				     (txn->run_flags & NEED_CPU_NOT_IDLE) != 0;
		return 0;
	}
	p = bpf_task_from_pid((u64)txn->gtid >> GTID_SEQNUM_BITS);
	if (!p)
		return 0;
	state = memberState(p);
	if (state) {
		struct ghost_status_word *word = wordOf(state->enclave, state->word);

		if (word && (word->flags & GHOST_SW_TASK_ONCPU) && (u32)state->cpu == cpu_id) {
			unlatch(cpu, cpu_id);
			cpu->run_flags = txn->run_flags;
			goes_on = 1;
		} else {
			cpu->want_not_idle = 0; /* as a commit says nothing of it */
			latchTask(state, cpu, cpu_id, txn->run_flags);
			txn->cpu_seqnum = __sync_fetch_and_add(&cpu->seqnum, 1) + 1;
		}
	}
	bpf_task_release(p);
	return goes_on;
}

static __noinline int validateTxn(struct ghost_txn *txn, struct cpu_state *cpu, u32 cpu_id,
				  struct commit *commit)
{
	struct task_struct *p;
	s32 state;

	if (!txn || !cpu || !commit)
		return GHOST_TXN_INVALID_CPU;
	state = checkRecord(txn, cpu_id);
	if (state != GHOST_TXN_COMPLETE)
		return state;
	if (txn->gtid == GTID_AGENT || txn->gtid < GTID_IDLE)
		return GHOST_TXN_INVALID_TARGET;
	if (txn->gtid > 0) {
		u64 gtid = txn->gtid;

		p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
		if (!p)
			return bpf_map_lookup_elem(&dead_gtids, &gtid) ? GHOST_TXN_TARGET_STALE :
									 GHOST_TXN_TARGET_NOT_FOUND;
		state = checkTask(txn, p, commit->enclave, cpu_id);
		bpf_task_release(p);
		if (state != GHOST_TXN_COMPLETE)
			return state;
	}
	return checkCpu(txn, cpu, commit->enclave, commit->caller_pid, commit->caller_pid != 0);
}

/* Publishes the result of a transaction, and moves the barrier of the CPU's agent. */
static __always_inline void finishTxn(struct ghost_txn *txn, struct cpu_state *cpu, u32 enclave,
				      s32 state)
{
	const u32 flag = state == GHOST_TXN_COMPLETE ? ELIDE_AGENT_BARRIER_INC :
						       INC_AGENT_BARRIER_ON_FAILURE;
	const u32 is_set = (txn->commit_flags & flag) != 0;

	if (cpu->enclave == enclave + 1 && cpu->agent_pid &&
	    is_set == (state != GHOST_TXN_COMPLETE))
		bumpAgent(cpu);
	if (state != GHOST_TXN_COMPLETE)
		COUNT(refused_counts[state & 15]);
	/* TASK_ON_CPU tells the same time. */
	txn->commit_time = state == GHOST_TXN_COMPLETE ? cpu->commit_time : bpf_ktime_get_ns();
	__sync_lock_test_and_set(&txn->state, state);
}

/*
 * Makes a CPU look at its latch; the caller's own does when the agent gives it away. An agent that
 * has its CPU comes before what others latch there.
 */
static __always_inline void interrupt(const struct commit *commit, struct cpu_state *cpu,
				      u32 cpu_id)
{
	if (cpu_id == commit->caller_cpu)
		return;
	if (cpu->mode == MODE_AGENT && !(cpu->latched_flags & DEFER_LATCHED_PREEMPTION_BY_AGENT))
		unlatch(cpu, cpu_id);
	else
		scx_bpf_kick_cpu(cpu_id, SCX_KICK_PREEMPT);
}

static __always_inline int claim(struct ghost_txn *txn, u32 cpu_id)
{
	return __sync_val_compare_and_swap(&txn->state, GHOST_TXN_READY, cpu_id) == GHOST_TXN_READY;
}

/* One member of a call that commits each for itself. */
static __noinline int commitEach(struct commit *commit, u32 cpu_id)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_txn *txn;
	u32 goes_on = 0;
	s32 state;

	if (!cpu || !commit)
		return 0;
	txn = txnOf(commit->enclave, cpu_id);
	if (!txn)
		return 0;
	if (commit->how != SCX_COMMIT_LOCAL &&
	    (txn->commit_flags & COMMIT_AT_FLAGS) == COMMIT_AT_SCHEDULE)
		return 0;
	if (!claim(txn, cpu_id))
		return 0;
	if (cpu_id == commit->caller_cpu && commit->has_failed) {
		finishTxn(txn, cpu, commit->enclave, GHOST_TXN_POISONED);
		return 0;
	}
	state = validateTxn(txn, cpu, cpu_id, commit);
	if (state == GHOST_TXN_COMPLETE) {
		goes_on = applyTxn(txn, cpu, cpu_id);
		COUNT(latched_count);
	} else {
		commit->has_failed = 1;
	}
	finishTxn(txn, cpu, commit->enclave, state);
	if (state == GHOST_TXN_COMPLETE && !goes_on)
		interrupt(commit, cpu, cpu_id);
	return 0;
}

/*
 * The transaction of an agent that has just given its CPU away: no call of its own is needed. One
 * that something has woken already commits by a call, to be told off as its CPU never got to it.
 */
static __noinline int commitOfSleeper(struct cpu_state *cpu, u32 cpu_id)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);
	struct commit commit = {
		.caller_cpu = cpu_id,
		.how = SCX_COMMIT_LOCAL,
	};

	if (!turn || turn->commit != SCX_TURN_WANTED || !turn->waiting || !cpu || !cpu->agent_pid)
		return 0;
	commit.enclave = cpu->enclave - 1;
	commit.caller_pid = cpu->agent_pid;
	commitEach(&commit, cpu_id);
	turn->commit = commit.has_failed ? SCX_TURN_REFUSED : SCX_TURN_LATCHED;
	if (commit.has_failed)
		wakeAgent(cpu_id);
	return 0;
}

/* One member of a sync group, in the first phase and, once all are known, in the second. */
static __noinline int commitMember(struct commit *commit, u32 cpu_id)
{
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_txn *txn;
	u32 goes_on;
	s32 state;

	if (!cpu || !commit)
		return 0;
	txn = txnOf(commit->enclave, cpu_id);
	if (!txn)
		return 0;
	if (commit->phase == 0) {
		state = GHOST_TXN_READY; /* it was not open: its state stays as it is */
		if (claim(txn, cpu_id))
			state = commit->has_failed ? GHOST_TXN_POISONED :
						     validateTxn(txn, cpu, cpu_id, commit);
		if (state != GHOST_TXN_COMPLETE)
			commit->has_failed = 1;
		cpu->group_state = state;
		return 0;
	}
	state = cpu->group_state;
	if (state == GHOST_TXN_READY)
		return 0;
	if (commit->has_failed) {
		finishTxn(txn, cpu, commit->enclave,
			  state == GHOST_TXN_COMPLETE ? GHOST_TXN_POISONED : state);
		return 0;
	}
	goes_on = applyTxn(txn, cpu, cpu_id);
	COUNT(latched_count);
	__sync_lock_test_and_set(&txn->sync_group_owner, SYNC_GROUP_NOT_OWNED);
	finishTxn(txn, cpu, commit->enclave, state);
	if (!goes_on)
		interrupt(commit, cpu, cpu_id);
	return 0;
}

/* The own record comes last. */
static long eachMember(u32 index, void *data)
{
	struct commit *commit = data;
	u32 cpu_id = index;

	if (index == MAX_CPUS) {
		cpu_id = commit->caller_cpu;
		if (cpu_id >= MAX_CPUS)
			return 0;
	} else if (index == commit->caller_cpu) {
		return 0;
	}
	if (!(commit->cpus >> (cpu_id & 63) & 1))
		return 0;
	if (commit->how == SCX_COMMIT_SYNC)
		commitMember(commit, cpu_id);
	else
		commitEach(commit, cpu_id);
	return 0;
}

SEC("syscall")
int ghost_commit(struct scx_commit_args *args)
{
	const u32 pid = (u32)bpf_get_current_pid_tgid();
	struct cpu_state *own = cpuOf(bpf_get_smp_processor_id());
	struct commit commit = {
		.enclave = args->enclave,
		.caller_cpu = MAX_CPUS,
		.how = args->how,
		.cpus = args->cpus,
	};

	if (own && own->agent_pid == pid && own->enclave == args->enclave + 1) {
		commit.caller_pid = pid;
		commit.caller_cpu = bpf_get_smp_processor_id();
	}
	args->result = isLive(args->enclave) ? 0 : -ENODEV_;
	if (args->result)
		return 0;
	if (commit.how == SCX_COMMIT_LOCAL) {
		if (commit.caller_cpu < MAX_CPUS)
			commitEach(&commit, commit.caller_cpu);
		return 0;
	}
	bpf_loop(MAX_CPUS + 1, eachMember, &commit, 0);
	if (commit.how == SCX_COMMIT_SYNC) {
		commit.phase = 1;
		bpf_loop(MAX_CPUS + 1, eachMember, &commit, 0);
		args->result = !commit.has_failed;
	}
	return 0;
}

#endif

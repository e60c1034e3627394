/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What happens on a CPU besides its tasks: the agent comes and goes, the CPU idles, the default
 * class takes it.
 */
#ifndef SCX_SWITCH_H
#define SCX_SWITCH_H

#include "scx_commit.h"

static __noinline int sendCpuEvent(u32 cpu_id, u32 type)
{
	MESSAGE(message, type, struct ghost_msg_cpu, event);

	event->cpu = cpu_id;
	return sendCpu(cpu_id, &message);
}

static __noinline int sendNotIdle(u32 cpu_id, u64 next_gtid)
{
	MESSAGE(message, MSG_CPU_NOT_IDLE, struct ghost_msg_cpu_not_idle, event);

	event->cpu = cpu_id;
	event->next_gtid = next_gtid;
	return sendCpu(cpu_id, &message);
}

/* Keeps CPU_AVAIL and BOOST_PRIO of an agent, and tells the edges of the first if asked to. */
static __always_inline void setAvailable(struct cpu_state *cpu, u32 cpu_id, u32 is_available)
{
	const u32 is_boosted = !is_available && cpu->mode == MODE_AGENT;
	u32 enclave = cpu->enclave - 1, flags;
	struct ghost_status_word *word = wordOf(enclave, cpu->agent_word);

	if (!word || !cpu->agent_pid)
		return;
	flags = *(volatile u32 *)&word->flags;
	if (((flags & GHOST_SW_BOOST_PRIO) != 0) != is_boosted) {
		if (is_boosted)
			__sync_fetch_and_or(&word->flags, GHOST_SW_BOOST_PRIO);
		else
			__sync_fetch_and_and(&word->flags, ~GHOST_SW_BOOST_PRIO);
	}
	if (((flags & GHOST_SW_CPU_AVAIL) != 0) == is_available)
		return;
	if (is_available)
		__sync_fetch_and_or(&word->flags, GHOST_SW_CPU_AVAIL);
	else
		__sync_fetch_and_and(&word->flags, ~GHOST_SW_CPU_AVAIL);
	if (tunableOf(enclave, SCX_DELIVER_CPU_AVAILABILITY))
		sendCpuEvent(cpu_id, is_available ? MSG_CPU_AVAILABLE : MSG_CPU_BUSY);
}

/* Whether a thread of the default class can run on a CPU. */
static __always_inline u32 isWanted(u32 cpu_id)
{
	const struct rq *rq = bpf_per_cpu_ptr(&runqueues, cpu_id);

	return rq && rq->cfs.h_nr_runnable > 0;
}

/* A thread has become runnable on a CPU: its agent, if it has the CPU, may be in the way. */
static __always_inline void threadComes(struct task_struct *p, u32 cpu_id)
{
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (!cpu || !cpu->enclave || cpu->mode != MODE_AGENT)
		return;
	if (p->prio >= MAX_RT_PRIO && p->policy != SCHED_EXT)
		setAvailable(cpu, cpu_id, 0);
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(ghost_wakeup, struct task_struct *p)
{
	threadComes(p, scx_bpf_task_cpu(p));
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(ghost_wakeup_new, struct task_struct *p)
{
	threadComes(p, scx_bpf_task_cpu(p));
	return 0;
}

/* One that sleeps is moved before it is woken. */
SEC("tp_btf/sched_migrate_task")
int BPF_PROG(ghost_migrate, struct task_struct *p, int cpu_id)
{
	if (p->on_rq)
		threadComes(p, cpu_id);
	return 0;
}

static __always_inline void agentComes(struct cpu_state *cpu, u32 cpu_id)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);

	if (turn)
		turn->switches++;
	if (cpu->is_agent_asleep) {
		cpu->is_agent_asleep = 0;
		if (tunableOf(cpu->enclave - 1, SCX_DELIVER_AGENT_RUNNABILITY))
			sendCpuEvent(cpu_id, MSG_CPU_AGENT_WAKEUP);
	}
	if (!(cpu->latched_flags & DEFER_LATCHED_PREEMPTION_BY_AGENT))
		unlatch(cpu, cpu_id);
}

static __always_inline void agentGoes(struct cpu_state *cpu, u32 cpu_id, u32 prev_state)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);

	if (!prev_state || !turn || turn->waiting || cpu->is_agent_asleep)
		return;
	cpu->is_agent_asleep = 1;
	if (tunableOf(cpu->enclave - 1, SCX_DELIVER_AGENT_RUNNABILITY))
		sendCpuEvent(cpu_id, MSG_CPU_AGENT_BLOCKED);
}

static __always_inline void idleBegins(struct cpu_state *cpu, u32 cpu_id)
{
	struct scx_turn *turn = bpf_map_lookup_elem(&turns, &cpu_id);

	if (!turn || !cpu->agent_pid || cpu->latched_gtid)
		return;
	if (!turn->wake_on_idle && !(cpu->run_flags & RTLA_ON_IDLE))
		return;
	cpu->run_flags &= ~RTLA_ON_IDLE;
	turn->wake_on_idle = 0;
	wakeAgent(cpu_id);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(ghost_switch, bool preempt, struct task_struct *prev, struct task_struct *next,
	     unsigned int prev_state)
{
	u32 cpu_id = bpf_get_smp_processor_id(), pid = next->pid, mode;
	struct cpu_state *cpu = cpuOf(cpu_id);

	if (!cpu || !cpu->enclave)
		return 0;
	if (pid == 0)
		mode = MODE_IDLE;
	else if (pid == cpu->agent_pid)
		mode = MODE_AGENT;
	else
		mode = next->policy == SCHED_EXT ? MODE_TASK : MODE_DEFAULT;
	if (cpu->agent_pid && (u32)prev->pid == cpu->agent_pid) {
		if (prev_state) /* if dispatch() was not asked: another class has the CPU */
			commitOfSleeper(cpu, cpu_id);
		agentGoes(cpu, cpu_id, prev_state);
	}
	if (cpu->want_not_idle && cpu->mode == MODE_IDLE && mode != MODE_IDLE) {
		cpu->want_not_idle = 0;
		sendNotIdle(cpu_id, gtidOf(next));
	}
	cpu->mode = mode;
	cpu->runs_pid = pid;
	setAvailable(cpu, cpu_id, mode == MODE_AGENT ? !isWanted(cpu_id) : mode != MODE_DEFAULT);
	if (mode == MODE_AGENT)
		agentComes(cpu, cpu_id);
	else if (mode == MODE_IDLE)
		idleBegins(cpu, cpu_id);
	return 0;
}

#endif

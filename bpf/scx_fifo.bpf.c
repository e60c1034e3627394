// SPDX-License-Identifier: GPL-2.0
/*
 * First come, first served, wholly in BPF: what the bench holds user-space agents against. Threads
 * that are SCHED_EXT wait in one queue; a CPU takes the first.
 */
#include "scx_kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

#define FIFO_DSQ 0

SEC("struct_ops/fifo_select_cpu")
s32 BPF_PROG(fifo_select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	return prev_cpu;
}

SEC("struct_ops/fifo_enqueue")
void BPF_PROG(fifo_enqueue, struct task_struct *p, u64 enq_flags)
{
	/* Asked for so that clang describes the type, as in scx_ghost.bpf.c. */
	if (!bpf_core_type_exists(struct cpumask))
		return;
	scx_bpf_dsq_insert___v2___x(p, FIFO_DSQ, SCX_SLICE_INF, enq_flags);
}

SEC("struct_ops/fifo_dispatch")
void BPF_PROG(fifo_dispatch, s32 cpu, struct task_struct *prev)
{
	scx_bpf_dsq_move_to_local___v2___x(FIFO_DSQ, 0);
}

SEC("struct_ops.s/fifo_init")
s32 BPF_PROG(fifo_init)
{
	return scx_bpf_create_dsq(FIFO_DSQ, -1);
}

SEC(".struct_ops.link")
struct sched_ext_ops ghost_ops = {
	.select_cpu = (void *)fifo_select_cpu,
	.enqueue = (void *)fifo_enqueue,
	.dispatch = (void *)fifo_dispatch,
	.init = (void *)fifo_init,
	.flags = SCX_OPS_SWITCH_PARTIAL | SCX_OPS_ENQ_LAST,
	.timeout_ms = 30000,
	.name = "fifo",
};

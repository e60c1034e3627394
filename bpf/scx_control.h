/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The control plane: what a ghOSt kernel does in files and ioctls, as one syscall program with an
 * operation (enum scx_op). What needs no knowledge of the kernel's is checked by the caller.
 */
#ifndef SCX_CONTROL_H
#define SCX_CONTROL_H

#include "scx_agents.h"

static __always_inline s64 createEnclave(const struct scx_call *call)
{
	u32 index = call->enclave;
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &index);
	struct word_list *list = bpf_map_lookup_elem(&word_lists, &index);
	struct ghost_sw_region *region = bpf_map_lookup_elem(&status_words, &index);

	if (!enclave || !list || !region)
		return -EINVAL_;
	if (enclave->state != SCX_ENCLAVE_FREE)
		return -EBUSY_;
	list->first = 0;
	list->fresh = 0;
	list->capacity = call->a;
	setWaitLimit(index, 0);
	region->start = 64;
	region->capacity = call->a;
	region->available = call->a;
	enclave->cpus = 0;
	enclave->is_online = 0;
	enclave->owner_pid = call->b;
	enclave->default_queue = 0;
	enclave->task_count = 0;
	for (u32 i = 0; i < SCX_TUNABLE_COUNT; i++)
		enclave->tunables[i] = 0;
	enclave->state = SCX_ENCLAVE_LIVE;
	return 0;
}

struct cpu_change {
	u64 before;
	u64 after;
	u32 enclave;
};

static long changeCpu(u32 cpu_id, void *data)
{
	struct cpu_change *change = data;
	struct cpu_state *cpu = cpuOf(cpu_id);
	struct ghost_txn *txn = txnOf(change->enclave, cpu_id);
	u64 bit = 1ULL << (cpu_id & 63);

	if (!cpu || !txn || !((change->before ^ change->after) & bit))
		return 0;
	if (change->after & bit) {
		txn->version = 0;
		txn->cpu = cpu_id;
		txn->gtid = 0;
		txn->run_flags = 0;
		txn->commit_flags = 0;
		txn->state = GHOST_TXN_COMPLETE;
		txn->sync_group_owner = SYNC_GROUP_NOT_OWNED;
		cpu->latched_gtid = 0;
		cpu->run_flags = 0;
		cpu->want_not_idle = 0;
		cpu->enclave = change->enclave + 1;
	} else {
		cpu->enclave = 0;
	}
	return 0;
}

static __noinline s64 setCpus(u32 index, u64 mask)
{
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &index);
	struct cpu_change change = { .after = mask, .enclave = index };

	if (!enclave)
		return -EINVAL_;
	change.before = enclave->cpus;
	enclave->cpus = mask;
	bpf_loop(MAX_CPUS, changeCpu, &change, 0);
	return 0;
}

static long closeOfEnclave(u32 index, void *data)
{
	u32 *enclave = data;
	struct queue_state *guard = bpf_map_lookup_elem(&queue_states, &index);

	if (guard && guard->enclave == *enclave + 1) {
		guard->is_open = 0;
		guard->enclave = 0;
	}
	return 0;
}

/*
 * Ends an enclave in two steps: DYING lets its tasks run without a policy until they have left;
 * the second call gives the rest back.
 */
static __always_inline s64 destroyEnclave(u32 index)
{
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &index);

	if (!enclave || enclave->state == SCX_ENCLAVE_FREE)
		return -ENODEV_;
	if (enclave->state == SCX_ENCLAVE_LIVE) {
		enclave->state = SCX_ENCLAVE_DYING;
		enclave->is_online = 0;
		bpf_loop(MAX_CPUS, leaveOfEnclave, &index, 0);
		setCpus(index, 0);
		return 0;
	}
	bpf_loop(QUEUE_COUNT_MAX, closeOfEnclave, &index, 0);
	enclave->state = SCX_ENCLAVE_FREE;
	return 0;
}

/* Calls about a task that is in the enclave. */
static __always_inline s64 taskCall(const struct scx_call *call, struct task_struct *p)
{
	struct task_state *state = memberState(p);
	struct ghost_status_word *word;
	struct queue_state *guard;
	s64 result = 0;
	u32 before;

	if (!state || state->enclave != call->enclave || state->gtid != call->value)
		return call->op == SCX_OP_TASK_RUNTIME ? -ESRCH_ : -ENOENT_;
	word = wordOf(state->enclave, state->word);
	if (!word)
		return -ENOENT_;
	if (call->op == SCX_OP_TASK_WORD)
		return state->word;
	if (call->op == SCX_OP_TASK_RUNTIME) {
		u64 since = state->run_since;

		return since ? word->runtime + (bpf_ktime_get_ns() - since) : word->runtime;
	}
	before = state->queue;
	guard = bpf_map_lookup_elem(&queue_states, &before);
	if (!guard)
		return -ENOENT_;
	/* Whoever has a message for the old queue sends it before, or sees the new one. */
	bpf_spin_lock(&guard->lock);
	if (state->queue != before || word->barrier != (u32)call->b) {
		result = -ESTALE_;
	} else {
		if (state->is_gated || !state->is_new_told)
			result |= ASSOC_BRAND_NEW;
		if (before == (u32)call->a)
			result |= ASSOC_ALREADY;
		state->queue = call->a;
	}
	bpf_spin_unlock(&guard->lock);
	return result;
}

static __always_inline s64 onTask(const struct scx_call *call)
{
	struct task_struct *p;
	s64 result;

	if (call->op == SCX_OP_TASK_ASSOCIATE && !openQueue(call->enclave, call->a))
		return -EBADF_;
	p = bpf_task_from_pid(call->value >> GTID_SEQNUM_BITS);
	if (!p)
		return call->op == SCX_OP_TASK_RUNTIME ? -ESRCH_ : -ENOENT_;
	result = taskCall(call, p);
	bpf_task_release(p);
	return result;
}

/* The word of a past stay is free: what the task's present stay has to tell may be told. */
static __always_inline void openGate(struct task_struct *p, u32 enclave, u32 index)
{
	struct task_state *state = bpf_task_storage_get(&task_states, p, 0, 0);
	struct ghost_status_word *word;

	if (!state || state->departed != index + 1 || state->departed_enclave != enclave)
		return;
	__sync_lock_test_and_set(&state->departed, 0);
	if (!state->is_member || !__sync_lock_test_and_set(&state->is_gated, 0))
		return;
	if (state->due == DUE_NEW)
		return; /* it runs, and is told of when it leaves its CPU */
	word = wordOf(state->enclave, state->word);
	sendNew(state, word ? word->runtime : 0);
}

static __always_inline s64 freeWord(u32 enclave, u32 index)
{
	struct ghost_status_word *word = wordOf(enclave, index);
	struct task_struct *p;
	u64 gtid;

	if (!word || !(word->flags & GHOST_SW_F_ALLOCATED))
		return -ENOENT_;
	if (!(__sync_fetch_and_and(&word->flags, ~GHOST_SW_F_CANFREE) & GHOST_SW_F_CANFREE))
		return -EINVAL_;
	gtid = word->gtid;
	giveWord(enclave, index);
	bpf_map_delete_elem(&dead_gtids, &gtid);
	p = bpf_task_from_pid(gtid >> GTID_SEQNUM_BITS);
	if (p) {
		openGate(p, enclave, index);
		bpf_task_release(p);
	}
	return 0;
}

static __always_inline s64 setAside(struct task_struct *p, const struct scx_call *call)
{
	struct task_state *state =
		bpf_task_storage_get(&task_states, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	u32 index = call->enclave;
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &index);
	s64 word;

	if (!enclave || enclave->state != SCX_ENCLAVE_LIVE)
		return -EXDEV_;
	if (!state)
		return -ENOMEM_;
	if (call->op == SCX_OP_UNJOIN) {
		if (state->reserved && !state->is_member)
			giveWord(index, state->reserved - 1);
		state->reserved = 0;
		state->wanted = 0;
		return 0;
	}
	if (p->exit_state)
		return -ESRCH_; /* dead, and not waited for yet */
	if (state->is_member || state->wanted)
		return -EPERM_;
	if (!enclave->default_queue)
		return -ENXIO_;
	word = takeWord(index);
	if (word < 0)
		return -ENOMEM_;
	state->reserved = word + 1;
	state->wanted = index + 1;
	return p->policy == SCHED_EXT;
}

static __always_inline s64 onThread(const struct scx_call *call)
{
	struct task_struct *p = bpf_task_from_pid(call->a);
	struct task_state *state;
	s64 result;

	if (!p)
		return -ESRCH_;
	if (call->op == SCX_OP_TASK_ENCLAVE) {
		state = memberState(p);
		result = state ? state->enclave + 1 : 0;
	} else {
		result = setAside(p, call);
	}
	bpf_task_release(p);
	return result;
}

/* Tells of a task anew whose word is given, as if it had just come. */
static __always_inline s64 discover(const struct scx_call *call)
{
	struct ghost_status_word *word = wordOf(call->enclave, call->a);
	struct task_state *state;
	struct task_struct *p;

	if (!word || (word->flags & (GHOST_SW_F_CANFREE | GHOST_SW_TASK_IS_AGENT)))
		return 0;
	p = bpf_task_from_pid(word->gtid >> GTID_SEQNUM_BITS);
	if (!p)
		return 0;
	state = memberState(p);
	if (state && state->word == (u32)call->a && state->is_new_told)
		sendNewAs(state, word->runtime, TELL_AGAIN);
	bpf_task_release(p);
	return 0;
}

static __always_inline s64 onEnclave(const struct scx_call *call)
{
	u32 index = call->enclave;
	struct scx_enclave *enclave = bpf_map_lookup_elem(&enclaves, &index);
	u32 tunable = call->a;

	if (!enclave || enclave->state != SCX_ENCLAVE_LIVE)
		return -ENODEV_;
	switch (call->op) {
	case SCX_OP_ENCLAVE_CPUS:
		return setCpus(index, call->value);
	case SCX_OP_QUEUE_CREATE:
		return createQueue(index, call->a);
	case SCX_OP_QUEUE_CLOSE:
		return closeQueue(index, call->a);
	case SCX_OP_QUEUE_DEFAULT:
		if (call->a >= 0 && !openQueue(index, call->a))
			return -EBADF_;
		enclave->default_queue = call->a + 1;
		return 0;
	case SCX_OP_QUEUE_WAKEUP:
		return configWakeup(index, call->a, call->b, call->value);
	case SCX_OP_ONLINE:
		if (call->a && enclave->is_online)
			return -EBUSY_;
		enclave->is_online = call->a;
		return 0;
	case SCX_OP_TUNABLE:
		if (tunable >= SCX_TUNABLE_COUNT)
			return -ENOENT_;
		enclave->tunables[tunable] = call->b;
		return 0;
	case SCX_OP_WAIT_LIMIT:
		return setWaitLimit(index, call->a);
	case SCX_OP_DISCOVER:
		return discover(call);
	default:
		return -EINVAL_;
	}
}

SEC("syscall")
int ghost_control(struct scx_call *args)
{
	struct scx_call call = *args;
	s64 result;

	if (call.enclave >= ENCLAVE_COUNT)
		result = -EINVAL_;
	else if (call.op == SCX_OP_ENCLAVE_CREATE)
		result = createEnclave(&call);
	else if (call.op == SCX_OP_ENCLAVE_DESTROY)
		result = destroyEnclave(call.enclave);
	else if (call.op >= SCX_OP_AGENT_BECOME && call.op <= SCX_OP_UNLATCH)
		result = onAgent(&call);
	else if (call.op == SCX_OP_TASK_WORD || call.op == SCX_OP_TASK_RUNTIME ||
		 call.op == SCX_OP_TASK_ASSOCIATE)
		result = onTask(&call);
	else if (call.op == SCX_OP_WORD_FREE)
		result = freeWord(call.enclave, call.a);
	else if (call.op == SCX_OP_JOIN || call.op == SCX_OP_UNJOIN ||
		 call.op == SCX_OP_TASK_ENCLAVE)
		result = onThread(&call);
	else
		result = onEnclave(&call);
	args->result = result;
	return 0;
}

#endif

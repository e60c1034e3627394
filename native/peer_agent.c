/*
 * Agents of the native peer (peer.h): who has a CPU, transactions with the kernel's checks in the
 * kernel's order, and the calls in which an agent's thread sleeps until it has its CPU back.
 */
#include "peer.h"

enum run_flags {
    RTLA_ON_PREEMPT = 1, RTLA_ON_BLOCKED = 2, RTLA_ON_YIELD = 4, RTLA_ON_IDLE = 32,
    NEED_L1D_FLUSH = 64, NEED_CPU_NOT_IDLE = 128, ELIDE_PREEMPT = 512, SEND_TASK_ON_CPU = 1024,
    DEFER_LATCHED_PREEMPTION_BY_AGENT = 2048, DO_NOT_PREEMPT = 4096, RUN_FLAGS_ALL = 7911
};
enum commit_flags {
    COMMIT_AT_SCHEDULE = 1, COMMIT_AT_TXN_COMMIT = 2, COMMIT_AT_FLAGS = 3, ALLOW_TASK_ONCPU = 4,
    ELIDE_AGENT_BARRIER_INC = 8, INC_AGENT_BARRIER_ON_FAILURE = 16, COMMIT_FLAGS_ALL = 31
};
enum special_gtid { GTID_NULL = 0, GTID_AGENT = -1, GTID_IDLE = -2 };

#define MASK_CPUS 512
#define AGENT_GTID_BASE 0x7fffff0000000000

static void signal_word(uint32_t *word)
{
    __atomic_fetch_add(word, 1, __ATOMIC_RELEASE);
    shim_futex_wake_word(word, 1);
}

/* ---- who has a CPU ---- */

static void give_to_agent(struct peer_cpu *cpu)
{
    cpu->mode = MODE_AGENT;
    cpu->agent = AGENT_RUNNING;
    cpu->wake_on_idle = 0;
    signal_word(&cpu->turn);
}

static void preempt_current(struct peer_cpu *cpu)
{
    __atomic_store_n(&cpu->preempt, 1, __ATOMIC_RELEASE);
    signal_word(&cpu->work);
}

static void preempt_latched(struct peer *self, struct peer_cpu *cpu)
{
    struct peer_task *task = &self->tasks[cpu->latched];
    cpu->latched = -1;
    __atomic_store_n(&task->state, TASK_READY, __ATOMIC_RELEASE);
    peer_send_task(self, task, MSG_TASK_PREEMPT, 1);
}

/* Gives a CPU to whoever has the first claim: its agent, the default class, a latched task. */
void peer_resched(struct peer *self, struct peer_cpu *cpu)
{
    if (cpu->mode == MODE_TASK) {
        if (cpu->agent == AGENT_READY || cpu->is_busy || cpu->latched >= 0)
            preempt_current(cpu);
        return;
    }
    if (cpu->agent == AGENT_RUNNING)
        return;
    if (cpu->latched >= 0 && (cpu->agent == AGENT_READY || cpu->is_busy)) {
        /* The message may have woken the agent: look again. */
        preempt_latched(self, cpu);
        peer_resched(self, cpu);
    } else if (cpu->agent == AGENT_READY) {
        give_to_agent(cpu);
    } else if (cpu->is_busy) {
        cpu->mode = MODE_DEFAULT;
    } else if (cpu->latched >= 0) {
        cpu->mode = MODE_IDLE;
        signal_word(&cpu->work);
    } else {
        cpu->mode = MODE_IDLE;
        if (cpu->agent == AGENT_BLOCKED && cpu->wake_on_idle)
            give_to_agent(cpu);
    }
}

/* The caller has moved the agent's barrier. */
void peer_wake_agent(struct peer *self, struct peer_cpu *cpu)
{
    if (cpu->agent != AGENT_BLOCKED)
        return;
    cpu->agent = AGENT_READY;
    peer_resched(self, cpu);
}

/* The agent's thread is gone or shall go: whatever it waits for returns -ENODEV. */
void peer_agent_gone(struct peer *self, struct peer_cpu *cpu)
{
    if (cpu->agent == AGENT_NONE)
        return;
    cpu->agent = AGENT_NONE;
    peer_change_flags(self, cpu->status_index, SW_CANFREE, 0);
    if (cpu->latched >= 0) {
        __atomic_store_n(&self->tasks[cpu->latched].state, TASK_READY, __ATOMIC_RELEASE);
        cpu->latched = -1;
    }
    if (cpu->mode == MODE_AGENT)
        cpu->mode = MODE_IDLE;
    signal_word(&cpu->turn);
    peer_resched(self, cpu);
}

/* Blocks the agent; called with the lock, returns without it when the agent runs again. */
static int32_t sleep_until_turn(struct peer *self, struct peer_cpu *cpu, int32_t wake_on_idle)
{
    uint32_t seen = __atomic_load_n(&cpu->turn, __ATOMIC_ACQUIRE);
    int32_t result;
    cpu->agent = AGENT_BLOCKED;
    cpu->wake_on_idle = wake_on_idle;
    cpu->mode = MODE_IDLE;
    peer_resched(self, cpu);
    pthread_mutex_unlock(&self->lock);
    while (__atomic_load_n(&cpu->turn, __ATOMIC_ACQUIRE) == seen)
        shim_futex_wait_word(&cpu->turn, seen, -1);
    pthread_mutex_lock(&self->lock);
    result = cpu->agent == AGENT_NONE ? -ENODEV : 0;
    pthread_mutex_unlock(&self->lock);
    return result;
}

/* ---- transactions ---- */

static int32_t bad_flags(const struct ghost_txn *txn)
{
    int32_t run = txn->run_flags, commit = txn->commit_flags;
    int32_t both = ELIDE_AGENT_BARRIER_INC | INC_AGENT_BARRIER_ON_FAILURE;
    if ((run & ~RUN_FLAGS_ALL) != 0 || (commit & ~COMMIT_FLAGS_ALL) != 0)
        return 1;
    if ((run & RTLA_ON_IDLE) != 0 && txn->gtid < 0)
        return 1;
    if ((run & NEED_CPU_NOT_IDLE) != 0 && txn->gtid != GTID_IDLE)
        return 1;
    if (txn->gtid == GTID_AGENT && run != 0)
        return 1;
    return (commit & COMMIT_AT_FLAGS) == COMMIT_AT_FLAGS || (commit & both) == both;
}

/* A refusal that tells of a mistake: the policy knew the task's last message and ignored it. */
static int32_t policy_fault(struct peer *self, int32_t state)
{
    self->counters[COUNT_POLICY_FAULTS]++;
    return state;
}

static int32_t check_target(struct peer *self, const struct ghost_txn *txn)
{
    struct peer_task *task = peer_find(self, txn->gtid);
    if (txn->gtid == GTID_NULL || txn->gtid == GTID_IDLE)
        return TXN_COMPLETE;
    if (txn->gtid < 0)
        return TXN_INVALID_TARGET;
    if (task == NULL)
        return policy_fault(self, TXN_TARGET_NOT_FOUND);
    if (task->status_index < 0 || task->gated)
        return TXN_TARGET_STALE;
    if (peer_word(self, task->status_index)->barrier != txn->task_barrier)
        return TXN_TARGET_STALE;
    if (task->state == TASK_RUNNING || task->leaving)
        return policy_fault(self, TXN_TARGET_ONCPU);
    if (task->state != TASK_READY && task->state != TASK_LATCHED)
        return policy_fault(self, TXN_TARGET_NOT_RUNNABLE);
    return TXN_COMPLETE;
}

/* Refusals that need no reason: the load's parameter asks for them. */
static int32_t caprice(struct peer *self, struct peer_cpu *cpu)
{
    static const int32_t states[] = {TXN_TARGET_STALE, TXN_AGENT_STALE, TXN_CPU_UNAVAIL,
                                     TXN_TARGET_NOT_RUNNABLE, TXN_TARGET_ONCPU};
    if (peer_random(&cpu->random, 10000) >= (uint32_t)self->refuse_per_10000)
        return TXN_COMPLETE;
    self->counters[COUNT_CAPRICIOUS]++;
    return states[peer_random(&cpu->random, sizeof(states) / sizeof(states[0]))];
}

static int32_t validate(struct peer *self, struct peer_cpu *cpu, int32_t is_local)
{
    const struct ghost_txn *txn = &self->txns[cpu->id];
    int32_t state;
    if (txn->version != 0)
        return TXN_UNSUPPORTED_VERSION;
    if (txn->cpu != cpu->id)
        return TXN_INVALID_CPU;
    if (bad_flags(txn))
        return TXN_INVALID_FLAGS;
    state = check_target(self, txn);
    if (state != TXN_COMPLETE)
        return state;
    if (cpu->agent == AGENT_NONE)
        return TXN_NO_AGENT;
    if ((txn->run_flags & DO_NOT_PREEMPT) != 0 && cpu->mode == MODE_TASK)
        return TXN_AGENT_STALE;
    if (cpu->is_busy)
        return TXN_CPU_UNAVAIL;
    if (is_local && txn->agent_barrier != peer_word(self, cpu->status_index)->barrier)
        return TXN_AGENT_STALE;
    return caprice(self, cpu);
}

static void latch(struct peer *self, struct peer_cpu *cpu)
{
    struct peer_task *task = peer_find(self, self->txns[cpu->id].gtid);
    if (task == NULL) {
        if (cpu->latched >= 0)
            preempt_latched(self, cpu);
        if (cpu->mode == MODE_TASK)
            preempt_current(cpu);
        return;
    }
    if (task->state == TASK_LATCHED)
        peer_unlatch(self, task);
    if (cpu->latched >= 0)
        preempt_latched(self, cpu);
    __atomic_store_n(&task->state, TASK_LATCHED, __ATOMIC_RELEASE);
    task->cpu = cpu->id;
    cpu->latched = (int32_t)(task - self->tasks);
    cpu->latched_flags = self->txns[cpu->id].run_flags;
}

/* Takes an open transaction; 0 if it is not open. */
static int32_t claim(struct peer *self, int32_t cpu)
{
    int32_t expected = TXN_READY;
    return __atomic_compare_exchange_n(&self->txns[cpu].state, &expected, cpu, 0,
                                       __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Decides a claimed transaction for which validate() gave `state`. */
static void finish(struct peer *self, struct peer_cpu *cpu, int32_t state)
{
    struct ghost_txn *txn = &self->txns[cpu->id];
    int32_t flag = state == TXN_COMPLETE ? ELIDE_AGENT_BARRIER_INC : INC_AGENT_BARRIER_ON_FAILURE;
    int32_t is_set = (txn->commit_flags & flag) != 0;
    if (cpu->agent != AGENT_NONE && is_set == (state != TXN_COMPLETE))
        peer_bump(self, cpu->status_index);
    if (state == TXN_COMPLETE)
        latch(self, cpu);
    self->counters[state == TXN_COMPLETE ? COUNT_COMMITS : COUNT_REFUSED]++;
    txn->commit_time = (int64_t)peer_now_ns();
    __atomic_store_n(&txn->state, state, __ATOMIC_RELEASE);
}

/* ---- the agents' calls; a handle of 0 is a dry run ---- */

/* Makes the caller the agent of a CPU. Returns the index of its status word, or -errno. */
SHIM_API int32_t shim_peer_become_agent(double handle, int32_t cpu_id, int32_t queue_id)
{
    struct peer *self = shim_pointer(handle);
    int32_t queue = queue_id, index;
    struct peer_cpu *cpu;
    if (cpu_id < 0 || cpu_id >= self->cpu_count || self->is_destroyed)
        return -ENODEV;
    if (queue == -1 && self->default_queue < 0)
        return -ENXIO;
    if (queue == -1)
        queue = self->default_queue;
    if (queue < 0 || queue >= PEER_QUEUES_MAX || !self->queues[queue].open)
        return -EBADF;
    cpu = &self->cpus[cpu_id];
    pthread_mutex_lock(&self->lock);
    index = cpu->agent != AGENT_NONE
                ? -EBUSY
                : peer_allocate_word(self, AGENT_GTID_BASE + cpu_id, SW_IS_AGENT | SW_CPU_AVAIL);
    if (index >= 0) {
        cpu->status_index = index;
        cpu->queue = queue;
        cpu->agent = AGENT_RUNNING;
        cpu->mode = MODE_AGENT;
    }
    pthread_mutex_unlock(&self->lock);
    return index;
}

/*
 * Commits the transaction of the own CPU. After success the agent sleeps here until it is woken,
 * by its queue's next message or a ping.
 */
SHIM_API int32_t shim_peer_local_commit(double handle, int32_t cpu_id)
{
    struct peer *self = shim_pointer(handle);
    struct peer_cpu *cpu;
    int32_t state;
    if (self == NULL)
        return 0;
    cpu = &self->cpus[cpu_id];
    pthread_mutex_lock(&self->lock);
    if (cpu->agent != AGENT_RUNNING) {
        pthread_mutex_unlock(&self->lock);
        return -ENODEV;
    }
    if (!claim(self, cpu_id)) {
        pthread_mutex_unlock(&self->lock);
        return 0;
    }
    state = validate(self, cpu, 1);
    finish(self, cpu, state);
    if (state == TXN_COMPLETE)
        return sleep_until_turn(self, cpu, (self->txns[cpu_id].run_flags & RTLA_ON_IDLE) != 0);
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* Gives the own CPU away: 0 when woken, -ESTALE if something happened since the barrier. */
SHIM_API int32_t shim_peer_local_yield(double handle, int32_t cpu_id, int32_t barrier,
                                       int32_t run_flags)
{
    struct peer *self = shim_pointer(handle);
    struct peer_cpu *cpu;
    int32_t error = 0;
    if (self == NULL)
        return 0;
    cpu = &self->cpus[cpu_id];
    if ((run_flags & ~RTLA_ON_IDLE) != 0)
        return -EINVAL;
    pthread_mutex_lock(&self->lock);
    if (cpu->agent != AGENT_RUNNING)
        error = -ENODEV;
    else if (peer_word(self, cpu->status_index)->barrier != (uint32_t)barrier)
        error = -ESTALE;
    if (error == 0) {
        self->counters[COUNT_YIELDS]++;
        return sleep_until_turn(self, cpu, run_flags != 0);
    }
    self->counters[COUNT_STALE_YIELDS] += error == -ESTALE;
    pthread_mutex_unlock(&self->lock);
    return error;
}

/* Wakes the agent of a CPU, from whatever thread: 0, or -EINVAL if there is none. */
SHIM_API int32_t shim_peer_ping(double handle, int32_t cpu_id)
{
    struct peer *self = shim_pointer(handle);
    int32_t result = -EINVAL;
    if (self == NULL)
        return 0;
    if (cpu_id < 0 || cpu_id >= self->cpu_count)
        return -EINVAL;
    pthread_mutex_lock(&self->lock);
    if (self->cpus[cpu_id].agent != AGENT_NONE) {
        self->counters[COUNT_PINGS]++;
        peer_bump(self, self->cpus[cpu_id].status_index);
        peer_wake_agent(self, &self->cpus[cpu_id]);
        result = 0;
    }
    pthread_mutex_unlock(&self->lock);
    return result;
}

/* Commits the open transactions of the CPUs in a 512-bit mask; the results are in the records. */
SHIM_API int32_t shim_peer_commit(double handle, const uint32_t *mask)
{
    struct peer *self = shim_pointer(handle);
    if (self == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    for (int32_t id = 0; id < self->cpu_count; id++) {
        if ((mask[id / 32] >> id % 32 & 1) == 0 || !claim(self, id))
            continue;
        finish(self, &self->cpus[id], validate(self, &self->cpus[id], 0));
        peer_resched(self, &self->cpus[id]);
    }
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* All or none: 1, or 0 and the records say why. */
SHIM_API int32_t shim_peer_commit_sync_group(double handle, const uint32_t *mask)
{
    struct peer *self = shim_pointer(handle);
    int32_t states[PEER_CPUS_MAX], failed = -1;
    if (self == NULL)
        return 1;
    pthread_mutex_lock(&self->lock);
    for (int32_t id = 0; id < self->cpu_count; id++) {
        states[id] = TXN_READY;
        if ((mask[id / 32] >> id % 32 & 1) == 0)
            continue;
        states[id] = claim(self, id) && failed < 0 ? validate(self, &self->cpus[id], 0)
                                                   : TXN_POISONED;
        if (states[id] != TXN_COMPLETE && failed < 0)
            failed = id;
    }
    for (int32_t id = 0; id < self->cpu_count; id++) {
        if (states[id] == TXN_READY)
            continue;
        finish(self, &self->cpus[id],
               failed >= 0 && states[id] == TXN_COMPLETE ? TXN_POISONED : states[id]);
        if (failed < 0)
            __atomic_store_n(&self->txns[id].owner, -1, __ATOMIC_RELEASE);
        peer_resched(self, &self->cpus[id]);
    }
    pthread_mutex_unlock(&self->lock);
    return failed < 0;
}

/* The expiry comes as CPU_TIMER_EXPIRED; a deadline of 0 disarms. */
SHIM_API int32_t shim_peer_arm_timer(double handle, int32_t cpu_id, double deadline_ns,
                                     int32_t type, int32_t cookie)
{
    struct peer *self = shim_pointer(handle);
    if (self == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    self->cpus[cpu_id].timer_ns = deadline_ns;
    self->cpus[cpu_id].timer_type = type;
    self->cpus[cpu_id].timer_cookie = cookie;
    pthread_mutex_unlock(&self->lock);
    return 0;
}

/* The agent of a CPU leaves, or has died: its calls return -ENODEV from now on. */
SHIM_API int32_t shim_peer_leave(double handle, int32_t cpu_id)
{
    struct peer *self = shim_pointer(handle);
    int32_t result;
    if (self == NULL)
        return 0;
    pthread_mutex_lock(&self->lock);
    result = self->cpus[cpu_id].agent == AGENT_NONE ? -ENODEV : 0;
    peer_agent_gone(self, &self->cpus[cpu_id]);
    pthread_mutex_unlock(&self->lock);
    return result;
}

/* Index of the status word of a CPU's agent, or -EINVAL. */
SHIM_API int32_t shim_peer_agent_word(double handle, int32_t cpu_id)
{
    struct peer *self = shim_pointer(handle);
    if (cpu_id < 0 || cpu_id >= self->cpu_count || self->cpus[cpu_id].agent == AGENT_NONE)
        return -EINVAL;
    return self->cpus[cpu_id].status_index;
}

/* State of the agent of a CPU (enum agent_state), for tests. */
SHIM_API int32_t shim_peer_agent_state(double handle, int32_t cpu_id)
{
    struct peer *self = shim_pointer(handle);
    return __atomic_load_n(&self->cpus[cpu_id].agent, __ATOMIC_ACQUIRE);
}

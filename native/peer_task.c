/*
 * Tasks of the native peer (peer.h), and the threads that make things happen to them: one per CPU,
 * which runs what is latched, and producers for everything that does not happen on a CPU.
 */
#define _GNU_SOURCE
#include "peer.h"

#include <signal.h>
#include <sys/prctl.h>

#define PRODUCER_SLEEP_NS 20000
#define ACTIONS_PER_TURN 4
#define LINGER_NS 5000
#define MANUAL_WAIT_NS 1e6
/* In 1/10000 of what could happen. */
#define LATCH_FAILURE_CHANCE 100
#define ON_CPU_MESSAGE_CHANCE 100
#define LINGER_CHANCE 3000
#define CPU_MESSAGE_CHANCE 500
#define BUSY_CHANCE 50

/* ---- what can happen to a task; all with the lock held ---- */

static void set_state(struct peer_task *task, int32_t state)
{
    if (state == TASK_READY)
        task->ready_since_ns = peer_now_ns();
    __atomic_store_n(&task->state, state, __ATOMIC_RELEASE);
}

void peer_join(struct peer *self, struct peer_task *task, int32_t runnable)
{
    int32_t index = peer_allocate_word(self, task->gtid, runnable ? SW_RUNNABLE : 0);
    if (index < 0)
        return;
    task->status_index = index;
    task->queue = self->default_queue;
    task->in_switchto = 0;
    task->gated = task->departed_index >= 0;
    if (task->gated)
        peer_change_flags(self, task->departed_index, SW_MSG_GATED, 0);
    set_state(task, runnable ? TASK_READY : TASK_BLOCKED);
    peer_send_task(self, task, MSG_TASK_NEW, runnable);
}

void peer_wake(struct peer *self, struct peer_task *task, int32_t deferrable)
{
    set_state(task, TASK_READY);
    peer_change_flags(self, task->status_index, SW_RUNNABLE, 0);
    peer_send_task(self, task, MSG_TASK_WAKEUP, deferrable);
}

void peer_unlatch(struct peer *self, struct peer_task *task)
{
    struct peer_cpu *cpu = &self->cpus[task->cpu];
    if (cpu->latched == task - self->tasks)
        cpu->latched = -1;
    __atomic_store_n(&task->state, TASK_READY, __ATOMIC_RELEASE);
}

/* The task's word may be freed once its last message is read. */
static void drop(struct peer *self, struct peer_task *task, int32_t type, int32_t extra)
{
    if (task->state == TASK_LATCHED)
        peer_unlatch(self, task);
    peer_change_flags(self, task->status_index, SW_CANFREE, SW_ONCPU | SW_RUNNABLE);
    task->departed_index = task->status_index;
    peer_send_task(self, task, type, extra);
    task->status_index = -1;
    task->in_switchto = 0;
}

void peer_depart(struct peer *self, struct peer_task *task)
{
    drop(self, task, MSG_TASK_DEPARTED, task->state == TASK_RUNNING);
    set_state(task, TASK_OUT);
}

void peer_exit(struct peer *self, struct peer_task *task)
{
    drop(self, task, MSG_TASK_DEAD, task->cpu);
    set_state(task, TASK_GONE);
    self->counters[COUNT_GONE]++;
}

/* ---- a CPU's thread ---- */

/* Shall leave its CPU at once. */
static int32_t must_leave(const struct peer_cpu *cpu)
{
    return __atomic_load_n(&cpu->preempt, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&cpu->peer->stop, __ATOMIC_RELAXED);
}

/* Lets time pass on a CPU, without the lock. */
static void run_for(struct peer_cpu *cpu, double duration_ns)
{
    double end_ns = peer_now_ns() + duration_ns;
    uint32_t seen = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
    while (!must_leave(cpu)) {
        if (cpu->peer->is_manual) {
            if (__atomic_load_n(&cpu->event, __ATOMIC_ACQUIRE) != 0)
                return;
            shim_futex_wait_word(&cpu->work, seen, MANUAL_WAIT_NS);
            seen = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
        } else if (peer_now_ns() >= end_ns) {
            return;
        }
    }
}

/* Takes the latched task onto the CPU; 0 if it could not be run after all. */
static int32_t start_latched(struct peer *self, struct peer_cpu *cpu)
{
    struct peer_task *task = &self->tasks[cpu->latched];
    double waited_ns = peer_now_ns() - task->ready_since_ns;
    cpu->latched = -1;
    if (!self->is_manual && peer_knows(self, MSG_TASK_LATCH_FAILURE) &&
        peer_random(&cpu->random, 10000) < LATCH_FAILURE_CHANCE) {
        __atomic_store_n(&task->state, TASK_READY, __ATOMIC_RELEASE);
        peer_send_task(self, task, MSG_TASK_LATCH_FAILURE, EINVAL);
        return 0;
    }
    if (waited_ns > self->longest_wait_ns)
        self->longest_wait_ns = waited_ns;
    set_state(task, TASK_RUNNING);
    task->cpu = cpu->id;
    cpu->current = (int32_t)(task - self->tasks);
    cpu->mode = MODE_TASK;
    __atomic_store_n(&cpu->preempt, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&cpu->event, 0, __ATOMIC_RELEASE);
    peer_change_flags(self, task->status_index, SW_ONCPU | SW_RUNNABLE, 0);
    self->counters[COUNT_RUNS]++;
    if (!self->is_manual && peer_random(&cpu->random, 10000) < ON_CPU_MESSAGE_CHANCE)
        peer_send_task(self, task, MSG_TASK_ON_CPU, 0);
    return 1;
}

/*
 * Tells that a task has left its CPU. Now and then the hardware is behind: for a moment the task
 * is still on the CPU though its message is out, and may not be run elsewhere.
 */
static void leave_cpu(struct peer *self, struct peer_cpu *cpu, struct peer_task *task,
                      int32_t type)
{
    int32_t index = task->status_index;
    if (type == MSG_TASK_BLOCKED)
        peer_change_flags(self, index, 0, SW_RUNNABLE);
    set_state(task, type == MSG_TASK_BLOCKED ? TASK_BLOCKED : TASK_READY);
    task->leaving = 1;
    peer_send_task(self, task, type, 0);
    task->in_switchto = 0;
    if (peer_random(&cpu->random, 10000) < LINGER_CHANCE) {
        double end_ns = peer_now_ns() + LINGER_NS;
        pthread_mutex_unlock(&self->lock);
        while (peer_now_ns() < end_ns)
            ;
        pthread_mutex_lock(&self->lock);
    }
    task->leaving = 0;
    /* It may have departed meanwhile, and even be back: then the word is another one's. */
    if (task->status_index == index)
        peer_change_flags(self, index, 0, SW_ONCPU);
}

/* Hands the CPU to a blocked task without asking the agent; 0 if there is none. */
static int32_t switch_to(struct peer *self, struct peer_cpu *cpu, struct peer_task *task)
{
    int32_t first = (int32_t)peer_random(&cpu->random, (uint32_t)self->task_count);
    for (int32_t n = 0; n < self->task_count; n++) {
        struct peer_task *next = &self->tasks[(first + n) % self->task_count];
        if (next->state != TASK_BLOCKED || next->leaving || next->gated)
            continue;
        set_state(task, TASK_BLOCKED);
        peer_change_flags(self, task->status_index, 0, SW_ONCPU | SW_RUNNABLE);
        set_state(next, TASK_RUNNING);
        next->cpu = cpu->id;
        next->in_switchto = 1;
        peer_change_flags(self, next->status_index, SW_ONCPU | SW_RUNNABLE, 0);
        cpu->current = (int32_t)(next - self->tasks);
        self->counters[COUNT_RUNS]++;
        peer_send_task(self, task, MSG_TASK_SWITCHTO, 0);
        task->in_switchto = 0;
        return 1;
    }
    return 0;
}

/* How a run ends that nobody cut short: a message type. */
static int32_t choose_end(struct peer *self, struct peer_cpu *cpu, struct peer_task *task)
{
    uint32_t dice = peer_random(&cpu->random, 100);
    if (self->is_manual)
        return __atomic_load_n(&cpu->event, __ATOMIC_ACQUIRE);
    if (--task->rounds_left <= 0)
        return MSG_TASK_DEAD;
    if (dice < 55)
        return MSG_TASK_BLOCKED;
    if (dice < 80)
        return MSG_TASK_YIELD;
    if (dice < 92)
        return MSG_TASK_SWITCHTO;
    return dice < 97 ? MSG_TASK_PREEMPT : MSG_TASK_DEPARTED;
}

/* One run of the current task; 1 if another task was switched to. Called with the lock. */
static int32_t run_current(struct peer *self, struct peer_cpu *cpu)
{
    struct peer_task *task = &self->tasks[cpu->current];
    double begin_ns = peer_now_ns();
    int32_t end, others;
    pthread_mutex_unlock(&self->lock);
    others = __atomic_fetch_add(&task->runners, 1, __ATOMIC_ACQ_REL);
    run_for(cpu, peer_random(&cpu->random, (uint32_t)self->run_ns_max + 1));
    __atomic_fetch_sub(&task->runners, 1, __ATOMIC_ACQ_REL);
    pthread_mutex_lock(&self->lock);
    self->counters[COUNT_DOUBLE_RUNS] += others != 0;
    task->runtime_ns += peer_now_ns() - begin_ns;
    peer_word(self, task->status_index)->runtime = (uint64_t)task->runtime_ns;
    end = must_leave(cpu) ? MSG_TASK_PREEMPT : choose_end(self, cpu, task);
    if (end == MSG_TASK_SWITCHTO && switch_to(self, cpu, task))
        return 1;
    cpu->current = -1;
    if (end == MSG_TASK_DEAD)
        peer_exit(self, task);
    else if (end == MSG_TASK_DEPARTED)
        peer_depart(self, task);
    else
        leave_cpu(self, cpu, task, end == MSG_TASK_SWITCHTO ? MSG_TASK_BLOCKED : end);
    return 0;
}

static void *cpu_main(void *argument)
{
    struct peer_cpu *cpu = argument;
    struct peer *self = cpu->peer;
    prctl(PR_SET_NAME, "peer_cpu", 0, 0, 0);
    pthread_mutex_lock(&self->lock);
    while (!self->stop) {
        uint32_t seen = __atomic_load_n(&cpu->work, __ATOMIC_ACQUIRE);
        if (cpu->latched >= 0 && cpu->mode == MODE_IDLE) {
            if (start_latched(self, cpu)) {
                while (run_current(self, cpu))
                    ;
                cpu->mode = MODE_IDLE;
            }
            peer_resched(self, cpu);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        shim_futex_wait_word(&cpu->work, seen, -1);
        pthread_mutex_lock(&self->lock);
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

/* ---- producers: what happens elsewhere ---- */

/* A thread of the default class comes to a CPU, or goes. */
static void toggle_busy(struct peer *self, struct peer_cpu *cpu)
{
    if (cpu->agent == AGENT_NONE)
        return;
    cpu->is_busy = !cpu->is_busy;
    if (cpu->is_busy)
        peer_change_flags(self, cpu->status_index, SW_BOOST_PRIO, SW_CPU_AVAIL);
    else
        peer_change_flags(self, cpu->status_index, SW_CPU_AVAIL, SW_BOOST_PRIO);
    peer_send_cpu(self, cpu, cpu->is_busy ? MSG_CPU_BUSY : MSG_CPU_AVAILABLE);
    peer_resched(self, cpu);
}

static void happen_to_cpu(struct peer *self, struct peer_cpu *cpu, uint64_t *random)
{
    static const int32_t types[] = {MSG_CPU_TICK, MSG_CPU_TIMER_EXPIRED, MSG_CPU_NOT_IDLE,
                                    MSG_CPU_AGENT_BLOCKED, MSG_CPU_AGENT_WAKEUP};
    if (cpu->timer_ns > 0 && cpu->timer_ns <= peer_now_ns()) {
        cpu->timer_ns = 0;
        peer_send_cpu(self, cpu, MSG_CPU_TIMER_EXPIRED);
    }
    if (peer_random(random, 10000) < CPU_MESSAGE_CHANCE)
        peer_send_cpu(self, cpu, types[peer_random(random, 5)]);
    /* Busy for a short time only: it goes with the next look. */
    if (cpu->is_busy || peer_random(random, 10000) < BUSY_CHANCE)
        toggle_busy(self, cpu);
}

static void happen_to_task(struct peer *self, struct peer_task *task, uint64_t *random)
{
    uint32_t dice = peer_random(random, 100);
    switch (task->state) {
    case TASK_OUT:
        peer_join(self, task, dice < 70);
        return;
    case TASK_BLOCKED:
        if (dice < 90)
            peer_wake(self, task, dice < 20);
        else if (dice < 92 && !task->leaving && !task->gated)
            peer_depart(self, task);
        else if (dice < 96)
            peer_send_task(self, task, MSG_TASK_AFFINITY_CHANGED, 0);
        return;
    case TASK_READY:
    case TASK_LATCHED:
    case TASK_RUNNING:
        if (dice < 3)
            peer_send_task(self, task, MSG_TASK_AFFINITY_CHANGED, 0);
        else if (dice < 6)
            peer_send_task(self, task, MSG_TASK_PRIORITY_CHANGED, --task->nice % 20);
        else if (dice < 7 && task->state != TASK_RUNNING && !task->leaving && !task->gated)
            peer_depart(self, task);
        return;
    default:
        return;
    }
}

static void *producer_main(void *argument)
{
    struct peer_producer *producer = argument;
    struct peer *self = producer->peer;
    const struct timespec pause = {0, PRODUCER_SLEEP_NS};
    prctl(PR_SET_NAME, "peer_producer", 0, 0, 0);
    while (!__atomic_load_n(&self->stop, __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&self->lock);
        for (int32_t n = 0; n < ACTIONS_PER_TURN && self->task_count > 0; n++) {
            uint32_t slot = peer_random(&producer->random, (uint32_t)self->task_count);
            happen_to_task(self, &self->tasks[slot], &producer->random);
        }
        uint32_t cpu = peer_random(&producer->random, (uint32_t)self->cpu_count);
        happen_to_cpu(self, &self->cpus[cpu], &producer->random);
        pthread_mutex_unlock(&self->lock);
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return NULL;
}

/* ---- starting and stopping ---- */

int32_t peer_start_threads(struct peer *self)
{
    sigset_t old;
    int32_t error = 0, count = self->cpu_count + self->producer_count;
    if (self->threads_started != 0)
        return -EBUSY;
    shim_block_signals_save(&old);
    while (error == 0 && self->threads_started < count) {
        int32_t n = self->threads_started, producer = n - self->cpu_count;
        error = n < self->cpu_count
                    ? -pthread_create(&self->cpus[n].thread, NULL, cpu_main, &self->cpus[n])
                    : -pthread_create(&self->producers[producer].thread, NULL, producer_main,
                                      &self->producers[producer]);
        self->threads_started += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0)
        peer_stop_threads(self);
    return error;
}

void peer_stop_threads(struct peer *self)
{
    __atomic_store_n(&self->stop, 1, __ATOMIC_RELEASE);
    for (int32_t n = 0; n < self->threads_started; n++) {
        if (n >= self->cpu_count) {
            pthread_join(self->producers[n - self->cpu_count].thread, NULL);
            continue;
        }
        __atomic_fetch_add(&self->cpus[n].work, 1, __ATOMIC_RELEASE);
        shim_futex_wake_word(&self->cpus[n].work, 1);
        pthread_join(self->cpus[n].thread, NULL);
    }
    self->threads_started = 0;
}

/*
 * Manual runs: something happens to the task in a slot, named by the message that tells of it. A
 * running task leaves its CPU with the message. -ENOENT, or -EINVAL if it cannot happen now.
 */
SHIM_API int32_t shim_peer_happen(double handle, int32_t slot, int32_t type)
{
    struct peer *self = shim_pointer(handle);
    struct peer_task *task;
    int32_t result = 0;
    if (slot < 0 || slot >= self->task_count)
        return -ENOENT;
    task = &self->tasks[slot];
    pthread_mutex_lock(&self->lock);
    if (type == MSG_TASK_NEW && task->state == TASK_OUT) {
        peer_join(self, task, 1);
    } else if (type == MSG_TASK_WAKEUP && task->state == TASK_BLOCKED) {
        peer_wake(self, task, 0);
    } else if (type == MSG_TASK_AFFINITY_CHANGED && task->status_index >= 0) {
        peer_send_task(self, task, type, 0);
    } else if (type == MSG_TASK_DEPARTED && task->status_index >= 0 && !task->gated &&
               task->state != TASK_RUNNING) {
        peer_depart(self, task);
    } else if (task->state == TASK_RUNNING) {
        struct peer_cpu *cpu = &self->cpus[task->cpu];
        __atomic_store_n(&cpu->event, type, __ATOMIC_RELEASE);
        __atomic_fetch_add(&cpu->work, 1, __ATOMIC_RELEASE);
        shim_futex_wake_word(&cpu->work, 1);
    } else {
        result = -EINVAL;
    }
    pthread_mutex_unlock(&self->lock);
    return result;
}

/*
 * What a load thread does: one function for each operation that is more than a line.
 */
#define _GNU_SOURCE
#include "hint_table.h"
#include "load.h"

#include <limits.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

/* Turns of an empty loop between two looks at the clock: well below a microsecond. */
#define SPIN_TURNS 100
#define MOVE_PAUSE_NS 15000

static uint64_t next_random(struct load_thread *self)
{
    uint64_t x = self->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return self->random = x;
}

static void add_one(_Atomic uint64_t *count)
{
    /* Only the thread itself writes its counts. */
    uint64_t value = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, value + 1, memory_order_relaxed);
}

static int in_class(const struct load *load, int32_t tid)
{
    int policy = sched_getscheduler(tid);
    return policy >= 0 && (policy & ~SCHED_RESET_ON_FORK) == load->policy;
}

static void spin_until(struct load_thread *self, clockid_t clock, uint64_t end_ns)
{
    do {
        for (volatile int turn = 0; turn < SPIN_TURNS; turn++)
            ;
    } while (load_now_ns(clock) < end_ns);
    atomic_store_explicit(&self->cpu, sched_getcpu(), memory_order_relaxed);
}

/* CPU time, not time of day: waiting for the CPU is no work. */
static void use_cpu(struct load_thread *self, double min_ns, double span_ns)
{
    uint64_t want_ns = (uint64_t)min_ns;
    if (span_ns >= 1)
        want_ns += next_random(self) % (uint64_t)span_ns;
    spin_until(self, CLOCK_THREAD_CPUTIME_ID, load_now_ns(CLOCK_THREAD_CPUTIME_ID) + want_ns);
}

/* Windows of time are the same for all threads: one that gets no CPU does not get more later. */
static void work(struct load_thread *self, uint64_t ns, int32_t stage)
{
    uint64_t cpu_ns;
    self->window_ns += ns;
    spin_until(self, CLOCK_MONOTONIC, self->window_ns);
    cpu_ns = load_now_ns(CLOCK_THREAD_CPUTIME_ID);
    self->stages[stage].cpu_ns = (double)(cpu_ns - self->window_cpu_ns);
    self->stages[stage].cpu = self->cpu;
    self->window_cpu_ns = cpu_ns;
}

static void set_nice(struct load_thread *self, int value)
{
    if (setpriority(PRIO_PROCESS, (id_t)atomic_load(&self->tid), value) != 0)
        load_fault(self, LOAD_FAULT_NICE, -errno);
}

static void bind_to(struct load_thread *self, int32_t nth)
{
    int32_t result = load_bind(self->load, nth);
    if (result != 0)
        load_fault(self, LOAD_FAULT_PIN, result);
}

static void hint(struct load_thread *self, const struct load_op *op)
{
    int32_t result = load_request(self, op);
    if (result != 0)
        load_fault(self, LOAD_FAULT_HINT, result);
}

/* No system call: an agent takes the CPU from who has no work, and gives it back with work. */
static void rest(struct load_thread *self)
{
    struct load *load = self->load;
    uint32_t sid = (uint32_t)(load->first_sid + self->index);
    if (load->hint_table == NULL)
        return;
    hint_mark_idle(load->hint_table, sid);
    while (hint_is_idle(load->hint_table, sid) && atomic_load(&load->stop) == 0)
        for (volatile int turn = 0; turn < SPIN_TURNS; turn++)
            ;
}

static void sleep_ns(double ns)
{
    struct timespec deadline = shim_deadline(ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
        ;
}

static void enter(struct load_thread *self, const struct load_op *op)
{
    const struct load *load = self->load;
    int32_t result;
    if (load->join_enclave >= 0)
        result = scx_join_self(load->join_fd, (uint32_t)load->join_enclave);
    else if (load->join_fd >= 0)
        result = write(load->join_fd, "0", 1) == 1 ? 0 : -errno;
    else
        result = load_request(self, op);
    if (result != 0)
        load_fault(self, LOAD_FAULT_ENTER, result);
}

static int32_t to_default_class(int32_t tid)
{
    struct sched_param param = {.sched_priority = 0};
    return shim_rc(sched_setscheduler(tid, SCHED_OTHER, &param));
}

static void fork_children(struct load_thread *self, int32_t kind, int32_t count)
{
    for (int32_t sibling = 0; sibling < count; sibling++) {
        int32_t result = load_start_thread(self->load, self, kind, sibling);
        if (result != 0) {
            load_fault(self, LOAD_FAULT_START, result);
            return;
        }
    }
}

/* One look at every child; returns how many have not ended. */
static int32_t drive_round(struct load_thread *self, int32_t *moved_count)
{
    struct load *load = self->load;
    int32_t left_count = 0;
    for (int32_t index = self->first_child; index >= 0;) {
        struct load_thread *child = &load->threads[index];
        int32_t tid = atomic_load(&child->tid);
        index = child->next_child;
        if (atomic_load(&child->state) == LOAD_ENDED)
            continue;
        left_count++;
        if (tid == 0 || !in_class(load, tid))
            continue;
        if (to_default_class(tid) == 0)
            ++*moved_count;
        child->was_moved++;
    }
    return left_count;
}

/* A child that has not entered yet is found in a later round. */
static void drive_out(struct load_thread *self, int32_t text)
{
    int32_t moved_count = 0, child_count = 0;
    while (drive_round(self, &moved_count) > 0 && atomic_load(&self->load->stop) == 0)
        sleep_ns(MOVE_PAUSE_NS);
    for (int32_t index = self->first_child; index >= 0;) {
        child_count++;
        index = self->load->threads[index].next_child;
    }
    if (moved_count != child_count)
        load_fault(self, text, moved_count);
}

static struct load_word *word_of(struct load_thread *self, const struct load_op *op)
{
    return &self->load->words[(int32_t)op->a + (op->c != 0 ? self->sibling : 0)];
}

static void count_latency(struct load_thread *self, uint64_t ns)
{
    uint32_t *buckets = self->load->buckets + (size_t)self->index * LOAD_BUCKET_COUNT;
    uint32_t bucket = (uint32_t)ns;
    if (ns >> LOAD_BUCKET_BITS != 0) {
        int top = 63 - __builtin_clzll(ns);
        int shift = top - LOAD_BUCKET_BITS;
        bucket = (uint32_t)((shift + 1) << LOAD_BUCKET_BITS)
                 + ((uint32_t)(ns >> shift) & ((1u << LOAD_BUCKET_BITS) - 1));
    }
    if (bucket >= LOAD_BUCKET_COUNT)
        bucket = LOAD_BUCKET_COUNT - 1;
    __atomic_fetch_add(&buckets[bucket], 1, __ATOMIC_RELAXED);
}

static void give(struct load_thread *self, struct load_word *word)
{
    atomic_store(&word->stamp_ns, load_now_ns(CLOCK_MONOTONIC));
    atomic_store(&word->value, 1);
    shim_futex_wake_word((uint32_t *)&word->value, 1);
    add_one(&self->give_count);
}

/* The exchange makes sure that who takes the token of a stop sees the stop. */
static void take(struct load_thread *self, struct load_word *word)
{
    uint64_t woken_ns = 0;
    while (atomic_load(&word->value) == 0) {
        if (atomic_load(&self->load->stop) != 0)
            return;
        if (shim_futex_wait_word((uint32_t *)&word->value, 0, -1) == 0)
            woken_ns = load_now_ns(CLOCK_MONOTONIC);
    }
    if (atomic_exchange(&word->value, 0) == LOAD_VALUE_STOPPED || woken_ns == 0)
        return;
    count_latency(self, woken_ns - atomic_load(&word->stamp_ns));
    add_one(&self->wake_count);
}

static void meet(struct load_thread *self, struct load_word *word, uint32_t count)
{
    uint32_t seen;
    atomic_store(&word->stamp_ns, load_now_ns(CLOCK_MONOTONIC)); /* the last one's counts */
    seen = atomic_fetch_add(&word->value, 1) + 1;
    if (seen == count)
        shim_futex_wake_word((uint32_t *)&word->value, INT_MAX);
    while (seen < count && atomic_load(&self->load->stop) == 0) {
        shim_futex_wait_word((uint32_t *)&word->value, seen, -1);
        seen = atomic_load(&word->value);
    }
    self->window_ns = atomic_load(&word->stamp_ns);
    self->window_cpu_ns = load_now_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Loops that are under way: how often each is still to run, by depth. */
struct loops {
    double left[LOAD_DEPTH_MAX];
    int32_t depth;
};

/* True if the body is to run (again). */
static int loop_goes_on(struct load_thread *self, double left)
{
    return left != 0 && (left > 0 || atomic_load(&self->load->stop) == 0);
}

/* Operations that change where to go on; returns the next place. */
static int32_t control(struct load_thread *self, struct loops *loops, int32_t pc)
{
    const struct load_op *op = &self->load->ops[pc];
    switch ((int32_t)op->code) {
    case LOAD_LOOP:
        if (!loop_goes_on(self, op->a))
            return (int32_t)op->b;
        loops->left[loops->depth++] = op->a;
        return pc + 1;
    case LOAD_END:
        if (loops->left[loops->depth - 1] > 0)
            loops->left[loops->depth - 1]--;
        if (loop_goes_on(self, loops->left[loops->depth - 1]))
            return (int32_t)op->a + 1;
        loops->depth--;
        return pc + 1;
    case LOAD_CHANCE:
        return next_random(self) % (uint64_t)op->b < (uint64_t)op->a ? pc + 1 : (int32_t)op->c;
    case LOAD_JUMP:
        return (int32_t)op->a;
    case LOAD_ONLY_IN:
        return in_class(self->load, 0) ? pc + 1 : -1;
    case LOAD_EXIT:
        return -1;
    default:
        load_fault(self, LOAD_FAULT_OPS, pc);
        return -1;
    }
}

/* As below: what a thread tells the agent and the kernel about itself. */
static int act_as_told(struct load_thread *self, const struct load_op *op)
{
    switch ((int32_t)op->code) {
    case LOAD_HINT:
        hint(self, op);
        return 1;
    case LOAD_REST:
        rest(self);
        return 1;
    case LOAD_WORK:
        work(self, (uint64_t)op->a, (int32_t)op->b);
        return 1;
    case LOAD_NICE:
        set_nice(self, (int)op->a);
        return 1;
    case LOAD_BIND:
        bind_to(self, (int32_t)op->a);
        return 1;
    default:
        return 0;
    }
}

/* Operations after which the next one follows; 0 if the operation is none of them. */
static int act(struct load_thread *self, const struct load_op *op)
{
    int32_t result;
    switch ((int32_t)op->code) {
    case LOAD_RUN:
        use_cpu(self, op->a, op->b);
        return 1;
    case LOAD_SLEEP:
        sleep_ns(op->a);
        return 1;
    case LOAD_YIELD:
        sched_yield();
        add_one(&self->yield_count);
        return 1;
    case LOAD_ENTER:
        enter(self, op);
        return 1;
    case LOAD_LEAVE:
        result = to_default_class(0);
        if (result != 0)
            load_fault(self, LOAD_FAULT_LEAVE, result);
        return 1;
    case LOAD_EXPECT:
        if (in_class(self->load, 0) != (op->a != 0))
            load_fault(self, (int32_t)op->b, sched_getscheduler(0));
        return 1;
    case LOAD_FORK:
        fork_children(self, (int32_t)op->a, (int32_t)op->b);
        return 1;
    case LOAD_JOIN:
        load_join_children(self);
        return 1;
    case LOAD_FAIL:
        load_fault(self, (int32_t)op->a, 0);
        return 1;
    case LOAD_DRIVE:
        drive_out(self, (int32_t)op->a);
        return 1;
    case LOAD_GIVE:
        give(self, word_of(self, op));
        return 1;
    case LOAD_TAKE:
        take(self, word_of(self, op));
        return 1;
    case LOAD_BARRIER:
        meet(self, word_of(self, op), (uint32_t)op->b);
        return 1;
    default:
        return act_as_told(self, op);
    }
}

void load_run_ops(struct load_thread *self)
{
    struct loops loops = {.depth = 0};
    int32_t pc = self->load->kind_starts[self->kind];
    while (pc >= 0) {
        atomic_store_explicit(&self->pc, pc, memory_order_relaxed);
        pc = act(self, &self->load->ops[pc]) ? pc + 1 : control(self, &loops, pc);
    }
}

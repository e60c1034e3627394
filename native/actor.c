/*
 * Actors: the threads of the contract suite on a real kernel. An actor is a process of its own, so
 * that it can be killed alone, wherever it is; it carries out a short list of operations.
 * tests/conformance/actor_script.ts writes the lists; the numbers are those of ffi/actor.ts.
 *
 * Actors are children of this process and share its files, but their memory is that of a stage, a
 * fork of this process that starts them. A thread that the kernel keeps from running may hold its
 * memory's lock; were that the agents' own, a page fault of an agent would wait for a thread that
 * waits for the agent. What both sides need lies in one region that they share.
 *
 * An actor has the stage's thread pointer, so it calls nothing that writes errno.
 */
#define _GNU_SOURCE
#include "shim.h"

#include "ghost_abi.h"

#include <linux/bpf.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif

enum actor_code {
    ACTOR_EXIT = 0,
    ACTOR_RUN = 1,      /* use the CPU for a ns; without end if a < 0 */
    ACTOR_SLEEP = 2,    /* sleep for a ns */
    ACTOR_YIELD = 3,    /* sched_yield */
    ACTOR_BLOCK = 4,    /* wait for a wake-up; one that came before counts */
    ACTOR_WAKE = 5,     /* wake the actor of handle a */
    ACTOR_NICE = 6,     /* nice value a */
    ACTOR_AFFINITY = 7, /* mask number a */
    ACTOR_LEAVE = 8,    /* SCHED_OTHER */
    ACTOR_JOIN = 9,     /* write "0" to descriptor a */
    ACTOR_FORK = 10,    /* start an actor at operation a */
    ACTOR_REPEAT = 11,  /* a times up to the END */
    ACTOR_END = 12,     /* end of the loop that begins at a */
    ACTOR_JOIN_SCX = 13, /* join an enclave of the scx program: a = descriptor * 2^16 + enclave */
};

#define STACK_BYTES 32768
#define MASK_BYTES 64
#define DEPTH_MAX 8
#define OP_DOUBLES 2
#define STAGE_FLAGS (CLONE_FILES | CLONE_FS)
/* CLONE_PARENT: who waits for an actor is this process, whoever has started it. */
#define FLAGS (STAGE_FLAGS | CLONE_VM | CLONE_PARENT | CLONE_PARENT_SETTID)
/* Of one process, none is used again; memory that nobody has touched costs nothing. */
#define ACTOR_COUNT_MAX 16384
#define SCRIPT_BYTES_MAX (64ull << 20)
#define ENCLAVES_PER_FD 65536

struct script {
    int32_t op_count;
    uint8_t *masks;
    double ops[];
};

struct actor {
    _Atomic uint32_t tokens; /* a futex */
    int32_t tid;
    int32_t start;
    struct script *script;
    struct actor *children;
    struct actor *next;
    _Alignas(64) char stack[STACK_BYTES];
};

/* What this process, the stage and the actors share. */
struct theatre {
    pid_t stage_pid;
    int32_t caller_tid; /* whose CPUs the next actor gets */
    struct actor *next_actor;
    int32_t result;
    _Atomic uint32_t asked;    /* a futex: actors that the stage was asked for */
    _Atomic uint32_t answered; /* a futex */
    _Atomic uint32_t actor_count;
    _Atomic uint64_t script_bytes;
    _Alignas(64) char stack[STACK_BYTES];
    struct actor actors[ACTOR_COUNT_MAX];
    _Alignas(64) char scripts[SCRIPT_BYTES_MAX];
};

static struct theatre *theatre;

static long raw(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
#else
    (void)number, (void)a, (void)b, (void)c, (void)d;
    return -ENOSYS;
#endif
}

static void run_for(double ns)
{
    struct timespec now, start;
    raw(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&start, 0, 0);
    do {
        for (volatile int turn = 0; turn < 100; turn++)
            ;
        raw(SYS_clock_gettime, CLOCK_THREAD_CPUTIME_ID, (long)&now, 0, 0);
    } while (ns < 0 || (double)(now.tv_sec - start.tv_sec) * 1e9
                               + (double)(now.tv_nsec - start.tv_nsec) < ns);
}

static void block(struct actor *self)
{
    for (;;) {
        uint32_t tokens = atomic_load(&self->tokens);
        if (tokens > 0) {
            if (atomic_compare_exchange_strong(&self->tokens, &tokens, tokens - 1))
                return;
        } else
            raw(SYS_futex, (long)&self->tokens, FUTEX_WAIT, 0, 0);
    }
}

static void wake(struct actor *actor)
{
    atomic_fetch_add(&actor->tokens, 1);
    raw(SYS_futex, (long)&actor->tokens, FUTEX_WAKE, 1, 0);
}

/* As kernels/scx/membership.ts: the program is told first, then the policy is changed. */
static void join_scx(uint64_t descriptor_and_enclave)
{
    const uint32_t enclave = (uint32_t)(descriptor_and_enclave % ENCLAVES_PER_FD);
    struct sched_param param = {0};
    struct scx_call call = {.op = SCX_OP_JOIN, .enclave = enclave};
    union bpf_attr attr;
    long error;
    call.a = (int32_t)raw(SYS_gettid, 0, 0, 0, 0);
    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = (uint32_t)(descriptor_and_enclave / ENCLAVES_PER_FD);
    attr.test.ctx_in = (uint64_t)(uintptr_t)&call;
    attr.test.ctx_size_in = sizeof(call);
    error = raw(SYS_bpf, BPF_PROG_TEST_RUN, (long)&attr, sizeof(attr), 0);
    if (error == 0 && call.result >= 0)
        raw(SYS_sched_setscheduler, 0, SCHED_EXT, (long)&param, 0);
}

static int actor_main(void *argument);

/* A new actor at operation `start`, in a list; NULL if there were too many. */
static struct actor *make_actor(struct script *script, int32_t start, struct actor **list)
{
    uint32_t index = atomic_fetch_add(&theatre->actor_count, 1);
    if (index >= ACTOR_COUNT_MAX)
        return NULL;
    struct actor *actor = &theatre->actors[index];
    actor->script = script;
    actor->start = start;
    actor->next = *list;
    *list = actor;
    return actor;
}

/* In the stage's memory only: the actor runs in that of its caller. */
static int32_t start_actor(struct actor *actor)
{
    int32_t tid = clone(actor_main, actor->stack + STACK_BYTES, FLAGS, actor, &actor->tid);
    return tid < 0 ? -errno : tid;
}

static void perform(struct actor *self, int32_t code, double a)
{
    struct script *script = self->script;
    struct timespec pause = {(time_t)(a / 1e9), (long)a % 1000000000};
    struct sched_param param = {0};
    switch (code) {
    case ACTOR_RUN:
        run_for(a);
        break;
    case ACTOR_SLEEP:
        raw(SYS_nanosleep, (long)&pause, 0, 0, 0);
        break;
    case ACTOR_YIELD:
        raw(SYS_sched_yield, 0, 0, 0, 0);
        break;
    case ACTOR_BLOCK:
        block(self);
        break;
    case ACTOR_WAKE:
        wake(shim_pointer(a));
        break;
    case ACTOR_NICE:
        raw(SYS_setpriority, 0, 0, (long)a, 0);
        break;
    case ACTOR_AFFINITY:
        raw(SYS_sched_setaffinity, 0, MASK_BYTES, (long)(script->masks + (size_t)a * MASK_BYTES),
            0);
        break;
    case ACTOR_LEAVE:
        raw(SYS_sched_setscheduler, 0, SCHED_OTHER, (long)&param, 0);
        break;
    case ACTOR_JOIN:
        raw(SYS_write, (long)a, (long)"0", 1, 0);
        break;
    case ACTOR_JOIN_SCX:
        join_scx((uint64_t)a);
        break;
    case ACTOR_FORK: {
        struct actor *child = make_actor(script, (int32_t)a, &self->children);
        if (child != NULL)
            start_actor(child);
        break;
    }
    default:
        break;
    }
}

static int actor_main(void *argument)
{
    struct actor *self = argument;
    const struct script *script = self->script;
    int32_t counts[DEPTH_MAX], depth = 0;
    /* It must not outlive the suite. */
    raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    for (int32_t pc = self->start; pc < script->op_count; pc++) {
        int32_t code = (int32_t)script->ops[pc * OP_DOUBLES];
        double a = script->ops[pc * OP_DOUBLES + 1];
        if (code == ACTOR_EXIT)
            break;
        if (code == ACTOR_REPEAT && depth < DEPTH_MAX)
            counts[depth++] = (int32_t)a;
        else if (code == ACTOR_END && depth > 0) {
            if (--counts[depth - 1] > 0)
                pc = (int32_t)a;
            else
                depth--;
        } else
            perform(self, code, a);
    }
    return 0;
}

/* The stage's life: it starts actors, in its own memory, on the CPUs of whoever asks. */
static int stage_main(void *argument)
{
    uint8_t mask[MASK_BYTES] = {0};
    uint32_t seen = 0;
    (void)argument;
    raw(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0);
    raw(SYS_prctl, PR_SET_NAME, (long)"actor_stage", 0, 0);
    for (;;) {
        while (atomic_load(&theatre->asked) == seen)
            raw(SYS_futex, (long)&theatre->asked, FUTEX_WAIT, (long)seen, 0);
        seen++;
        if (raw(SYS_sched_getaffinity, theatre->caller_tid, MASK_BYTES, (long)mask, 0) > 0)
            raw(SYS_sched_setaffinity, 0, MASK_BYTES, (long)mask, 0);
        theatre->result = start_actor(theatre->next_actor);
        atomic_store(&theatre->answered, seen);
        raw(SYS_futex, (long)&theatre->answered, FUTEX_WAKE, 1, 0);
    }
    return 0;
}

static int has_ended(pid_t pid)
{
    siginfo_t info = {0};
    int options = WEXITED | WNOHANG | WNOWAIT | __WALL;
    return waitid(P_PID, (id_t)pid, &info, options) != 0 || info.si_pid != 0;
}

/* The shared memory and the stage, made at the first actor. 0 or -errno. */
static int32_t open_theatre(void)
{
    sigset_t old;
    pid_t pid;
    if (theatre != NULL)
        return 0;
    struct theatre *made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED)
        return -errno;
    theatre = made;
    shim_block_signals_save(&old);
    pid = clone(stage_main, made->stack + STACK_BYTES, STAGE_FLAGS, NULL);
    int32_t error = pid < 0 ? -errno : 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error < 0) {
        munmap(made, sizeof(*made));
        theatre = NULL;
        return error;
    }
    made->stage_pid = pid;
    return 0;
}

/* Has the stage start an actor: its tid or -errno. */
static int32_t ask_stage(struct actor *actor)
{
    const double poll_ns = 1e8;
    uint32_t asked;
    theatre->next_actor = actor;
    theatre->caller_tid = (int32_t)raw(SYS_gettid, 0, 0, 0, 0);
    asked = atomic_fetch_add(&theatre->asked, 1) + 1;
    raw(SYS_futex, (long)&theatre->asked, FUTEX_WAKE, 1, 0);
    while (atomic_load(&theatre->answered) != asked) {
        struct timespec wait = {.tv_nsec = (long)poll_ns};
        raw(SYS_futex, (long)&theatre->answered, FUTEX_WAIT, (long)(asked - 1), (long)&wait);
        if (has_ended(theatre->stage_pid))
            return -ESRCH;
    }
    return theatre->result;
}

/*
 * Starts an actor of the default class that begins with operation 0: a handle, or -errno. `ops`
 * has two numbers for each operation, `masks` 64 bytes for each mask. From one thread at a time.
 */
SHIM_API double shim_actor_start(const double *ops, int32_t op_count, const void *masks,
                                 int32_t mask_count)
{
    size_t ops_bytes = (size_t)op_count * OP_DOUBLES * sizeof(*ops);
    size_t masks_bytes = (size_t)mask_count * MASK_BYTES;
    size_t bytes = (sizeof(struct script) + ops_bytes + masks_bytes + 63) & ~(size_t)63;
    struct actor *list = NULL;
    int32_t tid = open_theatre();
    if (tid < 0)
        return tid;
    uint64_t at = atomic_fetch_add(&theatre->script_bytes, bytes);
    if (at + bytes > SCRIPT_BYTES_MAX)
        return -ENOMEM;
    struct script *script = (struct script *)(theatre->scripts + at);
    script->op_count = op_count;
    script->masks = (uint8_t *)script + sizeof(*script) + ops_bytes;
    memcpy(script->ops, ops, ops_bytes);
    memcpy(script->masks, masks, masks_bytes);
    if (make_actor(script, 0, &list) == NULL)
        return -ENOMEM;
    tid = ask_stage(list);
    return tid < 0 ? (double)tid : (double)(uintptr_t)list;
}

SHIM_API int32_t shim_actor_tid(double handle)
{
    return ((struct actor *)shim_pointer(handle))->tid;
}

SHIM_API void shim_actor_wake(double handle)
{
    wake(shim_pointer(handle));
}

static int has_exited(const struct actor *actor)
{
    return actor->tid <= 0 || has_ended(actor->tid);
}

/* 1 once the kernel has ended it. */
SHIM_API int32_t shim_actor_has_exited(double handle)
{
    return has_exited(shim_pointer(handle));
}

static void kill_tree(struct actor *actor)
{
    for (struct actor *child = actor->children; child != NULL; child = child->next)
        kill_tree(child);
    if (!has_exited(actor))
        kill(actor->tid, SIGKILL);
}

/* Ends an actor and those that it started. */
SHIM_API void shim_actor_kill(double handle)
{
    kill_tree(shim_pointer(handle));
}

/* Takes the pid back once it has exited; its memory stays, for a wake-up that comes late. */
SHIM_API void shim_actor_reap(double handle)
{
    struct actor *actor = shim_pointer(handle);
    for (struct actor *child = actor->children; child != NULL; child = child->next)
        shim_actor_reap((double)(uintptr_t)child);
    if (actor->tid > 0)
        waitpid(actor->tid, NULL, __WALL);
    actor->tid = 0;
}

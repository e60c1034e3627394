/*
 * Actors: the threads of the contract suite on a real kernel. An actor is a process that shares
 * this one's memory and files, so that it can be killed alone, wherever it is; it carries out a
 * short list of operations. tests/conformance/actor_script.ts writes the lists; the numbers are
 * those of ffi/actor.ts.
 *
 * An actor has this process's thread pointer, so it calls nothing that writes errno.
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
#include <stdlib.h>
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
    ACTOR_JOIN_SCX = 13, /* join the enclave of the struct scx_join at a */
};

#define STACK_BYTES 32768
#define MASK_BYTES 64
#define DEPTH_MAX 8
#define OP_DOUBLES 2
#define FLAGS (CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_PARENT_SETTID)

/* What an actor takes to join an enclave of the scx program. */
struct scx_join {
    int32_t control_fd;
    uint32_t enclave;
};

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
            raw(SYS_futex, (long)&self->tokens, FUTEX_WAIT_PRIVATE, 0, 0);
    }
}

static void wake(struct actor *actor)
{
    atomic_fetch_add(&actor->tokens, 1);
    raw(SYS_futex, (long)&actor->tokens, FUTEX_WAKE_PRIVATE, 1, 0);
}

/* As kernels/scx/membership.ts: the program is told first, then the policy is changed. */
static void join_scx(const struct scx_join *join)
{
    struct sched_param param = {0};
    struct scx_call call = {.op = SCX_OP_JOIN, .enclave = join->enclave};
    union bpf_attr attr;
    long error;
    call.a = (int32_t)raw(SYS_gettid, 0, 0, 0, 0);
    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = (uint32_t)join->control_fd;
    attr.test.ctx_in = (uint64_t)(uintptr_t)&call;
    attr.test.ctx_size_in = sizeof(call);
    error = raw(SYS_bpf, BPF_PROG_TEST_RUN, (long)&attr, sizeof(attr), 0);
    if (error == 0 && call.result >= 0)
        raw(SYS_sched_setscheduler, 0, SCHED_EXT, (long)&param, 0);
}

static int actor_main(void *argument);

static int32_t start_actor(struct script *script, int32_t start, struct actor **list, int flags)
{
    struct actor *actor = mmap(NULL, sizeof(*actor), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int32_t tid;
    if (actor == MAP_FAILED)
        return -ENOMEM;
    actor->script = script;
    actor->start = start;
    actor->next = *list;
    *list = actor;
    tid = clone(actor_main, actor->stack + STACK_BYTES, FLAGS | flags, actor, &actor->tid);
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
        join_scx(shim_pointer(a));
        break;
    case ACTOR_FORK:
        start_actor(script, (int32_t)a, &self->children, CLONE_PARENT);
        break;
    default:
        break;
    }
}

static int actor_main(void *argument)
{
    struct actor *self = argument;
    const struct script *script = self->script;
    int32_t counts[DEPTH_MAX], depth = 0;
    /* It must not outlive the process whose memory it uses. */
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

/*
 * Starts an actor of the default class that begins with operation 0: a handle, or -errno. `ops`
 * has two numbers for each operation, `masks` 64 bytes for each mask.
 */
SHIM_API double shim_actor_start(const double *ops, int32_t op_count, const void *masks,
                                 int32_t mask_count)
{
    size_t ops_bytes = (size_t)op_count * OP_DOUBLES * sizeof(*ops);
    size_t masks_bytes = (size_t)mask_count * MASK_BYTES;
    struct actor *list = NULL;
    sigset_t old;
    int32_t tid;
    struct script *script = malloc(sizeof(*script) + ops_bytes + masks_bytes);
    if (script == NULL)
        return -ENOMEM;
    script->op_count = op_count;
    script->masks = (uint8_t *)script + sizeof(*script) + ops_bytes;
    memcpy(script->ops, ops, ops_bytes);
    memcpy(script->masks, masks, masks_bytes);
    shim_block_signals_save(&old);
    tid = start_actor(script, 0, &list, 0);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
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
    siginfo_t info = {0};
    int options = WEXITED | WNOHANG | WNOWAIT | __WALL;
    if (actor->tid <= 0)
        return 1;
    return waitid(P_PID, (id_t)actor->tid, &info, options) != 0 || info.si_pid != 0;
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

/*
 * The calling thread: identity, CPU affinity, scheduling class, name, signals.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Length of a thread name that the kernel keeps, without the NUL. */
#define NAME_LENGTH 15

SHIM_API int32_t shim_gettid(void)
{
    return (int32_t)syscall(SYS_gettid);
}

SHIM_API int32_t shim_getcpu(void)
{
    return shim_rc(sched_getcpu());
}

SHIM_API int32_t shim_sched_yield(void)
{
    return shim_rc(sched_yield());
}

/* The raw call, because it tells how many bytes the kernel's mask has. */
SHIM_API int32_t shim_sched_getaffinity(int32_t tid, void *mask, uint32_t mask_bytes)
{
    return shim_rc(syscall(SYS_sched_getaffinity, tid, (size_t)mask_bytes, mask));
}

SHIM_API int32_t shim_sched_setaffinity(int32_t tid, const void *mask, uint32_t mask_bytes)
{
    return shim_rc(syscall(SYS_sched_setaffinity, tid, (size_t)mask_bytes, mask));
}

/*
 * SCHED_RESET_ON_FORK keeps threads that V8 or Deno start from this one out of the class: a
 * helper thread that inherited SCHED_FIFO could starve its creator's CPU.
 */
SHIM_API int32_t shim_sched_setscheduler(int32_t tid, int32_t policy, int32_t priority,
                                         int32_t reset_on_fork)
{
    struct sched_param param = {.sched_priority = priority};
    int flags = reset_on_fork != 0 ? SCHED_RESET_ON_FORK : 0;
    return shim_rc(sched_setscheduler(tid, policy | flags, &param));
}

/* The policy, with SCHED_RESET_ON_FORK (0x40000000) if that is set. */
SHIM_API int32_t shim_sched_getscheduler(int32_t tid)
{
    return shim_rc(sched_getscheduler(tid));
}

/* -ERANGE for a name that the kernel would cut, as pthread_setname_np has it. */
SHIM_API int32_t shim_set_thread_name(const char *name)
{
    if (strnlen(name, NAME_LENGTH + 1) > NAME_LENGTH)
        return -ERANGE;
    return shim_rc(prctl(PR_SET_NAME, name, 0, 0, 0));
}

/* `name` has room for 16 bytes. */
SHIM_API int32_t shim_get_thread_name(char *name)
{
    return shim_rc(prctl(PR_GET_NAME, name, 0, 0, 0));
}

/*
 * Faults of the thread itself stay open: the kernel kills the process when a blocked SIGSEGV
 * is raised, before V8's own handler has seen it.
 */
int32_t shim_block_signals_save(void *old_sigset)
{
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGILL);
    sigdelset(&all, SIGFPE);
    sigdelset(&all, SIGTRAP);
    return -pthread_sigmask(SIG_SETMASK, &all, old_sigset);
}

static volatile sig_atomic_t passed_on_as;

static void pass_on(int number)
{
    int error = errno;
    (void)number;
    kill(getpid(), passed_on_as);
    errno = error;
}

/* From now on the process takes one signal for another, whoever listened to it before. */
SHIM_API int32_t shim_redirect_signal(int32_t from, int32_t to)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    sigfillset(&action.sa_mask);
    passed_on_as = to;
    return shim_rc(sigaction(from, &action, NULL));
}

SHIM_API int32_t shim_block_signals(void)
{
    return shim_block_signals_save(NULL);
}

/*
 * An agent's calls to the scx program (bpf/): BPF_PROG_RUN of its commit and control programs, and
 * the sleep until the program rings. Shapes of the arguments are those of ghost_abi.h.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <linux/bpf.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "ghost_abi.h"

#ifndef SCHED_EXT
#define SCHED_EXT 7
#endif
#define IS_EXT_ALREADY 1 /* the program's answer to a join of a thread without an enclave */
#define AGENT_PRIORITY 1 /* of SCHED_FIFO: above every thread of the default class */
#define BELL_BYTES 4096
#define BELL_PERIOD_S 2 /* each time the agent takes its CPU from a task, which is told */

/* What one agent needs for its calls. */
struct scx_port {
    int32_t commit_fd;
    int32_t control_fd;
    int32_t bell_fd;
    int32_t timer_fd;
    int32_t epoll_fd;
    u32 enclave;
    u32 cpu;
    int32_t word_index;
    int32_t has_left;
    double spin_ns; /* how long a sleep looks for its end before it is one */
    struct ghost_status_word *word;
    struct ghost_txn *txn;
    struct scx_turn *turn;
    u64 *consumer;
    const u64 *producer;
};

static long bpf_call(int command, union bpf_attr *attr)
{
    return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int run_program(int32_t fd, void *argument, u32 bytes)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = (u32)fd;
    attr.test.ctx_in = (u64)(uintptr_t)argument;
    attr.test.ctx_size_in = bytes;
    return bpf_call(BPF_PROG_TEST_RUN, &attr) < 0 ? -errno : 0;
}

static double control(int32_t fd, u32 op, u32 enclave, s32 a, s32 b, u64 value)
{
    struct scx_call call = {.op = op, .enclave = enclave, .a = a, .b = b, .value = value};
    int error = run_program(fd, &call, sizeof(call));
    return error < 0 ? error : (double)call.result;
}

/* One call of the control program; `lo` and `hi` are the words of its 64-bit value. */
SHIM_API double shim_scx_call(int32_t fd, u32 op, u32 enclave, s32 a, s32 b, s32 lo, s32 hi)
{
    return control(fd, op, enclave, a, b, (u64)(u32)hi << 32 | (u32)lo);
}

/* The calling thread enters an enclave: 0 or -errno; as joinThread of kernels/scx/membership.ts. */
int32_t scx_join_self(int32_t control_fd, uint32_t enclave)
{
    const s32 tid = (s32)syscall(SYS_gettid);
    const struct sched_param param = {.sched_priority = 0};
    const double told = control(control_fd, SCX_OP_JOIN, enclave, tid, 0, 0);
    int32_t result;
    if (told < 0)
        return (int32_t)told;
    if (told == IS_EXT_ALREADY)
        sched_setscheduler(0, SCHED_OTHER, &param);
    result = sched_setscheduler(0, SCHED_EXT, &param) == 0 ? 0 : -errno;
    if (result != 0)
        control(control_fd, SCX_OP_UNJOIN, enclave, tid, 0, 0);
    return result;
}

/* Next id after `id` of the programs (what 0), maps (1) or links (2) of the host; or -errno. */
SHIM_API double shim_scx_next_id(int32_t what, u32 id)
{
    static const int commands[] = {BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID, BPF_LINK_GET_NEXT_ID};
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.start_id = id;
    if (what < 0 || what > 2)
        return -EINVAL;
    return bpf_call(commands[what], &attr) < 0 ? -(double)errno : (double)attr.next_id;
}

/* Descriptor of a program (0) or a map (1) by its id, or -errno; its name goes into 16 bytes. */
SHIM_API int32_t shim_scx_open_id(int32_t what, u32 id, uint8_t *name)
{
    union {
        struct bpf_prog_info program;
        struct bpf_map_info map;
    } info;
    union bpf_attr attr;
    long fd;
    memset(&attr, 0, sizeof(attr));
    attr.prog_id = id;
    fd = bpf_call(what == 0 ? BPF_PROG_GET_FD_BY_ID : BPF_MAP_GET_FD_BY_ID, &attr);
    if (fd < 0)
        return -errno;
    memset(&attr, 0, sizeof(attr));
    memset(&info, 0, sizeof(info));
    attr.info.bpf_fd = (u32)fd;
    attr.info.info_len = what == 0 ? sizeof(info.program) : sizeof(info.map);
    attr.info.info = (u64)(uintptr_t)&info;
    if (bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attr) < 0) {
        int error = -errno;
        close((int)fd);
        return error;
    }
    memcpy(name, what == 0 ? info.program.name : info.map.name, BPF_OBJ_NAME_LEN);
    return (int32_t)fd;
}

/* Copies the value at an index of an array map. */
SHIM_API int32_t shim_scx_lookup(int32_t fd, u32 index, void *value)
{
    union bpf_attr attr;
    memset(&attr, 0, sizeof(attr));
    attr.map_fd = (u32)fd;
    attr.key = (u64)(uintptr_t)&index;
    attr.value = (u64)(uintptr_t)value;
    return bpf_call(BPF_MAP_LOOKUP_ELEM, &attr) < 0 ? -errno : 0;
}

/* ---- the doorbell ---- */

static int watch(const struct scx_port *port, int32_t fd, u32 events)
{
    struct epoll_event event = {.events = events, .data = {.fd = fd}};
    return epoll_ctl(port->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/*
 * A bell that was lost is made up for when the timer expires. A timer that goes on by itself costs
 * a sleep nothing; one per sleep would be set and cancelled each time.
 */
static int watch_bell(struct scx_port *port)
{
    const struct timespec period = {BELL_PERIOD_S, 0};
    const struct itimerspec times = {.it_interval = period, .it_value = period};
    int error;
    port->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (port->epoll_fd < 0)
        return -errno;
    port->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (port->timer_fd < 0 || timerfd_settime(port->timer_fd, 0, &times, NULL) < 0)
        return -errno;
    error = watch(port, port->bell_fd, EPOLLIN | EPOLLET);
    return error < 0 ? error : watch(port, port->timer_fd, EPOLLIN);
}

static int make_bell(struct scx_port *port, int32_t doorbells_fd)
{
    union bpf_attr attr;
    void *pages;
    memset(&attr, 0, sizeof(attr));
    attr.map_type = BPF_MAP_TYPE_RINGBUF;
    attr.max_entries = BELL_BYTES;
    memcpy(attr.map_name, "doorbell", 9);
    port->bell_fd = (int32_t)bpf_call(BPF_MAP_CREATE, &attr);
    if (port->bell_fd < 0)
        return -errno;
    memset(&attr, 0, sizeof(attr));
    attr.map_fd = (u32)doorbells_fd;
    attr.key = (u64)(uintptr_t)&port->cpu;
    attr.value = (u64)(uintptr_t)&port->bell_fd;
    if (bpf_call(BPF_MAP_UPDATE_ELEM, &attr) < 0)
        return -errno;
    pages = mmap(NULL, BELL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, port->bell_fd, 0);
    if (pages == MAP_FAILED)
        return -errno;
    port->consumer = pages;
    pages = mmap(NULL, BELL_BYTES, PROT_READ, MAP_SHARED, port->bell_fd, BELL_BYTES);
    if (pages == MAP_FAILED)
        return -errno;
    port->producer = pages;
    return watch_bell(port);
}

static void close_fd(int32_t *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_bell(struct scx_port *port)
{
    if (port->consumer != NULL)
        munmap(port->consumer, BELL_BYTES);
    if (port->producer != NULL)
        munmap((void *)(uintptr_t)port->producer, BELL_BYTES);
    close_fd(&port->epoll_fd);
    close_fd(&port->timer_fd);
    close_fd(&port->bell_fd);
    port->consumer = NULL;
    port->producer = NULL;
}

/* ---- becoming an agent ---- */

/* Where things are, for shim_scx_become_agent(): numbers in this order. */
enum { AT_COMMIT_FD, AT_CONTROL_FD, AT_DOORBELLS_FD, AT_ENCLAVE, AT_CPU, AT_QUEUE, AT_WORDS,
       AT_TXNS, AT_TURNS, AT_SPIN_NS };

/* Makes the calling thread the agent of a CPU. Returns a handle, or -errno. */
SHIM_API double shim_scx_become_agent(const double *where)
{
    struct sched_param param = {.sched_priority = AGENT_PRIORITY};
    struct scx_port *port = calloc(1, sizeof(*port));
    struct ghost_sw_region *region = shim_pointer(where[AT_WORDS]);
    double result;
    if (port == NULL)
        return -ENOMEM;
    port->bell_fd = port->timer_fd = port->epoll_fd = -1;
    port->commit_fd = (int32_t)where[AT_COMMIT_FD];
    port->control_fd = (int32_t)where[AT_CONTROL_FD];
    port->enclave = (u32)where[AT_ENCLAVE];
    port->cpu = (u32)where[AT_CPU];
    port->spin_ns = where[AT_SPIN_NS];
    if (port->cpu >= MAX_CPUS) {
        free(port);
        return -ENODEV;
    }
    port->txn = &((struct ghost_cpu_data *)shim_pointer(where[AT_TXNS]))[port->cpu].txn;
    port->turn = &((struct scx_turn *)shim_pointer(where[AT_TURNS]))[port->cpu];
    result = control(port->control_fd, SCX_OP_AGENT_BECOME, port->enclave, (s32)port->cpu,
                     (s32)where[AT_QUEUE], 0);
    if (result >= 0) {
        port->word_index = (int32_t)result;
        port->word = &region->words[port->word_index];
        result = make_bell(port, (int32_t)where[AT_DOORBELLS_FD]);
        if (result == 0 && sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param) < 0)
            result = -errno;
        if (result < 0)
            control(port->control_fd, SCX_OP_AGENT_LEAVE, port->enclave, (s32)port->cpu, 0, 0);
    }
    if (result < 0) {
        close_bell(port);
        free(port);
        return result;
    }
    return (double)(uintptr_t)port;
}

/* Index of the agent's status word. */
SHIM_API int32_t shim_scx_agent_word(double handle)
{
    return ((struct scx_port *)shim_pointer(handle))->word_index;
}

/* ---- giving the CPU away ---- */

static int is_gone(const struct scx_port *port)
{
    return port->has_left || __atomic_load_n(&port->turn->is_gone, __ATOMIC_ACQUIRE) != 0;
}

static int has_turned(const struct scx_port *port, u32 seen)
{
    return __atomic_load_n(&port->turn->turn, __ATOMIC_ACQUIRE) != seen;
}

static void sleep_for_bell(const struct scx_port *port)
{
    struct epoll_event event;
    u64 expirations;
    if (epoll_wait(port->epoll_fd, &event, 1, -1) == 1 && event.data.fd == port->timer_fd &&
        read(port->timer_fd, &expirations, sizeof(expirations)) < 0)
        return; /* it was another expiration that ended the sleep */
    __atomic_store_n(port->consumer, __atomic_load_n(port->producer, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
}

static int32_t txn_state(const struct scx_port *port)
{
    return __atomic_load_n(&port->txn->state, __ATOMIC_ACQUIRE);
}

/* Sleeps until something has happened since `seen`. */
static int32_t sleep_until_turn(struct scx_port *port, u32 seen)
{
    double end_ns = port->spin_ns > 0 ? shim_clock_monotonic_ns() + port->spin_ns : 0;
    while (end_ns > 0 && !has_turned(port, seen) && shim_clock_monotonic_ns() < end_ns)
        ;
    while (!has_turned(port, seen)) {
        __atomic_exchange_n(&port->turn->waiting, 1, __ATOMIC_SEQ_CST);
        if (!has_turned(port, seen))
            sleep_for_bell(port);
    }
    __atomic_store_n(&port->turn->waiting, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&port->turn->wake_on_idle, 0, __ATOMIC_RELAXED);
    return is_gone(port) ? -ENODEV : 0;
}

static int32_t run_commit(const struct scx_port *port, u32 how, u64 cpus)
{
    struct scx_commit_args args = {.cpus = cpus, .enclave = port->enclave, .how = how};
    int error = run_program(port->commit_fd, &args, sizeof(args));
    return error < 0 ? error : args.result;
}

/* Sleeps; the program commits as the CPU is given away. What came of it is in turn->commit. */
static int32_t sleep_with_commit(struct scx_port *port, u32 seen)
{
    __atomic_store_n(&port->turn->commit, SCX_TURN_WANTED, __ATOMIC_RELAXED);
    return sleep_until_turn(port, seen);
}

/* Commits by a call of its own, then sleeps. */
static int32_t commit_and_sleep(struct scx_port *port, u32 seen)
{
    int32_t result = run_commit(port, SCX_COMMIT_LOCAL, 0);
    const int is_latched = result >= 0 && txn_state(port) == GHOST_TXN_COMPLETE;
    __atomic_store_n(&port->turn->commit, is_latched ? SCX_TURN_LATCHED : SCX_TURN_REFUSED,
                     __ATOMIC_RELAXED);
    return is_latched ? sleep_until_turn(port, seen) : result;
}

static u32 take_turn_commit(struct scx_port *port)
{
    return __atomic_exchange_n(&port->turn->commit, SCX_TURN_NONE, __ATOMIC_ACQ_REL);
}

/* A call that would be refused is not worth a sleep; one that spins gives no CPU away at once. */
static int commits_in_sleep(const struct scx_port *port)
{
    return port->spin_ns <= 0 &&
           __atomic_load_n(&port->word->barrier, __ATOMIC_ACQUIRE) == port->txn->agent_barrier;
}

/*
 * Commits the own transaction and, if that succeeds, sleeps until the agent is woken. An agent that
 * was woken before its CPU got to the task takes the task's latch away, as a kernel does.
 */
SHIM_API int32_t shim_scx_local_commit(double handle)
{
    struct scx_port *port = shim_pointer(handle);
    u32 seen, switches, commit = SCX_TURN_WANTED;
    int32_t result = 0;
    if (port == NULL)
        return 0;
    if (is_gone(port))
        return -ENODEV;
    seen = __atomic_load_n(&port->turn->turn, __ATOMIC_ACQUIRE);
    switches = __atomic_load_n(&port->turn->switches, __ATOMIC_ACQUIRE);
    if (txn_state(port) != GHOST_TXN_READY)
        return 0;
    if (commits_in_sleep(port)) {
        result = sleep_with_commit(port, seen);
        commit = take_turn_commit(port);
    }
    if (commit == SCX_TURN_WANTED && result == 0) {
        result = commit_and_sleep(port, seen);
        commit = take_turn_commit(port);
    }
    if (commit == SCX_TURN_LATCHED &&
        __atomic_load_n(&port->turn->switches, __ATOMIC_ACQUIRE) == switches)
        control(port->control_fd, SCX_OP_UNLATCH, port->enclave, (s32)port->cpu, 0, 0);
    return result;
}

/* Gives the own CPU away: 0 when woken, -ESTALE if something happened since the barrier. */
SHIM_API int32_t shim_scx_local_yield(double handle, int32_t barrier, u32 run_flags)
{
    struct scx_port *port = shim_pointer(handle);
    u32 seen;
    if (port == NULL)
        return 0;
    seen = __atomic_load_n(&port->turn->turn, __ATOMIC_ACQUIRE);
    if (is_gone(port))
        return -ENODEV;
    if ((run_flags & ~RTLA_ON_IDLE) != 0)
        return -EINVAL;
    if (__atomic_load_n(&port->word->barrier, __ATOMIC_ACQUIRE) != (u32)barrier)
        return -ESTALE;
    if (txn_state(port) == GHOST_TXN_READY &&
        (port->txn->commit_flags & COMMIT_AT_FLAGS) == COMMIT_AT_SCHEDULE)
        run_commit(port, SCX_COMMIT_LOCAL, 0);
    __atomic_store_n(&port->turn->wake_on_idle, run_flags != 0, __ATOMIC_SEQ_CST);
    return sleep_until_turn(port, seen);
}

/* ---- calls that do not give the CPU away; a handle of 0 is a dry run ---- */

static u64 cpus_of(const u32 *mask)
{
    return mask[0] | (u64)mask[1] << 32;
}

/* Commits the open transactions of the CPUs in a 512-bit mask. */
SHIM_API int32_t shim_scx_commit(double handle, const u32 *mask)
{
    struct scx_port *port = shim_pointer(handle);
    return port == NULL ? 0 : run_commit(port, SCX_COMMIT_EACH, cpus_of(mask));
}

/* The same by a thread that is no agent, which the program refuses. */
SHIM_API int32_t shim_scx_commit_outside(int32_t fd, u32 enclave, const u32 *mask)
{
    struct scx_commit_args args = {.cpus = cpus_of(mask), .enclave = enclave};
    return run_program(fd, &args, sizeof(args));
}

/* All or none: 1, or 0 and the records say why. */
SHIM_API int32_t shim_scx_commit_sync_group(double handle, const u32 *mask)
{
    struct scx_port *port = shim_pointer(handle);
    return port == NULL ? 1 : run_commit(port, SCX_COMMIT_SYNC, cpus_of(mask));
}

/* An agent's own call of the control program. */
SHIM_API double shim_scx_agent_call(double handle, u32 op, s32 a, s32 b, s32 lo, s32 hi)
{
    struct scx_port *port = shim_pointer(handle);
    if (port == NULL)
        return 0;
    return control(port->control_fd, op, port->enclave, a, b, (u64)(u32)hi << 32 | (u32)lo);
}

/* The expiry comes as CPU_TIMER_EXPIRED; a deadline of 0 disarms. */
SHIM_API int32_t shim_scx_arm_timer(double handle, double deadline_ns, s32 type, s32 cookie)
{
    struct scx_port *port = shim_pointer(handle);
    if (port == NULL)
        return 0;
    return (int32_t)control(port->control_fd, SCX_OP_TIMER, port->enclave, type, cookie,
                            (u64)deadline_ns);
}

/*
 * The agent leaves: 0, or -ENODEV if it has left, or its enclave has gone, before. The few bytes of
 * the handle stay, so that calls after it are safe.
 */
SHIM_API int32_t shim_scx_leave(double handle)
{
    struct scx_port *port = shim_pointer(handle);
    struct sched_param param = {.sched_priority = 0};
    int32_t result;
    if (port == NULL)
        return 0;
    if (port->has_left)
        return -ENODEV;
    port->has_left = 1;
    result = (int32_t)control(port->control_fd, SCX_OP_AGENT_LEAVE, port->enclave, (s32)port->cpu,
                              0, 0);
    sched_setscheduler(0, SCHED_OTHER, &param);
    close_bell(port);
    return result;
}

/*
 * The guard's main loop: passes signals on, watches, and acts when the agent stalls or dies. Its
 * exit status is the agent's, 1 if it was killed, 3 after a stall, 130 after a second SIGINT.
 */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_FAILED 1
#define EXIT_BROKEN 3
#define EXIT_INTERRUPTED 130
#define POLL_NS_MIN 2000000ll
#define POLL_NS_MAX 250000000ll
/* How often the guard looks within the watchdog's time. */
#define POLLS 8
/* After a second request to end, the agent has so long. */
#define INTERRUPT_NS 3000000000ll
#define DUMP_NS 15000000000ll
/* A dump waits so long for the next agent to be active. */
#define DUE_NS 30000000000ll
/* An agent that dies again and again is not restarted for ever. */
#define RESTART_COUNT_MAX 5
#define RESTART_PERIOD_NS 60000000000ll
/* The kernel takes the enclave's files away a moment after it has killed the agents; an agent that
   is started nevertheless finds no enclave and ends. */
#define GONE_WAIT_NS 100000000ll
#define GONE_POLL_US 10000

struct guard {
    struct guard_config config;
    struct agent agent;
    int64_t poll_ns;
    bool has_destroyed; /* the guard has ended the enclave itself */
    int stop_count;     /* requests to end that came so far */
    bool keeps_enclave; /* the enclave is to stay for another agent, which may have it by now */
    int64_t interrupt_ns;
    int64_t restarts_ns[RESTART_COUNT_MAX];
    int restart_count;
    pid_t dump_pid; /* the process that writes a dump, or 0 */
    int64_t dump_end_ns;
    char end_text[END_TEXT_BYTES]; /* how the agent ended, for the process that writes the dump */
    int due_board_fd; /* what is to be dumped once the next agent is active, or -1 */
    char due_text[END_TEXT_BYTES];
    int64_t due_end_ns;
};

static struct guard guard;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char text[512];
    int start = snprintf(text, sizeof text, "%.100s: ", guard.config.name);
    va_list list;
    va_start(list, format);
    vsnprintf(text + start, sizeof text - (size_t)start - 1, format, list);
    va_end(list);
    strcat(text, "\n");
    if (write(2, text, strlen(text)) < 0)
        return;
}

static const char *enclave_name(void)
{
    static char path[256];
    const char *text = (const char *)guard.agent.map + BOARD_ACTIONS_OFFSET;
    snprintf(path, sizeof path, "%.200s", guard.agent.map ? text : "");
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = 0;
    return path[0] ? path : "the enclave";
}

/* Starts a process that writes what a dead agent knew, from its board, and keeps how it ended. */
static void start_dump(int board_fd, const char *end_text)
{
    guard.dump_pid = spawn_agent(&guard.config, "dump", board_fd, -1, end_text);
    guard.dump_end_ns = now_ns() + DUMP_NS;
}

/* A dump takes CPUs that the next agent needs to start: it comes when that is active, or late. */
static void dump_later(int board_fd)
{
    guard.due_board_fd = board_fd;
    memcpy(guard.due_text, guard.end_text, sizeof guard.due_text);
    guard.due_end_ns = now_ns() + DUE_NS;
}

static void start_due_dump(bool is_now)
{
    bool is_active = board_word(&guard.agent, WORD_PHASE) == PHASE_ACTIVE;
    if (guard.due_board_fd < 0 || !(is_now || is_active || now_ns() > guard.due_end_ns))
        return;
    start_dump(guard.due_board_fd, guard.due_text);
    close(guard.due_board_fd);
    guard.due_board_fd = -1;
}

/* Ends it if it takes too long. */
static void limit_dump(void)
{
    if (guard.dump_pid > 0 && now_ns() > guard.dump_end_ns)
        kill(guard.dump_pid, SIGKILL);
}

static void await_dump(void)
{
    while (guard.dump_pid > 0 && waitpid(guard.dump_pid, NULL, WNOHANG) == 0) {
        limit_dump();
        usleep(GONE_POLL_US);
    }
}

static void start_agent(int old_fd)
{
    struct agent *agent = &guard.agent;
    memset(agent, 0, sizeof *agent);
    agent->board_fd = make_board();
    map_board(agent);
    agent->pid = spawn_agent(&guard.config, "run", agent->board_fd, old_fd, "");
    if (agent->pid < 0) {
        say("cannot start the agent: %s", strerror(errno));
        exit(1);
    }
}

static bool may_restart(void)
{
    int64_t *oldest = &guard.restarts_ns[guard.restart_count % RESTART_COUNT_MAX];
    if (guard.restart_count >= RESTART_COUNT_MAX && now_ns() - *oldest < RESTART_PERIOD_NS)
        return false;
    *oldest = now_ns();
    guard.restart_count++;
    return true;
}

/* False once the enclave is seen to be gone. */
static bool enclave_stays(void)
{
    int64_t end_ns = now_ns() + GONE_WAIT_NS;
    while (has_enclave(&guard.agent)) {
        if (now_ns() > end_ns)
            return true;
        usleep(GONE_POLL_US);
    }
    return false;
}

static void destroy_enclave(const char *what)
{
    if (!guard.has_destroyed)
        run_actions(&guard.agent);
    say("%s; %s destroyed, its threads are with the default scheduler", what, enclave_name());
}

/* Starts another agent in the same enclave; the old board tells it what the old one knew. */
static void restart(const char *what, bool is_dumped)
{
    struct agent old = guard.agent;
    say("%s; another agent takes %s over", what, enclave_name());
    start_due_dump(true);
    start_agent(old.board_fd);
    munmap((void *)old.map, old.map_bytes);
    if (is_dumped)
        close(old.board_fd);
    else
        dump_later(old.board_fd);
}

/*
 * Whoever asked for the end wants the enclave to go only if it was made for this agent; another
 * agent may have it otherwise.
 */
static bool is_to_destroy(void)
{
    if (guard.stop_count > 0)
        return board_word(&guard.agent, WORD_IS_MADE) != 0 && !guard.keeps_enclave;
    return strcmp(guard.config.on_crash, "destroy") == 0;
}

/* Notes how the agent ended: kind, process, time in ms since 1970, and what happened. */
static void note_end(const char *kind, const char *what)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    long long time_ms = time.tv_sec * 1000ll + time.tv_nsec / 1000000;
    snprintf(guard.end_text, sizeof guard.end_text, ":%s:%d:%lld:%.200s", kind, guard.agent.pid,
             time_ms, what);
}

/* The agent is dead and has not settled matters itself. Returns if another one was started. */
static void act(const char *what, int status, bool is_dumped)
{
    const char *on_crash = guard.config.on_crash;
    map_board(&guard.agent);
    if (board_word(&guard.agent, WORD_CPU_COUNT) == 0) {
        say("%s before it had an enclave", what);
        exit(status);
    }
    if (guard.has_destroyed || (is_to_destroy() && has_enclave(&guard.agent))) {
        destroy_enclave(what);
    } else if (guard.stop_count > 0) {
        say("%s; %s is left", what, enclave_name());
    } else if (!enclave_stays()) {
        char text[400];
        snprintf(text, sizeof text, "%s; %s is gone", what, enclave_name());
        say("%s", text);
        note_end("destroyed", text);
    } else if (strcmp(on_crash, "leave") == 0) {
        say("%s; %s is left without agents, --enclave takes it over", what, enclave_name());
    } else if (may_restart()) {
        restart(what, is_dumped);
        return;
    } else {
        char text[400];
        snprintf(text, sizeof text, "%s, %d times within a minute", what, RESTART_COUNT_MAX + 1);
        destroy_enclave(text);
    }
    start_due_dump(true);
    await_dump();
    if (!is_dumped)
        start_dump(guard.agent.board_fd, guard.end_text);
    await_dump();
    exit(guard.stop_count > 1 ? EXIT_INTERRUPTED : status);
}

/* The agent has ended with a status of waitpid. */
static void ended(int status)
{
    char what[128];
    int64_t time_ns = now_ns();
    struct agent *agent = &guard.agent;
    int phase = board_word(agent, WORD_PHASE);
    if (pwrite(agent->board_fd, &time_ns, sizeof time_ns, BOARD_ALIVE_OFFSET) < 0)
        say("cannot date the agent's end");
    if (WIFSIGNALED(status)) {
        int number = WTERMSIG(status);
        snprintf(what, sizeof what, "agent process %d was killed by signal %d (%s)", agent->pid,
                 number, strsignal(number));
        note_end("killed", what);
        act(what, EXIT_FAILED, false);
        return;
    }
    int code = WEXITSTATUS(status);
    map_board(agent);
    if (phase == PHASE_ENDED || board_word(agent, WORD_CPU_COUNT) == 0) {
        /* That of an agent before this one, if it is still to come. */
        await_dump();
        start_due_dump(true);
        await_dump();
        exit(code);
    }
    snprintf(what, sizeof what, "agent process %d ended with status %d", agent->pid, code);
    note_end("ended", what);
    act(what, code, phase == PHASE_FAILED || code == EXIT_INTERRUPTED);
}

/* The agent hangs: what it holds is given back, then it is killed. */
static void stalled(const char *text, int64_t silent_ns)
{
    char what[256];
    struct agent *agent = &guard.agent;
    snprintf(what, sizeof what, "%s for %.1f s, agent process %d killed", text,
             (double)silent_ns / 1e9, agent->pid);
    if (is_to_destroy() && has_enclave(agent)) {
        run_actions(agent);
        guard.has_destroyed = true;
    }
    kill(agent->pid, SIGKILL);
    int status;
    while (waitpid(agent->pid, &status, 0) < 0 && errno == EINTR)
        ;
    int64_t alive_ns = now_ns() - silent_ns;
    if (pwrite(agent->board_fd, &alive_ns, sizeof alive_ns, BOARD_ALIVE_OFFSET) < 0)
        say("cannot date the agent's end");
    note_end("stalled", what);
    act(what, EXIT_BROKEN, false);
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
        if (pid == guard.dump_pid && !WIFSTOPPED(status))
            guard.dump_pid = 0;
        if (pid != guard.agent.pid)
            continue;
        if (WIFSTOPPED(status) || WIFCONTINUED(status))
            guard.agent.is_stopped = WIFSTOPPED(status);
        else
            ended(status);
    }
}

static void take_signal(int number)
{
    if (number == SIGCHLD)
        return;
    if (number == SIGUSR1) {
        /* As agents want it: at a SIGUSR1 the runtime opens a port for debuggers. */
        kill(guard.agent.pid, SIGURG);
        return;
    }
    kill(guard.agent.pid, number);
    /* A stopped agent would not hear of it. */
    kill(guard.agent.pid, SIGCONT);
    if (guard.stop_count == 0)
        guard.keeps_enclave = number == SIGUSR2;
    if (guard.stop_count++ == 1)
        guard.interrupt_ns = now_ns() + INTERRUPT_NS;
}

static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(set, numbers[i]);
    sigprocmask(SIG_BLOCK, set, NULL);
}

static int64_t clamp(int64_t value, int64_t min, int64_t max)
{
    return value < min ? min : value > max ? max : value;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_NAME, "ghost_guard");
    guard.config = read_config(argc > 1 ? atoi(argv[1]) : -1);
    guard.due_board_fd = -1;
    guard.poll_ns = clamp(guard.config.watchdog_ns / POLLS, POLL_NS_MIN, POLL_NS_MAX);
    fcntl(guard.config.exe_fd, F_SETFD, FD_CLOEXEC);
    mlockall(MCL_CURRENT);
    sigset_t set;
    block_signals(&set);
    start_agent(-1);
    int64_t last_ns = now_ns();
    for (;;) {
        struct timespec wait = {.tv_nsec = guard.poll_ns};
        int number = sigtimedwait(&set, NULL, &wait);
        if (number > 0)
            take_signal(number);
        reap();
        limit_dump();
        map_board(&guard.agent);
        start_due_dump(false);
        leave_cpus(&guard.agent);
        if (guard.interrupt_ns != 0 && now_ns() > guard.interrupt_ns)
            kill(guard.agent.pid, SIGKILL);
        /* Time in which the guard did not run, such as that of a stopped machine, is not held
           against the agent. */
        int64_t time_ns = now_ns();
        int64_t elapsed_ns = clamp(time_ns - last_ns, 0, 2 * guard.poll_ns);
        last_ns = time_ns;
        char text[128];
        if (has_stalled(&guard.agent, elapsed_ns, guard.config.watchdog_ns, text, sizeof text))
            stalled(text, guard.config.watchdog_ns);
    }
}

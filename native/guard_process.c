/*
 * Processes of the guard: agents, and the one that writes to the kernel's files.
 */
#define _GNU_SOURCE
#include "guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENV_NAME "GHOST_GUARD="
#define ACTION_TIMEOUT_NS 2000000000ll
#define ACTION_POLL_US 1000

extern char **environ;

int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "ghost_guard: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Strings: name, watchdog in ns, on-crash, descriptor of the executable, then its arguments. */
struct guard_config read_config(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size == 0)
        fail("no settings; agents start this program, nobody else");
    size_t bytes = (size_t)status.st_size;
    char *text = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (text == MAP_FAILED || text[bytes - 1] != 0)
        fail("bad settings");
    size_t count = 0;
    for (size_t at = 0; at < bytes; at += strlen(text + at) + 1)
        count++;
    char **strings = calloc(count + 1, sizeof *strings);
    if (!strings || count < 5)
        fail("too few settings");
    count = 0;
    for (size_t at = 0; at < bytes; at += strlen(text + at) + 1)
        strings[count++] = text + at;
    close(fd);
    return (struct guard_config){
        .name = strings[0],
        .watchdog_ns = atoll(strings[1]),
        .on_crash = strings[2],
        .exe_fd = atoi(strings[3]),
        .argv = strings + 4,
    };
}

int make_board(void)
{
    int fd = memfd_create("ghost_board", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, BOARD_BYTES) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
        fail("memfd");
    return fd;
}

/* The environment with our variable in it. */
static char **environment(char *variable)
{
    size_t count = 0;
    while (environ[count])
        count++;
    char **copy = calloc(count + 2, sizeof *copy);
    if (!copy)
        return environ;
    size_t out = 0;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], ENV_NAME, strlen(ENV_NAME)) != 0)
            copy[out++] = environ[i];
    copy[out] = variable;
    return copy;
}

static void keep_open(int fd)
{
    if (fd >= 0)
        fcntl(fd, F_SETFD, 0);
}

/*
 * A process group of its own, since the terminal sends SIGINT to all of a group, and the guard
 * passes it on. The kernel sends it SIGTERM when the guard dies: its agents leave then.
 */
pid_t spawn_agent(const struct guard_config *config, const char *mode, int board_fd, int old_fd,
                  const char *end_text)
{
    char variable[64 + END_TEXT_BYTES], path[32];
    snprintf(variable, sizeof variable, ENV_NAME "%.8s:%d:%d%.*s", mode, board_fd, old_fd,
             END_TEXT_BYTES, end_text);
    snprintf(path, sizeof path, "/proc/self/fd/%d", config->exe_fd);
    char **envp = environment(variable);
    pid_t guard = getpid();
    pid_t pid = fork();
    if (pid != 0) {
        if (envp != environ)
            free(envp);
        return pid;
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != guard)
        _exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    keep_open(board_fd);
    keep_open(old_fd);
    execve(path, config->argv, envp);
    fail("cannot start the agent");
    return -1;
}

/* The next pair of strings of the board; NULL at the end. The board may be of a broken agent. */
static const char *next_string(const struct agent *agent, uint64_t *at)
{
    uint64_t end = BOARD_ACTIONS_OFFSET + BOARD_ACTIONS_BYTES;
    const char *text = (const char *)agent->map + *at;
    size_t length = strnlen(text, end - *at);
    if (length == 0 || *at + length >= end)
        return NULL;
    *at += length + 1;
    return text;
}

static void write_actions(const struct agent *agent)
{
    uint64_t at = BOARD_ACTIONS_OFFSET;
    for (;;) {
        const char *path = next_string(agent, &at);
        const char *text = path ? next_string(agent, &at) : NULL;
        if (!text)
            return;
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t written = fd < 0 ? -1 : write(fd, text, strlen(text));
        if (written < 0 && errno != ENOENT && errno != ENODEV && errno != EXDEV)
            fprintf(stderr, "ghost_guard: cannot write %s to %s: %s\n", text, path,
                    strerror(errno));
        if (fd >= 0)
            close(fd);
    }
}

/* The kernel may hold the write up; the guard waits for a while only. */
bool run_actions(const struct agent *agent)
{
    uint64_t at = BOARD_ACTIONS_OFFSET;
    if (!agent->map || !next_string(agent, &at))
        return false;
    pid_t pid = fork();
    if (pid == 0) {
        write_actions(agent);
        _exit(0);
    }
    int64_t end_ns = now_ns() + ACTION_TIMEOUT_NS;
    while (waitpid(pid, NULL, WNOHANG) == 0 && now_ns() < end_ns)
        usleep(ACTION_POLL_US);
    return true;
}

bool has_enclave(const struct agent *agent)
{
    uint64_t at = BOARD_ACTIONS_OFFSET;
    const char *path = agent->map ? next_string(agent, &at) : NULL;
    return !path || access(path, F_OK) == 0 || errno != ENOENT;
}

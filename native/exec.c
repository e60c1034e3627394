/*
 * Turns this process into another program, as if its caller had started it: without what a
 * runtime has done to signals and limits. The process keeps its id, so that no parent has to
 * forward signals to it or to wait for it.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* An ignored SIGHUP is the caller's wish (nohup); everything else is the runtime's doing. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    struct sigaction old;
    sigset_t none;
    for (int number = 1; number < NSIG; number++) {
        if (number == SIGHUP && sigaction(number, NULL, &old) == 0
            && old.sa_handler == SIG_IGN)
            continue;
        sigaction(number, &action, NULL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_soft_file_limit(double file_count)
{
    struct rlimit limit;
    if (file_count < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if ((rlim_t)file_count <= limit.rlim_max)
        limit.rlim_cur = (rlim_t)file_count;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* The strings of a block, each with its zero byte; NULL without memory. */
static char **string_list(char *block, int32_t count)
{
    char **list = calloc((size_t)count + 1, sizeof(*list));
    for (int32_t i = 0; list != NULL && i < count; i++) {
        list[i] = block;
        while (*block++ != '\0')
            ;
    }
    return list;
}

/*
 * Returns only if it fails: -errno. The program is looked for in PATH. A negative `file_count`
 * leaves the soft limit of open files as it is.
 */
SHIM_API int32_t shim_exec(char *arguments, int32_t argument_count, char *variables,
                           int32_t variable_count, double file_count)
{
    int32_t result;
    char **argv = string_list(arguments, argument_count);
    char **envp = string_list(variables, variable_count);
    if (argv == NULL || envp == NULL || argument_count < 1) {
        free(argv);
        free(envp);
        return argument_count < 1 ? -EINVAL : -ENOMEM;
    }
    reset_signals();
    set_soft_file_limit(file_count);
    execvpe(argv[0], argv, envp);
    result = -errno;
    free(argv);
    free(envp);
    return result;
}

/*
 * The guard's program, carried inside the shim, so that it is wherever the shim is and nothing is
 * written to disk: it runs from a memfd.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u /* Linux 6.3 */
#endif

extern const char guard_image_begin[], guard_image_end[];
extern char **environ;

/* GUARD_FILE: the guard's executable, made just before (ffi/build.ts). */
__asm__(".pushsection .rodata\n"
        ".balign 16\n"
        ".hidden guard_image_begin\n"
        ".globl guard_image_begin\n"
        "guard_image_begin:\n"
        ".incbin \"" GUARD_FILE "\"\n"
        ".hidden guard_image_end\n"
        ".globl guard_image_end\n"
        "guard_image_end:\n"
        ".byte 0\n"
        ".popsection\n");

/* A memfd whose file may be executed, also where vm.memfd_noexec is 1. */
static int guard_memfd(void)
{
    int fd = memfd_create("ghost_guard", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("ghost_guard", MFD_CLOEXEC);
    return fd;
}

/*
 * Turns this process into the guard, which finds its settings in `config_fd`. Returns only if that
 * failed, with -errno.
 */
SHIM_API int32_t shim_become_guard(int32_t config_fd)
{
    char number[16];
    char *argv[] = {"ghost_guard", number, NULL};
    snprintf(number, sizeof number, "%d", config_fd);
    int fd = guard_memfd();
    if (fd < 0)
        return -errno;
    const char *at = guard_image_begin;
    while (at < guard_image_end) {
        ssize_t written = write(fd, at, (size_t)(guard_image_end - at));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        at += written;
    }
    if (at == guard_image_end)
        fexecve(fd, argv, environ);
    int error = errno;
    close(fd);
    return -error;
}

/*
 * Files of other processes, for memory that an application shares with the agent. The application
 * is not trusted: nothing here asks a filesystem that the application may serve itself (FUSE),
 * since such a filesystem need never answer.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Longest link text that is compared: "/memfd:", 249 bytes of name, " (deleted)". */
#define LINK_BYTES 512

static int link_equals(int dir_fd, const char *name, const char *text)
{
    char link[LINK_BYTES];
    ssize_t length = readlinkat(dir_fd, name, link, sizeof(link));
    return length >= 0 && (size_t)length == strlen(text) &&
           memcmp(link, text, (size_t)length) == 0;
}

/* A handle that gives access to nothing (O_PATH), or -ENOENT if it is another file by now. */
static int32_t open_path(int dir_fd, const char *name, const char *text)
{
    char own_name[32];
    int fd = openat(dir_fd, name, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(own_name, sizeof(own_name), "/proc/self/fd/%d", fd);
    if (link_equals(AT_FDCWD, own_name, text))
        return fd;
    close(fd);
    return -ENOENT;
}

/*
 * The first descriptor of a process whose link in /proc/PID/fd reads exactly `text`, as an O_PATH
 * descriptor: the file is not opened, so that neither a driver nor a filesystem hears of it.
 * -ESRCH: no such process; -ENOENT: no such descriptor; -E2BIG: not among the first `fd_count`.
 */
SHIM_API int32_t shim_open_named_fd(int32_t pid, const char *text, int32_t fd_count)
{
    char path[32];
    int32_t result = -ENOENT;
    const struct dirent *entry;
    DIR *fds;
    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    fds = opendir(path);
    if (fds == NULL)
        return errno == ENOENT ? -ESRCH : -errno;
    while (result == -ENOENT && (entry = readdir(fds)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (fd_count-- <= 0)
            result = -E2BIG;
        else if (link_equals(dirfd(fds), entry->d_name, text))
            result = open_path(dirfd(fds), entry->d_name, text);
    }
    closedir(fds);
    return result;
}

/*
 * Number of the mount that a file is on. All memfds without huge pages are on one mount inside the
 * kernel: a file on the same mount as a memfd of our own is a memfd. Unlike fstatfs() and fstat(),
 * this asks no filesystem.
 */
SHIM_API int32_t shim_mount_id(int32_t fd)
{
    char path[40], line[128];
    int32_t mount_id = -ENODATA;
    FILE *info;
    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    info = fopen(path, "re");
    if (info == NULL)
        return errno == ENOENT ? -EBADF : -errno;
    while (mount_id < 0 && fgets(line, sizeof(line), info) != NULL)
        if (sscanf(line, "mnt_id: %d", &mount_id) != 1)
            mount_id = -ENODATA;
    fclose(info);
    return mount_id;
}

/* Size of a file in bytes. */
SHIM_API double shim_file_size(int32_t fd)
{
    struct stat status;
    return fstat(fd, &status) < 0 ? -(double)errno : (double)status.st_size;
}

/*
 * A process that holds a file which looks like shared memory in /proc/PID/fd, but is served by the
 * process itself (FUSE): every request to it can be left without an answer. After "ready" it
 * answers nothing until stdin ends, then says how many requests came meanwhile. Says "none" and
 * the errno where FUSE cannot be mounted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/mount.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILE_NODE 2
#define REQUEST_BYTES (1 << 17)

static int device;
static atomic_int mute, muted_count;

static void reply(const struct fuse_in_header *request, int error, const void *body, size_t bytes)
{
    struct fuse_out_header head = {
        .len = (uint32_t)(sizeof(head) + bytes), .error = error, .unique = request->unique,
    };
    struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)(uintptr_t)body, bytes}};
    if (writev(device, parts, 2) < 0)
        return;
}

static struct fuse_attr attributes(uint64_t node)
{
    struct fuse_attr found = {.ino = node, .nlink = 1};
    found.mode = node == FILE_NODE ? S_IFREG | 0666 : S_IFDIR | 0777;
    return found;
}

static void answer(const struct fuse_in_header *request)
{
    struct fuse_init_out init = {
        .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096,
    };
    struct fuse_entry_out entry = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
    struct fuse_attr_out attr = {.attr = attributes(request->nodeid)};
    struct fuse_open_out opened = {.fh = 1};
    switch (request->opcode) {
    case FUSE_INIT:
        return reply(request, 0, &init, sizeof(init));
    case FUSE_LOOKUP:
        return reply(request, 0, &entry, sizeof(entry));
    case FUSE_GETATTR:
        return reply(request, 0, &attr, sizeof(attr));
    case FUSE_OPEN:
        return reply(request, 0, &opened, sizeof(opened));
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        return;
    default:
        return reply(request, -ENOSYS, NULL, 0);
    }
}

static void *serve(void *unused)
{
    char *buffer = malloc(REQUEST_BYTES);
    (void)unused;
    while (buffer != NULL && read(device, buffer, REQUEST_BYTES) > 0) {
        if (mute)
            muted_count++;
        else
            answer((const struct fuse_in_header *)buffer);
    }
    return NULL;
}

static int none(void)
{
    printf("none %d\n", errno);
    return 0;
}

/* A mount that is in no namespace: paths in it begin at its own root. */
static int mount_fuse(void)
{
    char fd_text[16];
    int context = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC);
    const char *options[][2] = {
        {"fd", fd_text}, {"rootmode", "40000"}, {"user_id", "0"}, {"group_id", "0"},
    };
    snprintf(fd_text, sizeof(fd_text), "%d", device);
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0))
            return -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
        return -1;
    return (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
}

int main(void)
{
    pthread_t server;
    int mount_fd, file;
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0 || (mount_fd = mount_fuse()) < 0)
        return none();
    pthread_create(&server, NULL, serve, NULL);
    file = openat(mount_fd, "memfd:ghost-shmem-imposter (deleted)", O_RDWR | O_CLOEXEC);
    if (file < 0)
        return none();
    /* The kernel learns that there is no flush: else the end of a killed process would wait. */
    close(dup(file));
    mute = 1;
    puts("ready");
    fflush(stdout);
    while (read(0, &(char){0}, 1) > 0)
        ;
    /* Closing sends a request, which the server must still be there to answer. */
    mute = 0;
    close(file);
    close(mount_fd);
    printf("requests %d\n", muted_count);
    return 0;
}

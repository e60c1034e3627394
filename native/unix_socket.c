/*
 * Unix stream sockets that carry a file descriptor beside bytes (SCM_RIGHTS). Nothing here waits
 * for long: the sockets are made non-blocking and are waited for with poll. Addresses are bytes
 * without the family; a leading zero byte means the abstract namespace.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME_AT offsetof(struct sockaddr_un, sun_path)
/* Room for more than one descriptor, so that those nobody asked for are seen and closed. */
#define FDS_MAX 16

SHIM_API int32_t shim_unix_socket(void)
{
    return shim_rc(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* Binds to a free name of the abstract namespace, which the kernel picks. */
SHIM_API int32_t shim_unix_autobind(int32_t fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    return shim_rc(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)));
}

SHIM_API int32_t shim_listen(int32_t fd, int32_t backlog)
{
    return shim_rc(listen(fd, backlog));
}

/*
 * Writes the socket's name into `name` and returns its length, which is that of the whole name
 * even if only `capacity` bytes of it were written.
 */
SHIM_API int32_t shim_unix_name(int32_t fd, uint8_t *name, int32_t capacity)
{
    struct sockaddr_un address;
    socklen_t size = sizeof(address);
    size_t length;
    if (getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -errno;
    if (address.sun_family != AF_UNIX)
        return -EAFNOSUPPORT;
    length = size - NAME_AT;
    if (capacity > 0)
        memcpy(name, address.sun_path,
               length < (size_t)capacity ? length : (size_t)capacity);
    return (int32_t)length;
}

SHIM_API int32_t shim_unix_connect(int32_t fd, const uint8_t *name, int32_t length)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int result;
    if (length < 0 || (size_t)length > sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path, name, (size_t)length);
    do {
        result = connect(fd, (struct sockaddr *)&address, (socklen_t)(NAME_AT + (size_t)length));
    } while (result < 0 && errno == EINTR);
    return shim_rc(result);
}

/* Accepts a connection; the new socket does not block. */
SHIM_API int32_t shim_accept(int32_t fd)
{
    int connection;
    do {
        connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (connection < 0 && errno == EINTR);
    return shim_rc(connection);
}

/* Ends both directions of a socket; who waits for it is woken. */
SHIM_API int32_t shim_shutdown(int32_t fd)
{
    return shim_rc(shutdown(fd, SHUT_RDWR));
}

/* Sends bytes and, unless it is negative, a descriptor. A peer that has gone gives -EPIPE. */
SHIM_API int32_t shim_send_with_fd(int32_t fd, void *bytes, int32_t length, int32_t shared_fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = (size_t)length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t count;
    if (length < 0)
        return -EINVAL;
    if (shared_fd >= 0) {
        struct cmsghdr *head;
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(head), &shared_fd, sizeof(int));
    }
    do {
        count = sendmsg(fd, &message, MSG_NOSIGNAL);
    } while (count < 0 && errno == EINTR);
    return shim_rc(count);
}

/* The one descriptor of a message, or -1; several are closed, since nobody asked for them. */
static int32_t only_fd(struct msghdr *message)
{
    int fds[FDS_MAX], fd_count = 0;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL;
         head = CMSG_NXTHDR(message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        int count = (int)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        if (count > FDS_MAX - fd_count)
            count = FDS_MAX - fd_count;
        memcpy(fds + fd_count, CMSG_DATA(head), (size_t)count * sizeof(int));
        fd_count += count;
    }
    if (fd_count == 1)
        return fds[0];
    while (fd_count > 0)
        close(fds[--fd_count]);
    return -1;
}

/*
 * Receives bytes and, if the sender sent exactly one, a descriptor into *shared_fd; else -1 goes
 * there. Returns the bytes received, 0 when the peer has closed.
 */
SHIM_API int32_t shim_recv_with_fd(int32_t fd, void *bytes, int32_t length, int32_t *shared_fd)
{
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = (size_t)length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    ssize_t count;
    *shared_fd = -1;
    if (length < 0)
        return -EINVAL;
    do {
        message.msg_controllen = sizeof(control.bytes);
        count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (count < 0 && errno == EINTR);
    if (count >= 0)
        *shared_fd = only_fd(&message);
    return shim_rc(count);
}

/*
 * The shim: the system calls that the agent needs and V8 cannot make. File descriptors, mappings,
 * futexes, event descriptors, the clock. Threads are in thread.c and satellite.c, locking of
 * memory and fences in memory.c.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NS_PER_S 1000000000.0

SHIM_API int32_t shim_version(void)
{
    return SHIM_VERSION;
}

/* Any system call; for the control path, where a call is too rare to have its own function. */
SHIM_API double shim_syscall(int32_t number, double a, double b, double c, double d, double e,
                             double f)
{
    return shim_rc_f64(syscall(number, (long)a, (long)b, (long)c, (long)d, (long)e, (long)f));
}

/* ---- file descriptors ---- */

SHIM_API int32_t shim_openat(int32_t dir_fd, const char *path, int32_t flags, int32_t mode)
{
    return shim_rc(openat(dir_fd, path, flags, mode));
}

/* Not repeated after EINTR: Linux has released the descriptor by then. */
SHIM_API int32_t shim_close(int32_t fd)
{
    return shim_rc(close(fd));
}

SHIM_API int32_t shim_read(int32_t fd, void *buffer, int32_t length)
{
    ssize_t count;
    if (length < 0)
        return -EINVAL;
    do {
        count = read(fd, buffer, (size_t)length);
    } while (count < 0 && errno == EINTR);
    return shim_rc(count);
}

SHIM_API int32_t shim_pread(int32_t fd, void *buffer, int32_t length, double offset)
{
    ssize_t count;
    if (length < 0)
        return -EINVAL;
    do {
        count = pread(fd, buffer, (size_t)length, (off_t)offset);
    } while (count < 0 && errno == EINTR);
    return shim_rc(count);
}

SHIM_API int32_t shim_write(int32_t fd, const void *buffer, int32_t length)
{
    ssize_t count;
    if (length < 0)
        return -EINVAL;
    do {
        count = write(fd, buffer, (size_t)length);
    } while (count < 0 && errno == EINTR);
    return shim_rc(count);
}

/* Not repeated after EINTR: whether a ghOSt ioctl may be repeated is the caller's knowledge. */
SHIM_API int32_t shim_ioctl(int32_t fd, uint32_t code, double argument)
{
    return shim_rc(ioctl(fd, (unsigned long)code, shim_pointer(argument)));
}

SHIM_API int32_t shim_ioctl_buffer(int32_t fd, uint32_t code, void *argument)
{
    return shim_rc(ioctl(fd, (unsigned long)code, argument));
}

SHIM_API int32_t shim_fcntl(int32_t fd, int32_t command, double argument)
{
    return shim_rc(fcntl(fd, command, (long)argument));
}

SHIM_API int32_t shim_memfd_create(const char *name, uint32_t flags)
{
    return shim_rc(syscall(SYS_memfd_create, name, flags));
}

SHIM_API int32_t shim_ftruncate(int32_t fd, double length)
{
    return shim_rc(ftruncate(fd, (off_t)length));
}

/* ---- mappings ---- */

SHIM_API double shim_mmap(double address, double length, int32_t protection, int32_t flags,
                          int32_t fd, double offset)
{
    void *mapped = mmap(shim_pointer(address), (size_t)length, protection, flags, fd,
                        (off_t)offset);
    return mapped == MAP_FAILED ? -(double)errno : (double)(uintptr_t)mapped;
}

SHIM_API int32_t shim_munmap(double address, double length)
{
    return shim_rc(munmap(shim_pointer(address), (size_t)length));
}

SHIM_API void *shim_address_to_pointer(double address)
{
    return shim_pointer(address);
}

SHIM_API double shim_pointer_to_address(const void *pointer)
{
    return (double)(uintptr_t)pointer;
}

/* ---- time ---- */

SHIM_API double shim_clock_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * NS_PER_S + (double)now.tv_nsec;
}

struct timespec shim_deadline(double timeout_ns)
{
    double at_ns = shim_clock_monotonic_ns() + timeout_ns;
    struct timespec deadline;
    /* 2^31 s is past any run and keeps the kernel from refusing the value. */
    double seconds = at_ns / NS_PER_S > INT_MAX ? INT_MAX : at_ns / NS_PER_S;
    deadline.tv_sec = (time_t)seconds;
    deadline.tv_nsec = (long)(at_ns - (double)deadline.tv_sec * NS_PER_S);
    if (deadline.tv_nsec < 0 || deadline.tv_nsec > 999999999)
        deadline.tv_nsec = 0;
    return deadline;
}

/* ---- futexes: never FUTEX_PRIVATE, since applications wait on the same words by shared memory */

int32_t shim_futex_wait_word(uint32_t *word, uint32_t expected, double timeout_ns)
{
    struct timespec deadline, *until = NULL;
    long result;
    if (timeout_ns >= 0) {
        deadline = shim_deadline(timeout_ns);
        until = &deadline;
    }
    do {
        result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL,
                         FUTEX_BITSET_MATCH_ANY);
    } while (result < 0 && errno == EINTR);
    return shim_rc(result);
}

int32_t shim_futex_wake_word(uint32_t *word, int32_t count)
{
    return shim_rc(syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0));
}

SHIM_API int32_t shim_futex_wait(double address, int32_t expected, double timeout_ns)
{
    return shim_futex_wait_word(shim_pointer(address), (uint32_t)expected, timeout_ns);
}

SHIM_API int32_t shim_futex_wake(double address, int32_t count)
{
    return shim_futex_wake_word(shim_pointer(address), count);
}

/* ---- event descriptors ---- */

SHIM_API int32_t shim_eventfd(uint32_t initial, int32_t flags)
{
    return shim_rc(eventfd(initial, flags));
}

/* Returns the counter, which a counting eventfd sets back to zero. */
SHIM_API double shim_eventfd_read(int32_t fd)
{
    uint64_t value = 0;
    ssize_t count;
    do {
        count = read(fd, &value, sizeof(value));
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -(double)errno : (double)value;
}

SHIM_API int32_t shim_eventfd_write(int32_t fd, double value)
{
    uint64_t add = (uint64_t)value;
    ssize_t count;
    do {
        count = write(fd, &add, sizeof(add));
    } while (count < 0 && errno == EINTR);
    return count < 0 ? -errno : 0;
}

/* Waits for events of one descriptor: the events that came, 0 at the timeout. */
SHIM_API int32_t shim_poll(int32_t fd, int32_t events, double timeout_ns)
{
    struct pollfd entry = {.fd = fd, .events = (short)events, .revents = 0};
    double end_ns = shim_clock_monotonic_ns() + timeout_ns;
    int count;
    do {
        double left_ns = end_ns - shim_clock_monotonic_ns();
        struct timespec left = {0, 0};
        if (timeout_ns >= 0 && left_ns > 0) {
            left.tv_sec = (time_t)(left_ns / NS_PER_S);
            left.tv_nsec = (long)(left_ns - (double)left.tv_sec * NS_PER_S);
        }
        count = ppoll(&entry, 1, timeout_ns < 0 ? NULL : &left, NULL);
    } while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    /* ppoll reports a closed descriptor as an event; callers expect an error. */
    return (entry.revents & POLLNVAL) != 0 ? -EBADF : entry.revents;
}

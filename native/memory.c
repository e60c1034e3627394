/*
 * Memory order and memory locking.
 *
 * mlockall() breaks V8, which gives pages back with madvise() and cannot on locked ones. Locked
 * are therefore the file-backed mappings (code and constants of the executable and its libraries)
 * and the regions that the agent names.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

SHIM_API void shim_fence_acquire(void)
{
    atomic_thread_fence(memory_order_acquire);
}

SHIM_API void shim_fence_release(void)
{
    atomic_thread_fence(memory_order_release);
}

SHIM_API void shim_fence_full(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* Stores words[index] after everything written before. */
SHIM_API void shim_publish_i32(double words, int32_t index, int32_t value)
{
    __atomic_store_n((int32_t *)shim_pointer(words) + index, value, __ATOMIC_RELEASE);
}

/* Loads words[index]; later reads see what was written before it was published. */
SHIM_API int32_t shim_acquire_i32(double words, int32_t index)
{
    return __atomic_load_n((int32_t *)shim_pointer(words) + index, __ATOMIC_ACQUIRE);
}

static double limit_bytes(rlim_t limit)
{
    return limit == RLIM_INFINITY ? INFINITY : (double)limit;
}

/*
 * Raises RLIMIT_MEMLOCK to infinity where that is allowed, else the soft limit to the hard one.
 * Returns the soft limit that holds afterwards, in bytes.
 */
SHIM_API double shim_raise_memlock_limit(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) == 0)
        return INFINITY;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return -(double)errno;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0)
        return -(double)errno;
    return limit_bytes(limit.rlim_cur);
}

SHIM_API int32_t shim_lock_region(double address, double length)
{
    return shim_rc(mlock(shim_pointer(address), (size_t)length));
}

SHIM_API int32_t shim_unlock_region(double address, double length)
{
    return shim_rc(munlock(shim_pointer(address), (size_t)length));
}

/* Reads one line of /proc/self/maps; true if it is a readable mapping of a regular file. */
static int parse_file_mapping(const char *line, unsigned long *start, unsigned long *end)
{
    char access[8];
    unsigned long inode;
    int path_at = 0;
    if (sscanf(line, "%lx-%lx %7s %*s %*s %lu %n", start, end, access, &inode, &path_at) < 4)
        return 0;
    return access[0] == 'r' && inode != 0 && line[path_at] == '/' &&
           strncmp(line + path_at, "/dev/", 5) != 0;
}

/*
 * Locks every file-backed mapping. `result` receives {locked bytes, bytes that could not be
 * locked, locked mappings}. Returns 0, or the -errno of the first mapping that failed; the others
 * are tried all the same, since each page that is locked helps.
 */
SHIM_API int32_t shim_lock_file_mappings(double *result)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char *line = NULL;
    size_t capacity = 0;
    int32_t first_error = 0;
    unsigned long start, end;
    memset(result, 0, 3 * sizeof(*result));
    if (maps == NULL)
        return -errno;
    while (getline(&line, &capacity, maps) > 0) {
        if (!parse_file_mapping(line, &start, &end))
            continue;
        if (mlock((void *)start, end - start) == 0) {
            result[0] += (double)(end - start);
            result[2] += 1;
            continue;
        }
        if (first_error == 0)
            first_error = -errno;
        result[1] += (double)(end - start);
    }
    free(line);
    fclose(maps);
    return first_error;
}

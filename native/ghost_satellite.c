/*
 * Satellites of the ghOSt kernel. Codes and the text of `become agent` come from the caller, which
 * knows the ABI version. An agent leaves by the end of its thread.
 */
#define _GNU_SOURCE
#include "satellite.h"

#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { AT_CTL_FD = SATELLITE_WHERE, AT_COMMAND, AT_POLICY, AT_INFO_CODE, AT_RUN_CODE,
       AT_WORDS, AT_WORD_BYTES };

#define GHOST_AGENT 0 /* what an SW_GET_INFO is about */

struct ghost_ioc_sw_get_info {
    uint32_t type;
    uint32_t unused;
    uint64_t arg;
    uint32_t id, index;
};

struct ghost_ioc_run {
    int64_t gtid;
    uint32_t agent_barrier, unused;
    int32_t run_cpu, run_flags;
};

struct ghost_satellite {
    int32_t ctl_fd;
    int32_t cpu;
    unsigned long run_code;
    const uint32_t *barrier;
};

static int32_t begin(void *own, const double *where)
{
    struct ghost_satellite *self = own;
    const char *command = shim_pointer(where[AT_COMMAND]);
    struct ghost_ioc_sw_get_info info = {.type = GHOST_AGENT};
    self->ctl_fd = (int32_t)where[AT_CTL_FD];
    self->cpu = (int32_t)where[SATELLITE_CPU];
    self->run_code = (unsigned long)where[AT_RUN_CODE];
    if (write(self->ctl_fd, command, strlen(command)) < 0)
        return -errno;
    if (sched_getscheduler(0) != (int)where[AT_POLICY] || sched_getcpu() != self->cpu)
        return -EINVAL;
    info.arg = (uint64_t)self->cpu;
    if (ioctl(self->ctl_fd, (unsigned long)where[AT_INFO_CODE], &info) < 0)
        return -errno;
    self->barrier = shim_pointer(where[AT_WORDS] + info.index * where[AT_WORD_BYTES]);
    return (int32_t)info.index;
}

static int32_t run(const struct ghost_satellite *self, int64_t gtid, uint32_t barrier)
{
    struct ghost_ioc_run run = {.gtid = gtid, .agent_barrier = barrier, .run_cpu = self->cpu};
    return shim_rc(ioctl(self->ctl_fd, self->run_code, &run));
}

static int32_t give(void *own)
{
    const struct ghost_satellite *self = own;
    /* A message or a ping since this reading makes the yield return at once. */
    return run(self, 0, __atomic_load_n(self->barrier, __ATOMIC_ACQUIRE));
}

static void wake(void *own)
{
    run(own, -1, 0);
}

const struct satellite_kind satellite_ghost = {begin, give, NULL, wake,
                                               sizeof(struct ghost_satellite)};

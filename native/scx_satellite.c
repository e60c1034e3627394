/*
 * Satellites under sched_ext.
 */
#include "ghost_abi.h"
#include "satellite.h"

SHIM_API double shim_scx_become_agent(const double *where);
SHIM_API int32_t shim_scx_agent_word(double handle);
SHIM_API int32_t shim_scx_local_yield(double handle, int32_t barrier, u32 run_flags);
SHIM_API double shim_scx_call(int32_t fd, u32 op, u32 enclave, s32 a, s32 b, s32 lo, s32 hi);
SHIM_API int32_t shim_scx_leave(double handle);

/* After these come the numbers of shim_scx_become_agent(). */
enum { AT_CONTROL_FD = SATELLITE_WHERE, AT_ENCLAVE, AT_WORDS, AT_PLACE };

struct scx_satellite {
    double handle;
    int32_t control_fd;
    int32_t cpu;
    u32 enclave;
    const u32 *barrier;
};

static int32_t begin(void *own, const double *where)
{
    struct scx_satellite *self = own;
    const struct ghost_sw_region *region = shim_pointer(where[AT_WORDS]);
    int32_t index;
    self->control_fd = (int32_t)where[AT_CONTROL_FD];
    self->enclave = (u32)where[AT_ENCLAVE];
    self->cpu = (int32_t)where[SATELLITE_CPU];
    self->handle = shim_scx_become_agent(where + AT_PLACE);
    if (self->handle < 0)
        return (int32_t)self->handle;
    index = shim_scx_agent_word(self->handle);
    self->barrier = &region->words[index].barrier;
    return index;
}

static int32_t give(void *own)
{
    const struct scx_satellite *self = own;
    /* A message or a ping since this reading makes the yield return at once. */
    u32 barrier = __atomic_load_n(self->barrier, __ATOMIC_ACQUIRE);
    return shim_scx_local_yield(self->handle, (int32_t)barrier, 0);
}

static void end(void *own)
{
    const struct scx_satellite *self = own;
    shim_scx_leave(self->handle);
}

static void wake(void *own)
{
    const struct scx_satellite *self = own;
    shim_scx_call(self->control_fd, SCX_OP_AGENT_WAKE, self->enclave, self->cpu, 1, 0, 0);
}

const struct satellite_kind satellite_scx = {begin, give, end, wake, sizeof(struct scx_satellite)};

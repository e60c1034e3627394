/*
 * Satellites of the native peer.
 */
#include "peer.h"
#include "satellite.h"

SHIM_API int32_t shim_peer_become_agent(double handle, int32_t cpu_id, int32_t queue_id);
SHIM_API int32_t shim_peer_local_yield(double handle, int32_t cpu_id, int32_t barrier,
                                       int32_t run_flags);
SHIM_API int32_t shim_peer_leave(double handle, int32_t cpu_id);

enum { AT_HANDLE = SATELLITE_WHERE, AT_QUEUE };

struct peer_satellite {
    double peer;
    int32_t cpu;
    int32_t word_index;
};

static int32_t begin(void *own, const double *where)
{
    struct peer_satellite *self = own;
    self->peer = where[AT_HANDLE];
    self->cpu = (int32_t)where[SATELLITE_CPU];
    self->word_index = shim_peer_become_agent(self->peer, self->cpu, (int32_t)where[AT_QUEUE]);
    return self->word_index;
}

static int32_t give(void *own)
{
    struct peer_satellite *self = own;
    struct ghost_status_word *word = peer_word(shim_pointer(self->peer), self->word_index);
    /* A message or a ping since this reading makes the yield return at once. */
    uint32_t barrier = __atomic_load_n(&word->barrier, __ATOMIC_ACQUIRE);
    return shim_peer_local_yield(self->peer, self->cpu, (int32_t)barrier, 0);
}

static void leave(void *own)
{
    struct peer_satellite *self = own;
    shim_peer_leave(self->peer, self->cpu);
}

const struct satellite_kind satellite_peer = {begin, give, NULL, leave,
                                              sizeof(struct peer_satellite)};

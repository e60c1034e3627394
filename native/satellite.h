/*
 * Satellites: C threads that are agents of CPUs whose agents never run a policy. They need no
 * isolate. What differs by kernel is in a struct satellite_kind.
 */
#ifndef GHOST_SATELLITE_H
#define GHOST_SATELLITE_H

#include "shim.h"

/* The first numbers of every `where` (ffi/satellite.ts); each kind has its own after them. */
enum { SATELLITE_CPU, SATELLITE_PIN_CPU, SATELLITE_WHERE };
#define SATELLITE_WHERE_MAX 16

struct satellite_kind {
    /* Makes the calling thread the agent. Returns the index of its status word, or -errno. */
    int32_t (*begin)(void *own, const double *where);
    /* Gives the CPU away until the agent is woken: 0; -ESTALE: again; else the satellite ends. */
    int32_t (*give)(void *own);
    /* In the thread, at its end; may be NULL. */
    void (*end)(void *own);
    /* From another thread: give() returns soon, or at once if it is called later. */
    void (*wake)(void *own);
    uint32_t own_bytes;
};

extern const struct satellite_kind satellite_peer, satellite_ghost, satellite_scx;

#endif

/*
 * What the shim's source files share.
 *
 * Conventions, so that a call from V8 needs no BigInt and no slow path:
 *   - 32-bit values are int32_t or uint32_t; addresses, lengths and times are double (exact to
 *     2^53), never int64_t;
 *   - a failure is -errno, taken here, because errno is gone once V8 has run.
 */
#ifndef GHOST_SHIM_H
#define GHOST_SHIM_H

#include <errno.h>
#include <stdint.h>
#include <time.h>

/* Raised with every change of a signature; ffi/shim.ts refuses a library of another version. */
#define SHIM_VERSION 5

/* The library is built with hidden visibility: only these names can be looked up. */
#define SHIM_API __attribute__((visibility("default")))

static inline int32_t shim_rc(long result)
{
    return result < 0 ? -errno : (int32_t)result;
}

static inline double shim_rc_f64(long result)
{
    return result < 0 ? -(double)errno : (double)result;
}

static inline void *shim_pointer(double address)
{
    return (void *)(uintptr_t)address;
}

/* CLOCK_MONOTONIC in ns. */
double shim_clock_monotonic_ns(void);

/* Absolute CLOCK_MONOTONIC time `timeout_ns` from now, so that a restart after EINTR is exact. */
struct timespec shim_deadline(double timeout_ns);

/* Waits while *word == expected; a negative timeout waits for ever. 0, -EAGAIN or -ETIMEDOUT. */
int32_t shim_futex_wait_word(uint32_t *word, uint32_t expected, double timeout_ns);
int32_t shim_futex_wake_word(uint32_t *word, int32_t count);

/* The calling thread enters an enclave of the scx program: 0 or -errno. */
int32_t scx_join_self(int32_t control_fd, uint32_t enclave);

/* Blocks every signal that another thread can take; saves the old mask if `old` is not NULL. */
int32_t shim_block_signals_save(void *old_sigset);

#endif

/**
 * Constants of the Linux user ABI for the shim's calls; only those that x86-64 and arm64 share.
 *
 * @module
 */

/** `openat`: relative paths start at the working directory. */
export const AT_FDCWD = -100;
/** Flags of `openat`. */
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_TRUNC = 0o1000;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const O_PATH = 0o10000000;

/** Protection of a mapping. */
export const PROT_READ = 1;
export const PROT_WRITE = 2;
/** Flags of `mmap`. */
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_POPULATE = 0x8000;

/** Commands of `fcntl`. */
export const F_DUPFD_CLOEXEC = 1030;
export const F_SETFD = 2;
export const FD_CLOEXEC = 1;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_ADD_SEALS = 1033;
export const F_GET_SEALS = 1034;
/** Seals of a memfd; SHRINK and GROW keep a mapping of it from SIGBUS. */
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;
/** Flags of `memfd_create`. */
export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;

/** ioctl that every descriptor takes: close it on exec. */
export const FIOCLEX = 0x5451;
/** Operations of `flock`. */
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

/** Flags of `timerfd_create` and `timerfd_settime`. */
export const CLOCK_MONOTONIC = 1;
export const TFD_CLOEXEC = 0o2000000;
export const TFD_TIMER_ABSTIME = 1;

/** Flags of `eventfd`. */
export const EFD_SEMAPHORE = 1;
export const EFD_NONBLOCK = 0o4000;
export const EFD_CLOEXEC = 0o2000000;
/** Events of `poll`. */
export const POLLIN = 1;
export const POLLPRI = 2;
export const POLLHUP = 16;

/** Scheduling policies. */
export const SCHED_OTHER = 0;
export const SCHED_FIFO = 1;
export const SCHED_BATCH = 3;
/** Bit that `schedGetscheduler` adds when the policy is not inherited by children. */
export const SCHED_RESET_ON_FORK = 0x40000000;

// Signals by number.
export const SIGUSR1 = 10;
export const SIGURG = 23;

/** Number of the capability that agents need. */
export const CAP_SYS_NICE = 23;

/** Bytes of an affinity mask as the C library has it (1024 CPUs). */
export const CPU_MASK_BYTES = 128;

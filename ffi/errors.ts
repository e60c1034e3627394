/**
 * Errors of the native side. On the scheduling path the i32 that the shim returns is the error;
 * everywhere else {@linkcode check} turns it into a {@linkcode SystemError}, which names the call,
 * the errno and the cure in one line.
 *
 * @module
 */
import { errnoName } from "./errno.ts";

const FILE_LIMIT = "raise it with `ulimit -n`, or LimitNOFILE= in the systemd unit";
const MEMLOCK = "raise the limit with `ulimit -l unlimited`, or LimitMEMLOCK=infinity in the " +
  "systemd unit, or run as root";
const BAD_FD = "the file descriptor is closed or of the wrong kind; this is a bug of the caller";

/** Cures by "call errno-name"; `*` stands for every call. */
export const CURES: Readonly<Record<string, string>> = {
  "openat ENOENT": "the path does not exist; check its spelling and that its filesystem is mounted",
  "openat EACCES": "no permission for this file; run as root or as its owner",
  "openat EPERM": "the file cannot be opened like this; run as root",
  "openat EBUSY": "somebody else has it open for himself; end the other agent or tool first",
  "openat ENXIO": "nothing answers behind this file; start its owner first",
  "openat ENOTDIR": "a part of the path is not a directory; check its spelling",
  "read EAGAIN": "nothing to read yet on a non-blocking descriptor; poll it first",
  "write EPERM": "the kernel refuses this command to this user; run as root",
  "write EACCES": "the file is open for reading only, or the command needs root",
  "write EINVAL": "the kernel does not understand the command; its ghOSt ABI may be another one",
  "write EEXIST": "it exists already; choose another id or destroy the old one",
  "write EBUSY": "the resource has an owner; end the other agent first",
  "write ESRCH": "no such thread, or the kernel does not speak this ghOSt ABI version",
  "write ENODEV": "the enclave was destroyed; start the agent again",
  "ioctl ENOTTY": "the file is no ghOSt control file, or the kernel lacks this operation",
  "ioctl ENODEV": "the enclave was destroyed; start the agent again",
  "ioctl ESTALE": "the barrier is old: messages have come since; read them and decide again",
  "ioctl EPERM": "CAP_SYS_NICE is missing; run as root or `setcap cap_sys_nice+ep` the executable",
  "ioctl EINVAL": "an argument is out of range, for example a CPU outside the enclave",
  "mmap ENOMEM": "no memory or address space left; look at `ulimit -v` and /proc/meminfo",
  "mmap EACCES": "the file is not open for this access; open it O_RDWR for a shared writable map",
  "mmap EPERM": "the file is sealed against this access, or its mount is noexec",
  "mmap EINVAL": "length is zero, or the offset is no multiple of the page size",
  "mmap ENODEV": "this file cannot be mapped",
  "munmap EINVAL": "the address is no multiple of the page size, or the length is zero",
  "mlock ENOMEM": `the locked-memory limit is reached or the range is not mapped; ${MEMLOCK}`,
  "mlock EPERM": `locking memory is not permitted; ${MEMLOCK}`,
  "mlock EAGAIN": "a page could not be locked; free memory, then try again",
  "sched_setaffinity EINVAL":
    "no CPU of the mask is online and allowed; see /sys/devices/system/cpu/online and the " +
    "cgroup's cpuset.cpus.effective",
  "sched_setaffinity EPERM": "the thread belongs to another user; run as root (CAP_SYS_NICE)",
  "sched_setaffinity ESRCH": "the thread has ended; list the threads again",
  "sched_getaffinity EINVAL": "the mask is shorter than the kernel's; pass 128 bytes or more",
  "sched_getaffinity ESRCH": "the thread has ended; list the threads again",
  "sched_setscheduler EPERM":
    "CAP_SYS_NICE is missing; run as root, `setcap cap_sys_nice+ep` the executable, or raise " +
    "RLIMIT_RTPRIO",
  "sched_setscheduler EINVAL":
    "this kernel has no such policy, or the priority is out of its range (1-99 for FIFO and RR)",
  "sched_setscheduler ESRCH": "the thread has ended; list the threads again",
  "sched_getscheduler ESRCH": "the thread has ended; list the threads again",
  "prctl ERANGE": "a thread name has at most 15 bytes; shorten it",
  "futex_wait ETIMEDOUT": "nobody woke the waiter in time; see whether the waker still runs",
  "futex_wait EAGAIN": "the word had changed already; read it again",
  "futex_wait EINVAL": "the address is no multiple of 4",
  "eventfd EINVAL": "unknown flags; use EFD_CLOEXEC, EFD_NONBLOCK, EFD_SEMAPHORE",
  "eventfd_read EAGAIN": "the counter is zero on a non-blocking eventfd; poll it first",
  "eventfd_write EAGAIN": "the counter is full on a non-blocking eventfd; read it first",
  "eventfd_write EINVAL": "write 0 to 2^64 - 2",
  "memfd_create EINVAL": "the name is longer than 249 bytes, or the flags are unknown",
  "fcntl EPERM": "the file is sealed against further seals, or was made without " +
    "MFD_ALLOW_SEALING",
  "fcntl EBUSY": "a writable mapping forbids F_SEAL_WRITE; unmap it first",
  "ftruncate EPERM": "the file is sealed against a change of its size",
  "ftruncate EINVAL": "the length is negative, or the file is not open for writing",
  "satellite EINVAL": "the CPU is not online or not allowed to this process; see " +
    "/sys/devices/system/cpu/online and the cgroup's cpuset.cpus.effective",
  "satellite EAGAIN": "no thread left; raise `ulimit -u`, or TasksMax= in the systemd unit",
  "* EPERM": "this needs more privilege; run as root",
  "* EACCES": "no permission; run as root",
  "* EBADF": BAD_FD,
  "* EFAULT": "an address is not mapped; this is a bug of the caller",
  "* ENOMEM": "no memory left; look at /proc/meminfo and the cgroup's memory.max",
  "* EMFILE": `too many open files in this process; ${FILE_LIMIT}`,
  "* ENFILE": "too many open files on this host; raise fs.file-max",
  "* ENOSPC": "no space left; free some, or ask for less",
  "* ENOSYS": "this kernel lacks the system call; use a newer one",
  "* EINVAL": "an argument is out of range",
  "* EBUSY": "the resource is in use; end its user first",
  "* ENOENT": "it does not exist; check the name",
  "* ESRCH": "no such thread or process; it has probably ended",
  "* EINTR": "a signal interrupted the call; call again",
  "* EAGAIN": "not possible at this moment; try again",
};

/**
 * What to do about a failed call.
 *
 * @param call Name of the call, for example "mmap".
 * @param errno Positive errno.
 * @returns One line without a full stop.
 */
export function cureOf(call: string, errno: number): string {
  const name = errnoName(errno);
  return CURES[`${call} ${name}`] ?? CURES[`* ${name}`] ??
    `\`errno ${errno}\` and the manual page of ${call} say more`;
}

/** A system call failed. */
export class SystemError extends Error {
  /** Name of the error class. */
  override readonly name = "SystemError";
  /** The call, for example "openat". */
  readonly call: string;
  /** Positive errno. */
  readonly errno: number;
  /** For example "ENOENT". */
  readonly errno_name: string;
  /** What to do about it. */
  readonly cure: string;

  /**
   * Makes the error of a failed call; the message names call, errno and cure.
   *
   * @param call Name of the call.
   * @param errno Positive errno.
   * @param subject What the call was about, for example a path.
   */
  constructor(call: string, errno: number, subject?: string) {
    const cure = cureOf(call, errno);
    const what = subject === undefined ? call : `${call}(${subject})`;
    super(`${what} failed with ${errnoName(errno)} (${errno}): ${cure}`);
    this.call = call;
    this.errno = errno;
    this.errno_name = errnoName(errno);
    this.cure = cure;
  }
}

/**
 * Passes a result of the shim through, unless it is an error.
 *
 * @param call Name of the call, for the message.
 * @param result What the shim returned.
 * @param subject What the call was about, for example a path.
 * @returns The result, which is not negative.
 * @throws {SystemError} If the result is −errno.
 */
export function check(call: string, result: number, subject?: string): number {
  if (result < 0) throw new SystemError(call, -result, subject);
  return result;
}

/** The shim could not be built, found or loaded. */
export class ShimError extends Error {
  /** Name of the error class. */
  override readonly name = "ShimError";
  /** What to do about it. */
  readonly cure: string;

  /**
   * Makes the error of a shim that cannot be had; the message names cause and cure.
   *
   * @param what What is wrong.
   * @param cure What to do about it.
   */
  constructor(what: string, cure: string) {
    super(`${what}: ${cure}`);
    this.cure = cure;
  }
}

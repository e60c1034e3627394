/**
 * The functions of native/: their C types for Deno.dlopen, and what they do.
 *
 * All take and give 32-bit integers and doubles only (addresses, lengths and times are doubles,
 * exact to 2^53), because anything else leaves V8's fast call path or allocates. A failure is
 * −errno: {@linkcode check} makes an error of it.
 *
 * @module
 */

/** Must equal SHIM_VERSION in native/shim.h. */
export const SHIM_VERSION = 5;

/** The native functions. Take them out of the object once; a property look-up per call is slow. */
export interface Shim {
  /** Version of the library; must equal {@linkcode SHIM_VERSION}. */
  readonly version: () => number;
  /** Any system call by its number; integers and addresses as doubles. Control path only. */
  readonly syscall: (
    number: number,
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
  ) => number;
  /** Opens a file; `path` ends with a zero byte ({@linkcode cString}). Returns the descriptor. */
  readonly openat: (
    dir_fd: number,
    path: Uint8Array<ArrayBuffer>,
    flags: number,
    mode: number,
  ) => number;
  /** Closes a descriptor. */
  readonly close: (fd: number) => number;
  /** Reads; repeats after EINTR. Returns the bytes read, 0 at the end. */
  readonly read: (fd: number, buffer: Uint8Array<ArrayBuffer>, length_bytes: number) => number;
  /** Reads at an offset, so that a control file can be read again. Returns the bytes read. */
  readonly pread: (
    fd: number,
    buffer: Uint8Array<ArrayBuffer>,
    length_bytes: number,
    offset: number,
  ) => number;
  /** Writes; repeats after EINTR. Returns the bytes written. */
  readonly write: (fd: number, buffer: Uint8Array<ArrayBuffer>, length_bytes: number) => number;
  /** ioctl with an address or a number as argument. Not repeated after EINTR. */
  readonly ioctl: (fd: number, code: number, argument: number) => number;
  /** ioctl with a struct in `argument`. Not repeated after EINTR. */
  readonly ioctlBuffer: (fd: number, code: number, argument: Uint8Array<ArrayBuffer>) => number;
  /** fcntl, for seals and descriptor flags. */
  readonly fcntl: (fd: number, command: number, argument: number) => number;
  /** Creates an anonymous file in memory; `name` ends with a zero byte. */
  readonly memfdCreate: (name: Uint8Array<ArrayBuffer>, flags: number) => number;
  /** Sets the size of a file. */
  readonly ftruncate: (fd: number, length_bytes: number) => number;
  /** Maps memory. Returns its address, or −errno. */
  readonly mmap: (
    address: number,
    length_bytes: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => number;
  /** Unmaps memory. No view of it may be touched afterwards. */
  readonly munmap: (address: number, length_bytes: number) => number;
  /** The pointer object of an address; allocates, so call it once per region. */
  readonly addressToPointer: (address: number) => Deno.PointerValue;
  /** The address of a pointer object. */
  readonly pointerToAddress: (pointer: Deno.PointerValue) => number;
  /** The address of a buffer or view. V8 does not move it while the buffer is alive. */
  readonly bufferAddress: (buffer: ArrayBufferView | ArrayBuffer) => number;
  /** CLOCK_MONOTONIC in nanoseconds. */
  readonly clockMonotonicNs: () => number;
  /** Sleeps while the word holds `expected`; timeout < 0: for ever. 0, −EAGAIN or −ETIMEDOUT. */
  readonly futexWait: (address: number, expected: number, timeout_ns: number) => number;
  /** {@linkcode futexWait} on a thread of Deno's pool. */
  readonly futexWaitAsync: (
    address: number,
    expected: number,
    timeout_ns: number,
  ) => Promise<number>;
  /** Wakes up to `count` sleepers. Returns how many. */
  readonly futexWake: (address: number, count: number) => number;
  /** Creates an event descriptor. */
  readonly eventfd: (initial: number, flags: number) => number;
  /** Takes the counter of an event descriptor; sleeps while it is zero. */
  readonly eventfdRead: (fd: number) => number;
  /** Adds to the counter of an event descriptor. */
  readonly eventfdWrite: (fd: number, value: number) => number;
  /** Waits for events of one descriptor. Returns the events, 0 at the timeout. */
  readonly poll: (fd: number, events: number, timeout_ns: number) => number;
  /** `poll` on another thread, so that the event loop goes on meanwhile. */
  readonly pollAsync: (fd: number, events: number, timeout_ns: number) => Promise<number>;
  /**
   * Finds a descriptor of a process by the exact text of its link in /proc/PID/fd, among the first
   * `fd_count`. Returns an O_PATH descriptor; −ESRCH: no process, −ENOENT: none, −E2BIG: too many.
   */
  readonly openNamedFd: (pid: number, text: Uint8Array<ArrayBuffer>, fd_count: number) => number;
  /** Number of the mount that a file is on; asks no filesystem, so that none can delay it. */
  readonly mountId: (fd: number) => number;
  /** Size of a file in bytes. */
  readonly fileSize: (fd: number) => number;
  /** Makes a Unix stream socket. */
  readonly unixSocket: () => number;
  /** Binds a Unix socket to a free abstract name. */
  readonly unixAutobind: (fd: number) => number;
  /** Lets a socket take connections. */
  readonly listen: (fd: number, backlog: number) => number;
  /** Reads the name of a Unix socket; a zero byte first means abstract. Returns its length. */
  readonly unixName: (fd: number, name: Uint8Array<ArrayBuffer>, capacity: number) => number;
  /** Connects a Unix socket to a name as `unixName` gives it. */
  readonly unixConnect: (fd: number, name: Uint8Array<ArrayBuffer>, length: number) => number;
  /** Accepts a connection as a non-blocking socket. */
  readonly accept: (fd: number) => number;
  /** Ends both directions of a socket and wakes whoever polls it. */
  readonly shutdown: (fd: number) => number;
  /** Sends bytes and a descriptor (−1: none). Returns the bytes sent; −EPIPE: nobody is there. */
  readonly sendWithFd: (
    fd: number,
    bytes: Uint8Array<ArrayBuffer>,
    length_bytes: number,
    shared_fd: number,
  ) => number;
  /** Receives bytes and one descriptor into `shared_fd` (−1: none). Returns the bytes received. */
  readonly recvWithFd: (
    fd: number,
    bytes: Uint8Array<ArrayBuffer>,
    length_bytes: number,
    shared_fd: Int32Array<ArrayBuffer>,
  ) => number;
  /** Thread id of the caller. */
  readonly gettid: () => number;
  /** The CPU that the caller is running on. */
  readonly getcpu: () => number;
  /** Gives the CPU to another thread. */
  readonly schedYield: () => number;
  /** Reads the affinity of a thread (0: the caller). Returns the bytes that the kernel wrote. */
  readonly schedGetaffinity: (
    tid: number,
    mask: Uint8Array<ArrayBuffer>,
    mask_bytes: number,
  ) => number;
  /** Sets the affinity of a thread (0: the caller). */
  readonly schedSetaffinity: (
    tid: number,
    mask: Uint8Array<ArrayBuffer>,
    mask_bytes: number,
  ) => number;
  /** Sets the policy of a thread (0: the caller); `reset_on_fork` 1 keeps it from its children. */
  readonly schedSetscheduler: (
    tid: number,
    policy: number,
    priority: number,
    reset_on_fork: number,
  ) => number;
  /** The policy of a thread, with SCHED_RESET_ON_FORK if set. */
  readonly schedGetscheduler: (tid: number) => number;
  /** Names the calling thread; at most 15 bytes and a zero byte, else −ERANGE. */
  readonly setThreadName: (name: Uint8Array<ArrayBuffer>) => number;
  /** Reads the name of the calling thread into 16 bytes. */
  readonly getThreadName: (name: Uint8Array<ArrayBuffer>) => number;
  /** Blocks every signal of the calling thread but its own faults (SIGSEGV and its like). */
  readonly blockSignals: () => number;
  /** The process takes one signal for another from now on; one redirection at a time. */
  readonly redirectSignal: (from: number, to: number) => number;
  /** Raises RLIMIT_MEMLOCK as far as allowed. Returns the limit in bytes, or Infinity. */
  readonly raiseMemlockLimit: () => number;
  /** Locks a region in memory. */
  readonly lockRegion: (address: number, length_bytes: number) => number;
  /** Unlocks a region. */
  readonly unlockRegion: (address: number, length_bytes: number) => number;
  /** Locks all file-backed mappings; `result`: locked bytes, failed bytes, locked mappings. */
  readonly lockFileMappings: (result: Float64Array<ArrayBuffer>) => number;
  /** Acquire fence. */
  readonly fenceAcquire: () => void;
  /** Release fence. */
  readonly fenceRelease: () => void;
  /** Full fence. */
  readonly fenceFull: () => void;
  /** Stores a word with release order; `address` is that of word 0. */
  readonly publishI32: (address: number, index: number, value: number) => void;
  /** Loads a word with acquire order; `address` is that of word 0. */
  readonly acquireI32: (address: number, index: number) => number;
  /** Turns this process into the guard, with settings in a file. Returns only if that failed. */
  readonly becomeGuard: (config_fd: number) => number;
  /** Starts a satellite of a kind, see ffi/satellite.ts. Returns its handle. */
  readonly satelliteStart: (kind: number, where: Float64Array<ArrayBuffer>) => number;
  /** Of a satellite: 0 index of its status word, 1 thread id, 2 times it gave its CPU away. */
  readonly satelliteInfo: (handle: number, what: number) => number;
  /** Wakes a satellite. */
  readonly satelliteWake: (handle: number) => number;
  /** Stops a satellite, waits for its end and frees it. */
  readonly satelliteStop: (handle: number) => number;
}

/** C name, parameter types and result type of every function in {@linkcode Shim}. */
const SIGNATURES: Readonly<
  Record<keyof Shim, readonly [string, readonly Deno.NativeType[], Deno.NativeResultType]>
> = {
  version: ["version", [], "i32"],
  syscall: ["syscall", ["i32", "f64", "f64", "f64", "f64", "f64", "f64"], "f64"],
  openat: ["openat", ["i32", "buffer", "i32", "i32"], "i32"],
  close: ["close", ["i32"], "i32"],
  read: ["read", ["i32", "buffer", "i32"], "i32"],
  pread: ["pread", ["i32", "buffer", "i32", "f64"], "i32"],
  write: ["write", ["i32", "buffer", "i32"], "i32"],
  ioctl: ["ioctl", ["i32", "u32", "f64"], "i32"],
  ioctlBuffer: ["ioctl_buffer", ["i32", "u32", "buffer"], "i32"],
  fcntl: ["fcntl", ["i32", "i32", "f64"], "i32"],
  memfdCreate: ["memfd_create", ["buffer", "u32"], "i32"],
  ftruncate: ["ftruncate", ["i32", "f64"], "i32"],
  mmap: ["mmap", ["f64", "f64", "i32", "i32", "i32", "f64"], "f64"],
  munmap: ["munmap", ["f64", "f64"], "i32"],
  addressToPointer: ["address_to_pointer", ["f64"], "pointer"],
  pointerToAddress: ["pointer_to_address", ["pointer"], "f64"],
  bufferAddress: ["pointer_to_address", ["buffer"], "f64"],
  clockMonotonicNs: ["clock_monotonic_ns", [], "f64"],
  futexWait: ["futex_wait", ["f64", "i32", "f64"], "i32"],
  futexWaitAsync: ["futex_wait", ["f64", "i32", "f64"], "i32"],
  futexWake: ["futex_wake", ["f64", "i32"], "i32"],
  eventfd: ["eventfd", ["u32", "i32"], "i32"],
  eventfdRead: ["eventfd_read", ["i32"], "f64"],
  eventfdWrite: ["eventfd_write", ["i32", "f64"], "i32"],
  poll: ["poll", ["i32", "i32", "f64"], "i32"],
  pollAsync: ["poll", ["i32", "i32", "f64"], "i32"],
  openNamedFd: ["open_named_fd", ["i32", "buffer", "i32"], "i32"],
  mountId: ["mount_id", ["i32"], "i32"],
  fileSize: ["file_size", ["i32"], "f64"],
  unixSocket: ["unix_socket", [], "i32"],
  unixAutobind: ["unix_autobind", ["i32"], "i32"],
  listen: ["listen", ["i32", "i32"], "i32"],
  unixName: ["unix_name", ["i32", "buffer", "i32"], "i32"],
  unixConnect: ["unix_connect", ["i32", "buffer", "i32"], "i32"],
  accept: ["accept", ["i32"], "i32"],
  shutdown: ["shutdown", ["i32"], "i32"],
  sendWithFd: ["send_with_fd", ["i32", "buffer", "i32", "i32"], "i32"],
  recvWithFd: ["recv_with_fd", ["i32", "buffer", "i32", "buffer"], "i32"],
  gettid: ["gettid", [], "i32"],
  getcpu: ["getcpu", [], "i32"],
  schedYield: ["sched_yield", [], "i32"],
  schedGetaffinity: ["sched_getaffinity", ["i32", "buffer", "u32"], "i32"],
  schedSetaffinity: ["sched_setaffinity", ["i32", "buffer", "u32"], "i32"],
  schedSetscheduler: ["sched_setscheduler", ["i32", "i32", "i32", "i32"], "i32"],
  schedGetscheduler: ["sched_getscheduler", ["i32"], "i32"],
  setThreadName: ["set_thread_name", ["buffer"], "i32"],
  getThreadName: ["get_thread_name", ["buffer"], "i32"],
  blockSignals: ["block_signals", [], "i32"],
  redirectSignal: ["redirect_signal", ["i32", "i32"], "i32"],
  raiseMemlockLimit: ["raise_memlock_limit", [], "f64"],
  lockRegion: ["lock_region", ["f64", "f64"], "i32"],
  unlockRegion: ["unlock_region", ["f64", "f64"], "i32"],
  lockFileMappings: ["lock_file_mappings", ["buffer"], "i32"],
  fenceAcquire: ["fence_acquire", [], "void"],
  fenceRelease: ["fence_release", [], "void"],
  fenceFull: ["fence_full", [], "void"],
  publishI32: ["publish_i32", ["f64", "i32", "i32"], "void"],
  acquireI32: ["acquire_i32", ["f64", "i32"], "i32"],
  becomeGuard: ["become_guard", ["i32"], "i32"],
  satelliteStart: ["satellite_start", ["i32", "buffer"], "f64"],
  satelliteInfo: ["satellite_info", ["f64", "i32"], "i32"],
  satelliteWake: ["satellite_wake", ["f64"], "i32"],
  satelliteStop: ["satellite_stop", ["f64"], "i32"],
};

/** Functions that wait on a thread of Deno's pool and give a promise. */
const ASYNC: ReadonlySet<string> = new Set<keyof Shim>(["futexWaitAsync", "pollAsync"]);

/**
 * The symbol table for Deno.dlopen.
 *
 * @returns One entry per function of {@linkcode Shim}.
 */
export function shimSymbols(): Record<string, Deno.ForeignFunction> {
  const symbols: Record<string, Deno.ForeignFunction> = {};
  for (const [key, [name, parameters, result]] of Object.entries(SIGNATURES)) {
    symbols[key] = { name: `shim_${name}`, parameters, result, nonblocking: ASYNC.has(key) };
  }
  return symbols;
}

/**
 * A string as C wants it.
 *
 * @param text Text without a zero character.
 * @returns The UTF-8 bytes and a zero byte.
 */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/**
 * Finding, checking and mapping the memfd of a GhostShmem, and making one. Every refusal is here.
 *
 * @module
 */
import * as errno from "../ffi/errno.ts";
import { SystemError } from "../ffi/errors.ts";
import { F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK } from "../ffi/linux.ts";
import { HARDWARE_MEMORY, storeU64, u64At } from "../ffi/memory.ts";
import { SharedMemoryError } from "./errors.ts";
import type { ShmemHost } from "./shmem_host.ts";

/** Version of the header; 0 would look like a header that nobody has written. */
export const SHMEM_HEADER_VERSION = 1;
/** Bytes before the data: a page. */
export const SHMEM_HEADER_BYTES = 4096;
/** Sizes are multiples of this, a huge page. */
export const SHMEM_STEP_BYTES = 2 * 1024 * 1024;

/** Seals of a region; the first two are what an attaching process insists on. */
const SEALS_WANTED = F_SEAL_GROW | F_SEAL_SHRINK;
const SEALS = SEALS_WANTED | F_SEAL_SEAL;
/** What a file's name starts with. */
const NAME_PREFIX = "ghost-shmem-";
/** memfd_create takes names of 249 bytes. */
const SUFFIX_BYTES_MAX = 249 - NAME_PREFIX.length;
/** maplen and its like have 32 bits. */
const SIZE_MAX_BYTES = 2 ** 32 - 1;
const NS_PER_MS = 1e6;

/** Words of the header; offsets are in bytes / 4. */
const HEADER_VERSION_WORD = 0;
const MAPPING_SIZE_WORD = 2;
const HEADER_SIZE_WORD = 4;
const CLIENT_SIZE_WORD = 6;
/** The header's word of two booleans, each a byte. */
export const STATE_WORD = 8;
const OWNING_PID_WORD = 9;
const CLIENT_VERSION_WORD = 10;
/** State: others may attach. */
export const READY = 1;
const READY_MASK = 0xff;
/** State: the owner has closed the region. */
export const FINISHED = 0x100;

/** Limits for attaching to a region. */
export interface ShmemAttachOptions {
  /** Version that the owner's data must have; 0 unless said otherwise, as upstream's always is. */
  readonly client_version?: number;
  /** Largest mapping to accept; 64 MiB unless said otherwise. */
  readonly size_max_bytes?: number;
  /** How long to wait for the owner to say that the data is ready; 20 ms unless said otherwise. */
  readonly ready_timeout_ms?: number;
  /** How many descriptors of the owner to look at; 65,536 unless said otherwise. */
  readonly fd_count_max?: number;
}

/** The limits with every value. */
type Limits = Required<ShmemAttachOptions>;

const DEFAULT_LIMITS: Limits = {
  client_version: 0,
  size_max_bytes: 64 * 1024 * 1024,
  ready_timeout_ms: 20,
  fd_count_max: 65_536,
};

/** The memory of a region, header first. */
export interface Mapping {
  /** The file of a region of this process; −1 for those of others, whose files are closed. */
  readonly fd: number;
  readonly address: number;
  readonly size_bytes: number;
}

/** Text of the link in /proc/PID/fd to a region. */
function linkText(suffix: string): string {
  return `/memfd:${NAME_PREFIX}${suffix} (deleted)`;
}

function checkSuffix(suffix: string): void {
  const size_bytes = new TextEncoder().encode(suffix).length;
  if (size_bytes > 0 && size_bytes <= SUFFIX_BYTES_MAX && !/[\0\n/]/.test(suffix)) return;
  throw new SharedMemoryError(
    "OUT_OF_RANGE",
    `${JSON.stringify(suffix)} is no name of shared memory`,
    `use 1 to ${SUFFIX_BYTES_MAX} bytes without a slash, a line feed or a zero`,
  );
}

/** Why no file was found, by the errno of the search. */
function searchError(code: number, pid: number, suffix: string): SharedMemoryError {
  switch (code) {
    case errno.ESRCH:
      return new SharedMemoryError("NO_PROCESS", `no process ${pid}`, "it has ended; start it");
    case errno.ENOENT:
      return new SharedMemoryError(
        "NO_REGION",
        `process ${pid} has no shared memory "${suffix}"`,
        "let it create the memory before its threads are scheduled",
      );
    case errno.E2BIG:
      return new SharedMemoryError(
        "TOO_MANY_FILES",
        `no shared memory "${suffix}" among the first descriptors of process ${pid}`,
        "let it create the memory before it opens its other files",
      );
    default:
      return new SharedMemoryError(
        "NOT_PERMITTED",
        `the files of process ${pid} cannot be seen (${errno.errnoName(code)})`,
        "run as the process's owner or as root",
      );
  }
}

/** Opens a file that is found by name, if it is a plain memfd. Negative: −errno of the search. */
function openPlain(
  host: ShmemHost,
  pid: number,
  suffix: string,
  limits: Limits,
): number | SharedMemoryError {
  const path_fd = host.openNamed(pid, linkText(suffix), limits.fd_count_max);
  if (path_fd < 0) return searchError(-path_fd, pid, suffix);
  try {
    if (!host.isPlainMemfd(path_fd)) {
      return new SharedMemoryError(
        "NOT_MEMFD",
        `"${suffix}" of process ${pid} is no plain memfd (a file, FUSE or huge pages)`,
        "create it with memfd_create and without MFD_HUGETLB",
      );
    }
    const fd = host.reopen(path_fd);
    return fd >= 0 ? fd : new SharedMemoryError(
      "NOT_PERMITTED",
      `"${suffix}" of process ${pid} cannot be opened (${errno.errnoName(-fd)})`,
      "run as the process's owner or as root",
    );
  } finally {
    host.close(path_fd);
  }
}

/** Maps a memfd if it can never shrink. The seals come first: afterwards the size stays. */
function mapSealed(
  host: ShmemHost,
  fd: number,
  name: string,
  limits: Limits,
): Mapping | SharedMemoryError {
  const seals = host.seals(fd);
  if (seals < 0 || (seals & SEALS_WANTED) !== SEALS_WANTED) {
    return new SharedMemoryError(
      "NOT_SEALED",
      `${name} may change its size`,
      "seal it with F_SEAL_SHRINK and F_SEAL_GROW",
    );
  }
  const size_bytes = host.fileSize(fd);
  const is_whole = size_bytes > SHMEM_HEADER_BYTES && size_bytes % SHMEM_HEADER_BYTES === 0;
  if (!is_whole || size_bytes > limits.size_max_bytes) {
    return new SharedMemoryError(
      "BAD_SIZE",
      `${name} has ${size_bytes} bytes`,
      `use pages, more than one, of at most ${limits.size_max_bytes} bytes in all`,
    );
  }
  const address = host.map(fd, size_bytes);
  return address > 0 ? { fd: -1, address, size_bytes } : new SharedMemoryError(
    "NOT_MAPPED",
    `${name} cannot be mapped (${errno.errnoName(-address)})`,
    "make it writable (no F_SEAL_WRITE), and look at `ulimit -v`",
  );
}

/** Waits until the owner says that its data is ready. */
function waitUntilReady(
  host: ShmemHost,
  mapping: Mapping,
  words: Int32Array,
  timeout_ns: number,
): boolean {
  const state_address = mapping.address + STATE_WORD * 4;
  const end_ns = host.nowNs() + timeout_ns;
  for (;;) {
    const state = HARDWARE_MEMORY.acquire(words, STATE_WORD);
    if ((state & READY_MASK) !== 0) return true;
    if (host.nowNs() >= end_ns) return false;
    host.rest(state_address, state);
  }
}

/** Fault of a header, each field of which is read once; undefined if there is none. */
function headerError(
  words: Int32Array,
  mapping: Mapping,
  name: string,
  pid: number,
  client_version: number,
): SharedMemoryError | undefined {
  const bad = (what: string) =>
    new SharedMemoryError(
      "BAD_HEADER",
      `the header of ${name} ${what}`,
      "it is damaged or foreign",
    );
  const version = u64At(words, HEADER_VERSION_WORD);
  if (version !== SHMEM_HEADER_VERSION) return bad(`has version ${version}`);
  const mapping_bytes = u64At(words, MAPPING_SIZE_WORD);
  if (mapping_bytes !== mapping.size_bytes) return bad(`says ${mapping_bytes} bytes`);
  const header_bytes = u64At(words, HEADER_SIZE_WORD);
  if (header_bytes !== SHMEM_HEADER_BYTES) return bad(`says ${header_bytes} bytes of header`);
  const client_bytes = u64At(words, CLIENT_SIZE_WORD);
  if (client_bytes !== mapping_bytes - header_bytes) return bad(`says ${client_bytes} of data`);
  const owner_pid = words[OWNING_PID_WORD];
  if (owner_pid !== pid) {
    return new SharedMemoryError(
      "WRONG_OWNER",
      `${name} belongs to process ${owner_pid}`,
      "let each process create its own after fork, in the agent's PID namespace",
    );
  }
  const version_found = u64At(words, CLIENT_VERSION_WORD);
  return version_found === client_version ? undefined : new SharedMemoryError(
    "WRONG_VERSION",
    `the data of ${name} has version ${version_found} instead of ${client_version}`,
    "build the application and the agent from the same release",
  );
}

/**
 * Finds a region of a process, checks it and maps it.
 *
 * @param host The machine's calls.
 * @param pid Process id of the owner.
 * @param suffix Name of the region.
 * @param options Limits.
 * @returns The mapping, or why the region is refused; nothing is left open or mapped then.
 */
export function attachMapping(
  host: ShmemHost,
  pid: number,
  suffix: string,
  options: ShmemAttachOptions,
): Mapping | SharedMemoryError {
  const limits = { ...DEFAULT_LIMITS, ...options };
  const name = `"${suffix}" of process ${pid}`;
  const fd = openPlain(host, pid, suffix, limits);
  if (fd instanceof SharedMemoryError) return fd;
  const mapping = mapSealed(host, fd, name, limits);
  // The mapping is enough. A descriptor kept would look like a region of this process.
  host.close(fd);
  if (mapping instanceof SharedMemoryError) return mapping;
  const header = host.words(mapping.address, SHMEM_HEADER_BYTES);
  const is_ready = waitUntilReady(host, mapping, header, limits.ready_timeout_ms * NS_PER_MS);
  const error = is_ready
    ? headerError(header, mapping, name, pid, limits.client_version)
    : new SharedMemoryError(
      "NOT_READY",
      `${name} is not ready after ${limits.ready_timeout_ms} ms`,
      "let its owner call markReady, then attach again",
    );
  if (error === undefined) return mapping;
  host.unmap(mapping.address, mapping.size_bytes);
  return error;
}

/** Refuses what cannot be created. Returns the size of the mapping in bytes. */
function plannedBytes(host: ShmemHost, suffix: string, data_bytes: number): number {
  checkSuffix(suffix);
  const steps = Math.ceil((data_bytes + SHMEM_HEADER_BYTES) / SHMEM_STEP_BYTES);
  const size_bytes = steps * SHMEM_STEP_BYTES;
  if (!(data_bytes >= 0 && size_bytes <= SIZE_MAX_BYTES)) {
    const what = `${data_bytes} bytes of shared memory`;
    throw new SharedMemoryError("OUT_OF_RANGE", what, "use 0 or more, and less than 4 GiB");
  }
  const found = host.openNamed(host.pid, linkText(suffix), DEFAULT_LIMITS.fd_count_max);
  if (found < 0) return size_bytes;
  host.close(found);
  throw new SharedMemoryError(
    "EXISTS",
    `this process has shared memory "${suffix}" already`,
    "use that, close it first, or take another name",
  );
}

/**
 * Creates a region of this process: makes, sizes, seals and maps a memfd and writes its header.
 *
 * @param host The machine's calls.
 * @param suffix Name, unique in this process.
 * @param data_bytes Bytes of data, at least.
 * @param client_version Version of the data.
 * @returns The mapping; nobody can attach before it is marked ready.
 * @throws {SharedMemoryError} If this process has such a region, or a value is out of range.
 * @throws {SystemError} If the machine refuses; nothing is left open then.
 */
export function createMapping(
  host: ShmemHost,
  suffix: string,
  data_bytes: number,
  client_version: number,
): Mapping {
  const size_bytes = plannedBytes(host, suffix, data_bytes);
  const name = NAME_PREFIX + suffix;
  const fd = host.createMemfd(name);
  if (fd < 0) throw new SystemError("memfd_create", -fd, name);
  const fail = (call: string, result: number): SystemError => {
    host.close(fd);
    return new SystemError(call, -result, name);
  };
  const resized = host.resize(fd, size_bytes);
  if (resized < 0) throw fail("ftruncate", resized);
  const sealed = host.seal(fd, SEALS);
  if (sealed < 0) throw fail("fcntl", sealed);
  const address = host.map(fd, size_bytes);
  if (address < 0) throw fail("mmap", address);
  const header = host.words(address, SHMEM_HEADER_BYTES);
  storeU64(header, HEADER_VERSION_WORD, SHMEM_HEADER_VERSION);
  storeU64(header, MAPPING_SIZE_WORD, size_bytes);
  storeU64(header, HEADER_SIZE_WORD, SHMEM_HEADER_BYTES);
  storeU64(header, CLIENT_SIZE_WORD, size_bytes - SHMEM_HEADER_BYTES);
  header[OWNING_PID_WORD] = host.pid;
  storeU64(header, CLIENT_VERSION_WORD, client_version);
  return { fd, address, size_bytes };
}

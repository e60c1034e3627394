/**
 * The enclaves under sched_ext as a tool sees them: through the scx program's own maps and control
 * program, found by name among the host's. They are there exactly as long as an agent process
 * holds them, so nothing stale can be found. Looking needs CAP_SYS_ADMIN.
 *
 * @module
 */
import {
  GHOST_SW_F_CANFREE,
  GHOST_SW_F_INUSE,
  GHOST_SW_TASK_IS_AGENT,
} from "../../ffi/abi/constants.ts";
import { MAP_SHARED, PROT_READ } from "../../ffi/linux.ts";
import { HARDWARE_MEMORY } from "../../ffi/memory.ts";
import { loadScx } from "../../ffi/scx.ts";
import { bufferAt, loadShim } from "../../ffi/shim.ts";
import { tidOf } from "../../lib/gtid.ts";
import { readTextFile } from "../../lib/host_files.ts";
import { StatusWordTable } from "../../lib/status_word.ts";
import { EINVAL, ENODEV } from "../kernel.ts";
import type { EnclaveView, KernelView } from "../real_kernel.ts";
import { clientFault, joinThread, type ScxCall } from "./membership.ts";
import {
  ENCLAVE_BYTES,
  readEnclaveRecord,
  readReport,
  REPORT_BYTES,
  SCX_ENCLAVE_COUNT,
  SCX_OP,
  type ScxEnclaveRecord,
  type ScxReport,
  SW_REGION_BYTES,
} from "./scx_layout.ts";

const OPS_PATH = "/sys/kernel/sched_ext/root/ops";
/** Counts the schedulers that were ever loaded. */
const LOAD_COUNT_PATH = "/sys/kernel/sched_ext/enable_seq";
const OPS_NAME = "ghost";
/** Kernels of the program API: what {@linkcode ScxLibrary.nextId} lists. */
const PROGRAMS = 0;
const MAPS = 1;
const NAME_BYTES = 16;
const ENCLAVE_LIVE = 1;
/** What the kernel keeps of names: 15 bytes. */
const CONTROL = "ghost_control";
const ENCLAVES = "enclaves";
const STATUS_WORDS = "status_words";

/** The program's parts that a tool uses, by descriptors. */
interface Parts {
  readonly control_fd: number;
  readonly enclaves_fd: number;
  readonly words_fd: number;
}

/** The latest object with a name: its descriptor, or −errno of why there is none. */
function openNamed(what: number, wanted: string): number {
  const { nextId, openId } = loadScx();
  const { close } = loadShim();
  const name = new Uint8Array(NAME_BYTES);
  let found = -ENODEV;
  for (let id = nextId(what, 0); id > 0; id = nextId(what, id)) {
    const fd = openId(what, id, name);
    if (fd < 0) continue;
    const zero = name.indexOf(0);
    if (new TextDecoder().decode(zero < 0 ? name : name.subarray(0, zero)) === wanted) {
      if (found >= 0) close(found);
      found = fd;
    } else close(fd);
  }
  return found;
}

/** The parts that were found last; a look at every program of the host takes milliseconds. */
let known: { readonly load: string; readonly parts: Parts } | undefined;

/** Which load of a scheduler the kernel has; undefined if none of ours is loaded. */
function presentLoad(): string | undefined {
  // Without the scheduler loaded what is found would be somebody else's.
  if (readTextFile(OPS_PATH)?.trim().split("_")[0] !== OPS_NAME) return undefined;
  return readTextFile(LOAD_COUNT_PATH)?.trim();
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) if (fd >= 0) loadShim().close(fd);
}

function findParts(): Parts | undefined {
  const parts = {
    control_fd: openNamed(PROGRAMS, CONTROL),
    enclaves_fd: openNamed(MAPS, ENCLAVES),
    words_fd: openNamed(MAPS, STATUS_WORDS),
  };
  const fds = Object.values(parts);
  if (fds.every((fd) => fd >= 0)) return parts;
  closeAll(fds);
  return undefined;
}

/** Looks at the parts of the program that is loaded now; finds them once for each load. */
function withParts<T>(look: (parts: Parts) => T, without: T): T {
  const load = presentLoad();
  if (load === undefined || load !== known?.load) {
    if (known !== undefined) closeAll(Object.values(known.parts));
    const parts = load === undefined ? undefined : findParts();
    known = load === undefined || parts === undefined ? undefined : { load, parts };
  }
  return known === undefined ? without : look(known.parts);
}

function record(parts: Parts, index: number): ScxEnclaveRecord | undefined {
  const bytes = new Uint8Array(ENCLAVE_BYTES);
  if (loadScx().lookup(parts.enclaves_fd, index, bytes) < 0) return undefined;
  const found = readEnclaveRecord(bytes);
  return found.state === ENCLAVE_LIVE ? found : undefined;
}

function tidsOf(parts: Parts, index: number): number[] | number {
  const { mmap, munmap } = loadShim();
  const offset = index * SW_REGION_BYTES;
  const address = mmap(0, SW_REGION_BYTES, PROT_READ, MAP_SHARED, parts.words_fd, offset);
  if (address < 0) return address;
  const words = new Int32Array(bufferAt(address, SW_REGION_BYTES));
  const status = new StatusWordTable(HARDWARE_MEMORY, words);
  const mask = GHOST_SW_F_INUSE | GHOST_SW_F_CANFREE | GHOST_SW_TASK_IS_AGENT;
  const tids: number[] = [];
  for (let word = 0; word < status.capacity; word++) {
    if ((status.flags(word) & mask) === GHOST_SW_F_INUSE) tids.push(tidOf(status.gtidHi(word)));
  }
  munmap(address, SW_REGION_BYTES);
  return tids;
}

/**
 * What the program that is loaded has counted.
 *
 * @returns The report; undefined if none is loaded, or it may not be looked at.
 */
export function scxReport(): ScxReport | undefined {
  return withParts<ScxReport | undefined>(() => {
    const fd = openNamed(MAPS, "report");
    if (fd < 0) return undefined;
    const bytes = new Uint8Array(REPORT_BYTES);
    const result = loadScx().lookup(fd, 0, bytes);
    loadShim().close(fd);
    return result < 0 ? undefined : readReport(bytes);
  }, undefined);
}

/** An enclave, with the process that its agents are of. */
export interface ScxEnclaveView extends EnclaveView {
  /** The process of the agents; 0 if the enclave is gone. */
  ownerPid(): number;
  /** Why a thread may not join, or undefined: it is in the agent's own process tree. */
  clientFault(tid: number): string | undefined;
}

function viewOf(index: number): ScxEnclaveView {
  const withRecord = <T>(look: (parts: Parts, record: ScxEnclaveRecord) => T): T | number =>
    withParts<T | number>((parts) => {
      const found = record(parts, index);
      return found === undefined ? -ENODEV : look(parts, found);
    }, -ENODEV);
  const ownerPid = (): number => Math.max(0, withRecord((_, found) => found.owner_pid));
  return {
    id: index + 1,
    path: `scx/enclave_${index + 1}`,
    cpus: () => withRecord((_, found) => found.cpus),
    taskTids: () => withRecord<number[] | number>((parts) => tidsOf(parts, index)),
    isOnline: () => withRecord((_, found) => found.is_online),
    join: (tid) =>
      withRecord((parts, { owner_pid }) => {
        const { call } = loadScx();
        const control: ScxCall = (op, enclave, a = 0, b = 0, lo = 0, hi = 0) =>
          call(parts.control_fd, op, enclave, a, b, lo, hi);
        return joinThread(control, index, tid, owner_pid);
      }),
    selfJoin: () => {
      const found = withRecord(({ control_fd }, { owner_pid }) =>
        clientFault(Deno.pid, owner_pid) === undefined
          ? { join_fd: control_fd, join_enclave: index }
          : undefined
      );
      return typeof found === "number" ? undefined : found;
    },
    setRunnableTimeout: (timeout_ms) =>
      withRecord((parts) => {
        if ((timeout_ms | 0) !== timeout_ms || timeout_ms < 0) return -EINVAL;
        return loadScx().call(parts.control_fd, SCX_OP.wait_limit, index, timeout_ms, 0, 0, 0);
      }),
    destroy: () => {
      const pid = ownerPid();
      if (pid === 0) return -ENODEV;
      Deno.kill(pid, "SIGTERM");
      return 0;
    },
    ownerPid,
    clientFault: (tid) => clientFault(tid, ownerPid()),
  };
}

/**
 * The enclaves under sched_ext. Nothing is opened before a method is called.
 *
 * @returns The view; without an agent that runs, or without the right to look, it is empty.
 */
export function scxView(): KernelView {
  return {
    kind: "scx",
    enclaves: () =>
      withParts<EnclaveView[]>((parts) => {
        const indices = Array.from({ length: SCX_ENCLAVE_COUNT }, (_, index) => index);
        return indices.filter((index) => record(parts, index) !== undefined).map(viewOf);
      }, []),
  };
}

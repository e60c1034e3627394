/**
 * CPUs of this host for experiments: what a flag names must be there, and a process keeps its other
 * threads off the CPUs that it measures.
 *
 * @module
 */
import { SystemError } from "../../ffi/errors.ts";
import { loadShim } from "../../ffi/shim.ts";
import { CpuList, parseCpuStr } from "../../lib/cpu_list.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { type ReadText, readTextFile } from "../../lib/host_files.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";

/** The CPU of everything that is not measured: the main thread, V8, RocksDB's compactions. */
export const BACKGROUND_CPU = 0;

const ONLINE_PATH = "/sys/devices/system/cpu/online";

/** The host's online CPUs; CPU 0 alone where it does not say. */
export function onlineCpus(read: ReadText = readTextFile): CpuList {
  const list = parseCpuStr(read(ONLINE_PATH)?.trim() ?? "0", MAX_CPU_COUNT);
  return list instanceof UsageError ? CpuList.from([0]) : list;
}

/**
 * The CPUs that a flag names, which must be online and not {@linkcode BACKGROUND_CPU}.
 *
 * @param name Name of the flag.
 * @param text Its value.
 * @param online The host's CPUs.
 * @returns The CPUs, ascending; or what is wrong.
 */
export function measuredCpus(
  name: string,
  text: string,
  online: CpuList,
): readonly number[] | UsageError {
  const list = parseCpuStr(text, MAX_CPU_COUNT);
  if (list instanceof UsageError) return new UsageError(`--${name}: ${list.fault}`, list.cure);
  const cpus = list.toIntVector();
  if (cpus.includes(BACKGROUND_CPU)) {
    return new UsageError(
      `--${name}: CPU ${BACKGROUND_CPU} is for background threads`,
      "name other CPUs",
    );
  }
  const absent = cpus.find((cpu) => !online.isSet(cpu));
  if (absent === undefined) return cpus;
  return new UsageError(
    `--${name}: there is no CPU ${absent}`,
    `this host has ${online}; CPU ${BACKGROUND_CPU} is for background threads`,
  );
}

/**
 * Binds every thread that this process has to {@linkcode BACKGROUND_CPU}; threads that these start
 * later inherit it.
 *
 * @returns Undefined, or why it failed.
 */
export function bindToBackgroundCpu(): OperatingError | undefined {
  const { schedSetaffinity } = loadShim();
  const mask = CpuList.from([BACKGROUND_CPU]).toCpuSet();
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const result = schedSetaffinity(Number(name), mask, mask.length);
    if (result >= 0 || result === -3) continue; // a thread that has ended meanwhile
    const { message, cure } = new SystemError("sched_setaffinity", -result);
    return new OperatingError(`CPU ${BACKGROUND_CPU} cannot be used: ${message}`, cure);
  }
  return undefined;
}

/**
 * What a host must leave for so many agents, checked when they start: the same checks as
 * `ghostctl doctor` makes.
 *
 * @module
 */
import type { ReadText } from "../lib/host_files.ts";
import { OperatingError } from "../lib/errors.ts";
import type { Host } from "./doctor/check.ts";
import { checkMemory, checkNofile } from "./doctor/process_checks.ts";

/**
 * Why so many agents cannot start.
 *
 * @param read Reads the host's files.
 * @param agent_count Agents: one per CPU of the enclave.
 * @returns What is missing, or undefined.
 */
export function limitsFault(read: ReadText, agent_count: number): OperatingError | undefined {
  const host: Host = { read, os: "linux", arch: "", deno: "", v8: "", exits: () => [] };
  const failed = [checkNofile(host, agent_count), checkMemory(host, agent_count)]
    .find(({ status }) => status === "fail");
  if (failed === undefined) return undefined;
  return new OperatingError(`${failed.name}: ${failed.found}`, failed.cure);
}

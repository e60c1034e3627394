/**
 * What a ghOSt kernel of an ABI version can do, read off the version's tables.
 *
 * @module
 */
import type { Abi } from "../../ffi/abi/abi.ts";
import {
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AVAILABLE,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TIMER_EXPIRED,
  MSG_TASK_LATCH_FAILURE,
  MSG_TASK_ON_CPU,
  MSG_TASK_PRIORITY_CHANGED,
  MSG_TASK_SWITCHTO,
} from "../../ffi/abi/constants.ts";
import type { Capability } from "../kernel.ts";

/** What every version can do: commits are the same in all of them. */
const ALWAYS: readonly Capability[] = ["group_commit", "sync_group", "greedy_commit", "upgrade"];

/** What follows from a message that the version has. */
const BY_MESSAGE: readonly (readonly [Capability, number])[] = [
  ["timers", MSG_CPU_TIMER_EXPIRED],
  ["switchto", MSG_TASK_SWITCHTO],
  ["priority_changed", MSG_TASK_PRIORITY_CHANGED],
  ["latch_failure", MSG_TASK_LATCH_FAILURE],
  ["on_cpu_message", MSG_TASK_ON_CPU],
  ["cpu_not_idle", MSG_CPU_NOT_IDLE],
  ["cpu_availability", MSG_CPU_AVAILABLE],
  ["agent_runnability", MSG_CPU_AGENT_BLOCKED],
];

/** What follows from a tunable that the version has. */
const BY_TUNABLE: readonly (readonly [Capability, string])[] = [
  ["ticks", "deliver_ticks"],
  ["runnable_timeout", "runnable_timeout"],
];

/** Capabilities of a ghOSt kernel. */
export function ghostCapabilities(abi: Abi): ReadonlySet<Capability> {
  const by_message = BY_MESSAGE.filter(([, type]) => abi.messages.has(type));
  const by_tunable = BY_TUNABLE.filter(([, name]) => abi.tunables.includes(name));
  return new Set([...ALWAYS, ...[...by_message, ...by_tunable].map(([capability]) => capability)]);
}

/**
 * The state of all agents of an enclave as text, from their shared memory: of agents that run, that
 * hang, and that are dead.
 *
 * @module
 */
import type { AgentContext } from "../lib/agent_context.ts";
import { DUMP_BYTES_MAX } from "../lib/limits.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import type { SharedState } from "../lib/shared_state.ts";

/** Counters that are shown for each CPU, and what they count. */
const COUNTERS: readonly (readonly [column: string, what: string])[] = [
  ["step_count", "steps"],
  ["message_count", "messages"],
  ["commit_count", "commits"],
  ["refused_count", "refused"],
  ["overflow_count", "overflows"],
  ["unknown_count", "unknown"],
  ["missed_departure_count", "missed departures"],
];

function countersLine(state: SharedState, cpu: number): string {
  const counts = COUNTERS.map(([column, what]) => `${state.cpu(column, cpu)[0] >>> 0} ${what}`);
  const is_active = state.cpu("step_active", cpu)[0] !== 0;
  return `CPU ${cpu}: ${is_active ? "step under way" : "between steps"}, ${counts.join(", ")}\n`;
}

/**
 * The state of all agents.
 *
 * @param policy Their policy.
 * @param state Their shared memory.
 * @param view Makes a view of an agent whose calls have no effect.
 * @param flags DUMP_* flags.
 * @returns At most DUMP_BYTES_MAX bytes.
 */
export function dumpAgents(
  policy: PolicyDefinition,
  state: SharedState,
  view: (cpu: number) => AgentContext,
  flags: number,
): string {
  const { cpus } = state.shape;
  let text = cpus.map((cpu) => countersLine(state, cpu)).join("");
  for (const cpu of cpus) {
    try {
      text += policy.create(view(cpu)).dump(flags);
    } catch (error) {
      text += `(no dump of CPU ${cpu}: ${error instanceof Error ? error.message : error})\n`;
    }
  }
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= DUMP_BYTES_MAX) return text;
  const end = bytes.lastIndexOf(10, DUMP_BYTES_MAX - 1);
  return new TextDecoder().decode(bytes.subarray(0, end + 1));
}

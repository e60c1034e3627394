/**
 * What a policy tells its successor at an upgrade, beyond what the kernel's status words say: the
 * columns that its layout lists under `kept`, for the enclave and for each task by gtid. JSON, so
 * that another version of the policy, or a person, can read it.
 *
 * @module
 */
import type { AgentContext } from "./agent_context.ts";
import { UsageError } from "./errors.ts";

const MAGIC = "ghost-agents-state";
const FORMAT = 1;

/** Columns that survive an upgrade. */
export interface KeptColumns {
  /** Names of task columns. */
  readonly task: readonly string[];
  /** Names of columns of the enclave. */
  readonly global: readonly string[];
}

/** A snapshot as it is written. */
export interface Snapshot {
  /** Always {@linkcode MAGIC}; tells a snapshot from other files. */
  readonly magic: string;
  /** Version of this format. */
  readonly format: number;
  /** Name of the policy that wrote it. */
  readonly policy: string;
  /** Columns of the enclave by name. */
  readonly global: Readonly<Record<string, readonly number[]>>;
  /** Per task: gtid words and the kept columns in the order of {@linkcode task_columns}. */
  readonly tasks: readonly (readonly number[])[];
  /** Names of the task columns. */
  readonly task_columns: readonly string[];
}

/** Takes a snapshot of what a policy keeps. */
export function takeSnapshot(
  agent: Pick<AgentContext, "tasks" | "state">,
  policy: string,
  kept: KeptColumns,
): Snapshot {
  const { tasks, state } = agent;
  const columns = kept.task.map((name) => state.task(name));
  const rows: number[][] = [];
  for (let row = 0; row < tasks.usedCount(); row++) {
    if (columns.length === 0 || tasks.owner[row] === 0) continue;
    const values = columns.map((column) => column[row]);
    rows.push([tasks.gtid_lo[row], tasks.gtid_hi[row], ...values]);
  }
  const global = Object.fromEntries(kept.global.map((name) => [name, [...state.global(name)]]));
  return { magic: MAGIC, format: FORMAT, policy, global, tasks: rows, task_columns: kept.task };
}

/**
 * Gives a policy what its predecessor kept; tasks and columns that are gone are passed over.
 * Call it after discovery and before the agents go online.
 */
export function restoreSnapshot(agent: AgentContext, snapshot: Snapshot, kept: KeptColumns): void {
  const { tasks, state } = agent;
  for (const name of kept.global) {
    const words = state.global(name);
    const values = snapshot.global[name] ?? [];
    if (values.length === words.length) words.set(values);
  }
  for (const [lo, hi, ...values] of snapshot.tasks) {
    const row = tasks.find(lo, hi);
    if (row < 0) continue;
    snapshot.task_columns.forEach((name, index) => {
      if (kept.task.includes(name)) state.task(name)[row] = values[index];
    });
  }
}

/** A snapshot as text for a file. */
export function encodeSnapshot(snapshot: Snapshot): string {
  return JSON.stringify(snapshot) + "\n";
}

/**
 * Reads the text of a snapshot.
 *
 * @param text What the file holds.
 * @param file Its name, for the message.
 * @param policy The policy that wants it.
 * @returns The snapshot, or what is wrong with the file.
 */
export function decodeSnapshot(
  text: string,
  file: string,
  policy: string,
): Snapshot | UsageError {
  const cure = "give a file that this agent wrote with --state, or leave the flag out";
  let value: Partial<Snapshot> | null;
  try {
    value = JSON.parse(text);
  } catch {
    const fault = text.startsWith(`{"magic":"${MAGIC}"`)
      ? `${file} is cut off after ${text.length} bytes`
      : `${file} is not a saved state`;
    return new UsageError(fault, cure);
  }
  if (value === null || typeof value !== "object" || value.magic !== MAGIC) {
    return new UsageError(`${file} is not a saved state`, cure);
  }
  if (value.format !== FORMAT) {
    return new UsageError(`${file} has format ${value.format}, this agent reads ${FORMAT}`, cure);
  }
  if (value.policy !== policy) {
    return new UsageError(`${file} was written by ${value.policy}, not by ${policy}`, cure);
  }
  if (!isSnapshot(value)) return new UsageError(`${file} is damaged`, cure);
  return value;
}

function isSnapshot(value: Partial<Snapshot>): value is Snapshot {
  const { global, tasks, task_columns } = value;
  if (typeof global !== "object" || global === null) return false;
  if (!Array.isArray(tasks) || !Array.isArray(task_columns)) return false;
  const width = task_columns.length + 2;
  return Object.values(global).every(isWords) &&
    tasks.every((row) => isWords(row) && row.length === width);
}

function isWords(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((word) => Number.isInteger(word));
}

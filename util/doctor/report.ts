/**
 * The doctor's report as text and as JSON.
 *
 * @module
 */
import { tableText } from "../table.ts";
import type { Check, KernelVerdict, Report } from "./check.ts";

/** Version of what `--json` prints. */
export const JSON_SCHEMA = 1;

const COLUMNS = [
  { head: "check", is_left: true },
  { head: "status", is_left: true },
  { head: "found", is_left: true },
];

/** A line per cure, with the names of all checks that it mends. */
function cureLines(checks: readonly Check[]): string[] {
  const names_of = new Map<string, string[]>();
  for (const { name, status, cure } of checks) {
    if (status !== "fail" && status !== "warn") continue;
    names_of.set(cure, [...names_of.get(cure) ?? [], name]);
  }
  return [...names_of].map(([cure, names]) => `${names.join(", ")}: ${cure}\n`);
}

/** One line on what agents can run on here. */
function conclusion(verdicts: readonly KernelVerdict[]): string {
  const ready = verdicts.filter(({ is_ready }) => is_ready).map(({ kernel }) => kernel);
  if (ready.length > 0) return `This host is ready for agents on: ${ready.join(", ")}`;
  const lacks = verdicts.map(({ kernel, blocked_by }) => `${kernel} (${blocked_by.join(", ")})`);
  return `No real kernel is ready here: ${lacks.join(", ")}; simulate with --kernel=sim`;
}

/**
 * The report for people: a table, the cures, the conclusion.
 *
 * @param report What was found.
 * @param notes Lines that follow the conclusion.
 * @returns Lines that end with "\n".
 */
export function reportText({ checks, verdicts }: Report, notes: readonly string[]): string {
  const rows = checks.map(({ name, status, found }) => [name, status, found]);
  const cures = cureLines(checks);
  const cure_text = cures.length === 0 ? "" : `\n${cures.join("")}`;
  const last = [conclusion(verdicts), ...notes].map((line) => `${line}\n`).join("");
  return `${tableText(COLUMNS, rows)}${cure_text}\n${last}`;
}

/**
 * The report for programs: one line of JSON.
 *
 * @param report What was found.
 * @param notes As in {@linkcode reportText}.
 */
export function reportJson({ checks, verdicts }: Report, notes: readonly string[]): string {
  return JSON.stringify({ schema: JSON_SCHEMA, kernels: verdicts, checks, notes });
}

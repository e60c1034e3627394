/**
 * `ghostctl selftest`: the contract suite without a clone, a test runner or a deno. One line per
 * case, then the sum.
 *
 * @module
 */
import { EXIT_FAILURE, EXIT_USAGE, OperatingError, UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { type CaseResult, planCases, type PlannedCase, runCase } from "./run_case.ts";
import { CASES } from "./suite.ts";
import { openSuite, SUITE_KERNELS, type SuiteKernel } from "./suite_kernel.ts";

/** Version of what `--json` prints. */
const JSON_SCHEMA = 1;
const PROGRAM = "ghostctl selftest";
/** Tries of a case on a kernel of the host. */
const TRY_COUNT = 3;

const FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "sim", help: "kernel under test: sim, ghost or scx" },
  {
    name: "filter",
    value: "TEXT",
    help: "run only cases whose name contains TEXT; TEXT|TEXT for several",
  },
  { name: "json", help: "print one JSON object instead of lines" },
  { name: "help", help: "explain the flags" },
];

function helpText(): string {
  return `${PROGRAM}: holds a kernel against the contract that policies rely on\n\n` +
    `usage: ${PROGRAM} [FLAGS]\n\n${flagsHelp(FLAGS)}\n` +
    "Prints ok, FAIL or skip for each case. Exit status: 0 if none failed, 1 if one did, 2 for\n" +
    "wrong usage.";
}

/** The cases to run, or why there are none. */
function choose(suite: SuiteKernel, filter: string): PlannedCase[] | OperatingError {
  const texts = filter.split("|");
  const planned = planCases(CASES, suite.abi_version)
    .filter(({ title }) => texts.some((text) => title.includes(text)));
  if (planned.length > 0) return planned;
  return new UsageError(
    `no case contains ${JSON.stringify(filter)}`,
    `run ${PROGRAM} without --filter to see all names`,
  );
}

/** The kernel that `--kernel` names, or why there is none. */
async function openKernel(name: string): Promise<SuiteKernel | OperatingError> {
  if (SUITE_KERNELS.includes(name)) return await openSuite(name);
  return new UsageError(
    `unknown kernel ${JSON.stringify(name)} in --kernel`,
    `give one of ${SUITE_KERNELS.join(", ")}`,
  );
}

/** One line for a result. */
function lineOf({ title, outcome, reason }: CaseResult): string {
  return reason === "" ? `${outcome}  ${title}` : `${outcome}  ${title}: ${reason}`;
}

/**
 * Runs the suite.
 *
 * @param args Arguments; `--help` explains them.
 * @returns The exit status.
 */
export async function main(args: string[]): Promise<number> {
  const flags = parseFlags(FLAGS, args, PROGRAM);
  if (flags instanceof UsageError) {
    console.error(`${PROGRAM}: ${flags.message}`);
    return EXIT_USAGE;
  }
  if (flags.has("help")) {
    console.log(helpText());
    return 0;
  }
  const kernel = flags.text("kernel");
  const suite = await openKernel(kernel);
  const planned = suite instanceof OperatingError ? suite : choose(suite, flags.text("filter"));
  if (suite instanceof OperatingError || planned instanceof OperatingError) {
    const error = planned as OperatingError;
    console.error(`${PROGRAM}: ${error.message}`);
    return error.exit_status;
  }
  return await runAll(planned, suite, kernel, flags.has("json"));
}

/** Runs a case, or says why the kernel has no machine for it. */
async function runOne(planned: PlannedCase, suite: SuiteKernel): Promise<CaseResult> {
  const host = await suite.hostFor(planned);
  if (typeof host !== "string") return await runCase(planned, host);
  return { title: planned.title, outcome: "skip", reason: host };
}

/**
 * Runs a case, on a kernel of the host up to three times: its other threads take CPUs from those of
 * the case, at times when the case wants to see what becomes of a thread that has its CPU.
 */
async function tryOne(
  planned: PlannedCase,
  suite: SuiteKernel,
  try_count: number,
): Promise<CaseResult> {
  const first = await runOne(planned, suite);
  for (let turn = 2; first.outcome === "FAIL" && turn <= try_count; turn++) {
    const { outcome } = await runOne(planned, suite);
    if (outcome !== "ok") continue;
    return { ...first, outcome, reason: `at try ${turn}, after: ${first.reason}` };
  }
  return first;
}

async function runAll(
  planned: readonly PlannedCase[],
  suite: SuiteKernel,
  kernel: string,
  as_json: boolean,
): Promise<number> {
  const results: CaseResult[] = [];
  for (const one of planned) {
    const result = await tryOne(one, suite, kernel === "sim" ? 1 : TRY_COUNT);
    results.push(result);
    if (!as_json) console.log(lineOf(result));
  }
  const count = (outcome: CaseResult["outcome"]): number =>
    results.filter((result) => result.outcome === outcome).length;
  const [passed, failed, skipped] = [count("ok"), count("FAIL"), count("skip")];
  if (as_json) {
    const report = { schema: JSON_SCHEMA, kernel, passed, failed, skipped, cases: results };
    console.log(JSON.stringify(report));
  } else console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed === 0 ? 0 : EXIT_FAILURE;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

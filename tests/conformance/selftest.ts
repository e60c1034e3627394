/**
 * `ghostctl selftest`: the contract suite without a clone, a test runner or a deno. One line per
 * case, then the sum.
 *
 * @module
 */
import { LATEST_ABI } from "../../ffi/abi/abi.ts";
import { EXIT_FAILURE, EXIT_USAGE, OperatingError, UsageError } from "../../lib/errors.ts";
import { type Flag, flagsHelp, parseFlags } from "../../util/flags.ts";
import { type CaseResult, planCases, type PlannedCase, runCase } from "./run_case.ts";
import { SimHost } from "./sim_host.ts";
import { CASES } from "./suite.ts";

/** Version of what `--json` prints. */
const JSON_SCHEMA = 1;
const PROGRAM = "ghostctl selftest";
const REAL_KERNELS = ["auto", "ghost", "scx"];

const FLAGS: readonly Flag[] = [
  { name: "kernel", value: "NAME", fallback: "sim", help: "kernel under test: sim" },
  { name: "filter", value: "TEXT", help: "run only cases whose name contains TEXT" },
  { name: "json", help: "print one JSON object instead of lines" },
  { name: "help", help: "explain the flags" },
];

function helpText(): string {
  return `${PROGRAM}: holds a kernel against the contract that policies rely on\n\n` +
    `usage: ${PROGRAM} [FLAGS]\n\n${flagsHelp(FLAGS)}\n` +
    "Prints ok, FAIL or skip for each case. Exit status: 0 if none failed, 1 if one did, 2 for\n" +
    "wrong usage.";
}

/** What to run, or why nothing can be. */
function choose(kernel: string, filter: string): PlannedCase[] | OperatingError {
  if (REAL_KERNELS.includes(kernel)) {
    return new OperatingError(
      `the contract suite cannot drive --kernel=${kernel} yet`,
      "run it on the simulated kernel with --kernel=sim",
    );
  }
  if (kernel !== "sim") {
    return new UsageError(
      `unknown kernel ${JSON.stringify(kernel)} in --kernel`,
      "give sim",
    );
  }
  const planned = planCases(CASES, LATEST_ABI.version)
    .filter(({ title }) => title.includes(filter));
  if (planned.length > 0) return planned;
  return new UsageError(
    `no case contains ${JSON.stringify(filter)}`,
    `run ${PROGRAM} without --filter to see all names`,
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
  const planned = choose(kernel, flags.text("filter"));
  if (planned instanceof OperatingError) {
    console.error(`${PROGRAM}: ${planned.message}`);
    return planned.exit_status;
  }
  return await runAll(planned, kernel, flags.has("json"));
}

async function runAll(
  planned: readonly PlannedCase[],
  kernel: string,
  as_json: boolean,
): Promise<number> {
  const results: CaseResult[] = [];
  for (const one of planned) {
    const host = new SimHost(one.contract_case, { abi_version: one.abi_version });
    const result = await runCase(one, host);
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

/**
 * Runs the tasks of deno.json: `deno task NAME [ARGUMENTS]`. Imports nothing from `@std`, because
 * it decides where that comes from.
 *
 * @module
 */
import { SIM_V8_FLAGS } from "./sim_flags.ts";
import {
  rootPath,
  STD_SOURCE_VARIABLE,
  stdFlags,
  type StdSource,
  stdSource,
} from "./std_source.ts";

/** How a task is run: the deno subcommand with its flags, and the arguments that come first. */
interface Task {
  readonly command: readonly string[];
  readonly entry: readonly string[];
}

const RUN = ["run", "-A", "--no-prompt"];

/** The demo shows how small an agent is: few young objects, no compiler threads, no TurboFan. */
const SMALL = "--v8-flags=--max-semi-space-size=1,--no-concurrent-recompilation,--max-opt=2";

/** Every task. Type errors are reported by `check`, so the others do not wait for the checker. */
const TASKS: Readonly<Record<string, Task>> = {
  demo: { command: [...RUN, SMALL], entry: ["experiments/demo.ts"] },
  experiment: { command: [...RUN, SIM_V8_FLAGS], entry: ["experiments/main.ts"] },
  test: { command: ["test", "-A", "--no-prompt", "--no-check"], entry: [] },
  "test:vm": { command: RUN, entry: ["tests/vm/main.ts"] },
  "test:ghost": { command: RUN, entry: ["tests/vm/ghost_main.ts"] },
  bench: { command: RUN, entry: ["bench/main.ts"] },
  fuzz: { command: [...RUN, SIM_V8_FLAGS], entry: ["tests/fuzz/main.ts"] },
  compile: { command: RUN, entry: ["tools/compile/main.ts"] },
  check: { command: RUN, entry: ["tools/check.ts"] },
};

const OFFLINE_NOTICE =
  "tasks: JSR cannot be reached; @std/* comes from the adapters in tools/std_offline";

/** Arguments of the deno process that runs a task. */
function commandLine(task: Task, args: readonly string[], source: StdSource): string[] {
  const own = args[0] === "--" ? args.slice(1) : args;
  return [...task.command, ...stdFlags(source), ...task.entry, ...own];
}

/** SIGINT reaches the task from the terminal itself; SIGTERM is passed on. */
function leaveSignalsTo(task: Deno.ChildProcess): void {
  Deno.addSignalListener("SIGINT", () => {});
  if (Deno.build.os === "windows") return;
  Deno.addSignalListener("SIGTERM", () => task.kill("SIGTERM"));
}

async function main(args: readonly string[]): Promise<number> {
  const [name = "", ...rest] = args;
  const task = Object.hasOwn(TASKS, name) ? TASKS[name] : undefined;
  if (task === undefined) {
    console.error(`tasks: no task "${name}"; there are: ${Object.keys(TASKS).join(", ")}`);
    return 2;
  }
  const source = await stdSource();
  if (source === "offline") console.error(OFFLINE_NOTICE);
  const child = new Deno.Command(Deno.execPath(), {
    args: commandLine(task, rest, source),
    cwd: rootPath(),
    env: { [STD_SOURCE_VARIABLE]: source },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  leaveSignalsTo(child);
  const { code } = await child.status;
  return code;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

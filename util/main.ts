/**
 * Entry of every executable: one file that is all programs and all Workers. As a program it runs
 * what its name or its first argument says; as a Worker it runs what its first message names.
 *
 * @module
 */

import { ABI_VERSIONS } from "../ffi/abi/abi.ts";
import { VERSION } from "../lib/version.ts";
import { build, RUNTIME_VARIABLES } from "./build.ts";
import { dispatch, MULTI_CALL_NAME } from "./dispatch.ts";
import { PROGRAMS, type WorkerMessage, WORKERS } from "./programs.ts";

/** How this process was called: argv[0]. (`node:process` knows it, but costs 5 ms at the start.) */
function calledAs(): string {
  if (Deno.build.os !== "linux") return "";
  const line = Deno.readTextFileSync("/proc/self/cmdline");
  return line.slice(0, line.indexOf("\0"));
}

function helpText(): string {
  const names = Object.keys(PROGRAMS).sort();
  const width = Math.max(...names.map((name) => name.length));
  return [
    `usage: ${MULTI_CALL_NAME} NAME [ARGUMENTS]   run a program`,
    `       ${MULTI_CALL_NAME} --help | --version | --licenses`,
    "",
    ...names.map((name) => `  ${name.padEnd(width)}  ${PROGRAMS[name].summary}`),
    "",
    `A link to this file that has a program's name runs that program; \`NAME --help\` explains it.`,
  ].join("\n");
}

function versionText(): string {
  const { deno, v8 } = Deno.version;
  return `${MULTI_CALL_NAME} ${VERSION} (ghOSt ABI ${ABI_VERSIONS.join(", ")}; ` +
    `Deno ${deno}, V8 ${v8})`;
}

/** Runs without a program: the flags of the executable itself. */
function runMultiCall(args: readonly string[]): number {
  const [first] = args;
  if (first === "--help" || first === "-h") {
    console.log(helpText());
    return 0;
  }
  if (first === "--version") {
    console.log(versionText());
    return 0;
  }
  if (first === undefined) {
    console.error(helpText());
    return 2;
  }
  const kind = first.startsWith("-") ? "flag" : "program";
  console.error(
    `${MULTI_CALL_NAME}: unknown ${kind} "${first}"; \`${MULTI_CALL_NAME} --help\` lists them`,
  );
  return 2;
}

async function runMain(): Promise<number> {
  const is_packed = import.meta.url.startsWith("file:///proc/self/fd/");
  if (is_packed) RUNTIME_VARIABLES.forEach((line) => Deno.env.delete(line.split("=")[0]));
  const { name, args } = dispatch(Object.keys(PROGRAMS), {
    called_as: [calledAs(), Deno.execPath()],
    default_name: build.default_name,
    args: Deno.args,
  });
  if (args[0] === "--licenses") {
    console.log(build.licenses.trimEnd());
    return 0;
  }
  if (name === MULTI_CALL_NAME) return runMultiCall(args);
  const { main } = await PROGRAMS[name].load();
  return await main(args);
}

async function runWorker(message: WorkerMessage): Promise<void> {
  if (!Object.hasOwn(WORKERS, message.entry)) {
    throw new Error(`no Worker "${message.entry}"; util/programs.ts lists them`);
  }
  const { workerMain } = await WORKERS[message.entry]();
  await workerMain(message);
}

if ("WorkerGlobalScope" in globalThis) {
  globalThis.addEventListener(
    "message",
    (event) => void runWorker((event as MessageEvent<WorkerMessage>).data),
    { once: true },
  );
} else if (import.meta.main) {
  Deno.exit(await runMain());
}

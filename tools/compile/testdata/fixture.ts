/**
 * A small program that is main and Worker in one module, as util/main.ts is. The tests pack it and
 * look at what it sees from inside.
 *
 * @module
 */

import process from "node:process";
import { loadShim } from "../../../ffi/shim.ts";

/** What `see` prints. */
export interface Sight {
  args: string[];
  argv0: string;
  cmdline: string[];
  comm: string;
  cwd: string;
  environment: Record<string, string>;
  exe: string;
  has_gc: boolean;
  has_wasm: boolean;
  module: string;
}

/** What a Worker answers. */
export interface WorkerAnswer {
  tid: number;
  /** Where in memory the shim is; the same in all Workers if they share one copy. */
  shim_address: string;
}

function see(): Sight {
  return {
    args: Deno.args,
    argv0: process.argv0,
    cmdline: Deno.readTextFileSync("/proc/self/cmdline").split("\0").slice(0, -1),
    comm: Deno.readTextFileSync("/proc/self/comm").trim(),
    cwd: Deno.cwd(),
    environment: Deno.env.toObject(),
    exe: Deno.execPath(),
    has_gc: "gc" in globalThis,
    has_wasm: "WebAssembly" in globalThis,
    module: import.meta.url,
  };
}

function shimAddress(): string {
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  const shim = maps.filter((line) => /r-xp.*(memfd:|shim)/.test(line) && !line.includes("bundle"));
  return shim.map((line) => line.split("-")[0]).join(",");
}

function answer(counter: Int32Array): WorkerAnswer {
  const shim = loadShim();
  Atomics.add(counter, 0, 1);
  Atomics.notify(counter, 0);
  // All are alive at once: no two can have the same thread.
  for (let seen; (seen = Atomics.load(counter, 0)) < counter[1];) Atomics.wait(counter, 0, seen);
  return { tid: shim.gettid(), shim_address: shimAddress() };
}

async function runWorkers(count: number): Promise<WorkerAnswer[]> {
  const counter = new Int32Array(new SharedArrayBuffer(8));
  counter[1] = count;
  const answers: Promise<WorkerAnswer>[] = [];
  for (let i = 0; i < count; i++) {
    const worker = new Worker(import.meta.url, { type: "module", name: `w${i}` });
    answers.push(new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data)));
    worker.postMessage(counter);
  }
  return await Promise.all(answers);
}

function waitForSignal(status: number): Promise<never> {
  Deno.addSignalListener("SIGINT", () => Deno.exit(status));
  console.log("ready");
  setInterval(() => {}, 1000);
  return new Promise(() => {});
}

async function main(args: string[]): Promise<number> {
  switch (args[0]) {
    case "exit":
      return Number(args[1]);
    case "workers":
      console.log(JSON.stringify(await runWorkers(Number(args[1]))));
      return 0;
    case "signal":
      return await waitForSignal(Number(args[1]));
    default:
      console.log(JSON.stringify(see()));
      return 0;
  }
}

if ("WorkerGlobalScope" in globalThis) {
  const scope = globalThis as unknown as {
    onmessage: (event: MessageEvent<Int32Array>) => void;
    postMessage(answer: WorkerAnswer): void;
    close(): void;
  };
  scope.onmessage = ({ data }) => {
    scope.postMessage(answer(data));
    scope.close();
  };
} else if (import.meta.main) {
  Deno.exit(await main(Deno.args));
}

import { assertEquals, assertStringIncludes } from "@std/assert";
import type { SubTestResult } from "../experiments/sim_load.ts";
import { Progress } from "./progress.ts";

const NOW = { name: "BusyExp", ended_count: 25, thread_count: 100, time_ns: 5_000_000 };

function resultOf(name: string, faults: readonly string[] = []): SubTestResult {
  return {
    name,
    thread_count: 1,
    start_ns: 0,
    time_ns: 1_000,
    switch_count: 0,
    wake_count: 0,
    wake_p50_ns: NaN,
    wake_p99_ns: NaN,
    wake_max_ns: NaN,
    commit_count: 0,
    refused_count: 0,
    faults,
    is_complete: true,
  };
}

function show(is_terminal: boolean, use: (progress: Progress) => void): string {
  let text = "";
  use(new Progress({ is_terminal, stderr: (piece) => text += piece }));
  return text;
}

Deno.test("on a terminal one line is rewritten and taken away at the end", () => {
  const text = show(true, (progress) => {
    progress.show(NOW);
    progress.ended([resultOf("BusyExp")]);
    progress.clear();
  });
  const erase = "\r\x1b[K";
  const line = `${"BusyExp".padEnd(20)} [${"#".repeat(6).padEnd(24, ".")}] 25/100 threads, 5.00 ms`;
  assertEquals(text, `${erase}${line}${erase}BusyExp ... ok, 1.00 us\n`);
});

Deno.test("a sub-test without threads has an empty bar", () => {
  const text = show(true, (progress) => progress.show({ ...NOW, ended_count: 0, thread_count: 0 }));
  assertStringIncludes(text, `[${".".repeat(24)}] 0/0 threads`);
});

Deno.test("elsewhere there is one line per finished sub-test and nothing to rewrite", () => {
  const results = [resultOf("A")];
  const text = show(false, (progress) => {
    progress.show(NOW);
    progress.ended(results);
    results.push(resultOf("B", ["b"]));
    progress.ended(results);
    progress.ended(results);
    progress.clear();
  });
  assertEquals(text, "A ... ok, 1.00 us\nB ... FAILED, 1.00 us\n");
});

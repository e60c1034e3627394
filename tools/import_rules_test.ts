import { assert, assertEquals } from "@std/assert";
import { dlopenFault, importFault } from "./import_rules.ts";

const POLICY = "schedulers/fifo/per_cpu/scheduler.ts";
const AGENT = "schedulers/fifo/per_cpu/agent.ts";

const ALLOWED: readonly [from: string, specifier: string][] = [
  [POLICY, "../../../lib/message.ts"],
  [POLICY, "../../../kernels/kernel.ts"],
  [POLICY, "../../../ffi/abi/constants.ts"],
  [POLICY, "../../../ffi/memory.ts"],
  [POLICY, "./flags.ts"],
  [AGENT, "./scheduler.ts"],
  [AGENT, "../../../kernels/sim/machine.ts"],
  [AGENT, "@std/cli"],
  ["lib/ring.ts", "../ffi/memory.ts"],
  ["lib/ring.ts", "../ffi/abi/constants.ts"],
  ["lib/scheduler.ts", "../kernels/kernel.ts"],
  ["lib/scheduler.ts", "./ring.ts"],
  ["kernels/sim/machine.ts", "../../lib/ring.ts"],
  ["kernels/kernel.ts", "../ffi/abi/abi.ts"],
  ["shared/shmem.ts", "../ffi/shim.ts"],
  ["ffi/shim.ts", "./abi/abi.ts"],
  ["util/ghostctl.ts", "../tests/conformance/selftest.ts"],
  ["experiments/demo.ts", "../schedulers/fifo/per_cpu/scheduler.ts"],
  ["tests/fuzz/main.ts", "../../schedulers/fifo/per_cpu/scheduler.ts"],
  ["lib/ring_test.ts", "../kernels/sim/machine.ts"],
  ["lib/ring_test.ts", "@std/assert"],
  ["mod.ts", "./kernels/sim/mod.ts"],
];

const REFUSED: readonly [from: string, specifier: string][] = [
  [POLICY, "../../../kernels/sim/machine.ts"],
  [POLICY, "../../../ffi/shim.ts"],
  [POLICY, "../centralized/scheduler.ts"],
  [POLICY, "./agent.ts"],
  [POLICY, "../../../experiments/demo.ts"],
  [AGENT, "../centralized/scheduler.ts"],
  [AGENT, "../centralized/agent.ts"],
  [AGENT, "../../../tests/fuzz/main.ts"],
  ["lib/scheduler.ts", "../schedulers/fifo/per_cpu/scheduler.ts"],
  ["lib/scheduler.ts", "../kernels/sim/machine.ts"],
  ["lib/scheduler.ts", "../ffi/shim.ts"],
  ["lib/scheduler.ts", "../util/main.ts"],
  ["lib/scheduler.ts", "./scheduler_test.ts"],
  ["lib/ring.ts", "./task_table.ts"],
  ["lib/transaction.ts", "./topology.ts"],
  ["lib/clock.ts", "jsr:@std/async@1"],
  ["lib/clock.ts", "npm:long"],
  ["lib/clock.ts", "https://example.org/mod.ts"],
  ["lib/clock.ts", "@std/assert"],
  ["lib/clock.ts", "../../elsewhere/mod.ts"],
  ["lib/clock.ts", "/elsewhere/mod.ts"],
  ["kernels/kernel.ts", "./sim/machine.ts"],
  ["kernels/kernel.ts", "../lib/ring.ts"],
  ["kernels/sim/machine.ts", "../../schedulers/fifo/per_cpu/scheduler.ts"],
  ["kernels/sim/machine.ts", "../../experiments/demo.ts"],
  ["shared/shmem.ts", "../lib/ring.ts"],
  ["ffi/shim.ts", "../lib/errors.ts"],
  ["ffi/memory.ts", "./shim.ts"],
  ["ffi/abi/abi.ts", "../shim.ts"],
  ["util/ghostctl.ts", "../tests/fuzz/main.ts"],
  ["mod.ts", "./schedulers/fifo/per_cpu/scheduler.ts"],
  ["mod.ts", "./tools/task.ts"],
];

Deno.test("import rules: what the layers allow passes", () => {
  for (const [from, specifier] of ALLOWED) {
    assertEquals(importFault(from, specifier), undefined, `${from} -> ${specifier}`);
  }
});

Deno.test("import rules: every side door is refused, with a cure", () => {
  for (const [from, specifier] of REFUSED) {
    const fault = importFault(from, specifier);
    assert(fault !== undefined && fault.cure !== "", `${from} -> ${specifier}`);
  }
});

Deno.test("import rules: only ffi/ may open native libraries", () => {
  assertEquals(dlopenFault("ffi/shim.ts"), undefined);
  assertEquals(dlopenFault("ffi/memory_test.ts"), undefined);
  for (const path of ["lib/clock.ts", "kernels/ghost/kernel.ts", "tools/compile/main.ts"]) {
    assertEquals(dlopenFault(path)?.what, "calls Deno.dlopen");
  }
});

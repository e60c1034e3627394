import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { run, sleep } from "../kernels/sim/actions.ts";
import type { SimEnclave } from "../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../kernels/sim/host.ts";
import { SimKernel } from "../kernels/sim/sim_kernel.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { UsageError } from "./errors.ts";
import { decodeSnapshot, encodeSnapshot } from "./snapshot.ts";

function loaded(): { kernel: SimKernel; enclave: SimEnclave; host: SimPolicyHost } {
  const kernel = new SimKernel({ cpus: 2 });
  const enclave = kernel.createEnclave([0, 1], 91) as SimEnclave;
  const host = new SimPolicyHost(kernel, enclave, FIFO_PER_CPU);
  for (let index = 0; index < 5; index++) {
    const thread = kernel.machine.spawn(function* () {
      for (let round = 0; round < 50; round++) {
        yield run(100_000);
        yield sleep(50_000);
      }
    }, `load ${index}`);
    enclave.join(thread.tid);
  }
  kernel.machine.runUntil(2_000_000);
  return { kernel, enclave, host };
}

Deno.test("a successor goes on with the kept columns, and loses no thread", () => {
  const { kernel, enclave, host } = loaded();
  const snapshot = host.snapshot();
  const turn = host.enclave.state.global("next_cpu")[0];
  assertEquals(snapshot.global, { next_cpu: [turn] });
  assertEquals(snapshot.tasks.length, 5);
  host.leave();
  const text = encodeSnapshot(snapshot);
  const read = decodeSnapshot(text, "state.json", "fifo_per_cpu");
  if (read instanceof Error) throw read;
  assertEquals(read, snapshot);
  const next = new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { snapshot: read });
  assertEquals(next.enclave.state.global("next_cpu")[0], turn);
  while (kernel.machine.live_count > 0 && kernel.machine.runOne());
  assertEquals(next.failure, null);
  assertEquals(kernel.machine.live_count, 0);
});

Deno.test("tasks and columns that only the snapshot has are passed over", () => {
  const { host } = loaded();
  const snapshot = {
    ...host.snapshot(),
    tasks: [[1, 7, 1]],
    task_columns: ["prio_boost"],
    global: { next_cpu: [1, 2, 3], gone: [4] },
  };
  const turn = host.enclave.state.global("next_cpu")[0];
  host.policies()[0].restore(snapshot);
  assertEquals(host.enclave.state.global("next_cpu")[0], turn);
});

for (
  const [what, text, want] of [
    ["a foreign file", "ELF", "x.json is not a saved state"],
    ["other JSON", `{"a":1}`, "x.json is not a saved state"],
    ["JSON null", "null", "x.json is not a saved state"],
    ["a truncated file", `{"magic":"ghost-agents-state","form`, "x.json is cut off after 35 bytes"],
    [
      "another format",
      `{"magic":"ghost-agents-state","format":9}`,
      "x.json has format 9, this agent reads 1",
    ],
    [
      "another policy's file",
      `{"magic":"ghost-agents-state","format":1,"policy":"edf"}`,
      "x.json was written by edf, not by fifo_per_cpu",
    ],
    [
      "a damaged file",
      `{"magic":"ghost-agents-state","format":1,"policy":"fifo_per_cpu","tasks":[[1]]}`,
      "x.json is damaged",
    ],
  ]
) {
  Deno.test(`decodeSnapshot() refuses ${what} in one line`, () => {
    const error = decodeSnapshot(text, "x.json", "fifo_per_cpu");
    assertInstanceOf(error, UsageError);
    assertStringIncludes(error.message, want);
    assertEquals(error.message.includes("\n"), false);
  });
}

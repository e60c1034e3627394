import { assertEquals } from "@std/assert";
import { MSG_TASK_NEW } from "../../ffi/abi/constants.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { run } from "./actions.ts";
import type { SimEnclave } from "./enclave.ts";
import { SimPolicyHost } from "./host.ts";
import { checkAll } from "./invariants.ts";
import { SimKernel } from "./sim_kernel.ts";
import { MODE_DEFAULT, type SimThread } from "./thread.ts";

interface Forked {
  readonly child: SimThread;
  readonly message_types: readonly number[];
  readonly default_spans: number;
  readonly live_count: number;
}

/** A thread on 2 CPUs forks a child; `in_ghost` says whether the parent is in the enclave. */
function forkOnce(in_ghost: boolean, status_word_capacity: number): Forked {
  const kernel = new SimKernel({ cpus: 2, seed: 1, status_word_capacity });
  const { machine } = kernel;
  const enclave = kernel.createEnclave([0, 1], kernel.abi.version) as SimEnclave;
  new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { task_capacity: 16 });
  let child: SimThread | undefined;
  const message_types: number[] = [];
  let default_spans = 0;
  machine.trace = {
    span: (_cpu, mode, tid) => {
      if (tid === child?.tid && mode === MODE_DEFAULT) default_spans++;
    },
    message: (_time_ns, _queue, type, tid) => {
      if (tid === machine.first_tid + 1) message_types.push(type);
    },
    commit: () => {},
  };
  const parent = machine.spawn(function* (thread) {
    yield run(10_000);
    child = machine.spawn(
      function* () {
        yield run(10_000);
      },
      "child",
      thread,
    );
    yield run(10_000);
  }, "parent");
  if (in_ghost) enclave.join(parent.tid);
  machine.runUntil(1_000_000);
  checkAll(machine);
  if (child === undefined) throw new Error("the parent did not run");
  return { child, message_types, default_spans, live_count: machine.live_count };
}

Deno.test("a child forked in ghOSt starts in its parent's enclave, TASK_NEW first", () => {
  const { child, message_types, default_spans, live_count } = forkOnce(true, 64);
  assertEquals(live_count, 0);
  assertEquals(default_spans, 0);
  assertEquals(message_types[0], MSG_TASK_NEW);
  assertEquals(message_types.filter((type) => type === MSG_TASK_NEW).length, 1);
  assertEquals(child.runtime_ns, 10_000);
});

Deno.test("a child forked in the default class stays in it and sends no message", () => {
  const { message_types, default_spans, live_count } = forkOnce(false, 64);
  assertEquals(live_count, 0);
  assertEquals(default_spans, 1);
  assertEquals(message_types, []);
});

Deno.test("a child for which there is no status word runs under the default class", () => {
  // Two agents and the parent have all the words.
  const { message_types, default_spans, live_count } = forkOnce(true, 3);
  assertEquals(live_count, 0);
  assertEquals(default_spans, 1);
  assertEquals(message_types, []);
});

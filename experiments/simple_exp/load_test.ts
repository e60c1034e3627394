import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { SimEnclave } from "../../kernels/sim/enclave.ts";
import { SimPolicyHost } from "../../kernels/sim/host.ts";
import { checkAll } from "../../kernels/sim/invariants.ts";
import { SimKernel } from "../../kernels/sim/sim_kernel.ts";
import { FIFO_PER_CPU } from "../../schedulers/fifo/per_cpu/scheduler.ts";
import { SimLoadRun, type SubTestResult } from "../sim_load.ts";
import { SIMPLE_EXP } from "./load.ts";

interface Setup {
  readonly cpu_count?: number;
  readonly seed?: number;
  /** Breaks something before the load begins. */
  readonly sabotage?: (enclave: SimEnclave) => void;
  /** Only the sub-test of this name. */
  readonly only?: string;
}

function runLoad({ cpu_count = 2, seed = 1, sabotage, only }: Setup): SubTestResult[] {
  const kernel = new SimKernel({ cpus: cpu_count, seed, status_word_capacity: 8192 });
  const cpus = Array.from({ length: cpu_count }, (_, cpu) => cpu);
  const enclave = kernel.createEnclave(cpus, kernel.abi.version);
  if (!(enclave instanceof SimEnclave)) throw new Error(`no enclave: errno ${-enclave}`);
  const host = new SimPolicyHost(kernel, enclave, FIFO_PER_CPU, { task_capacity: 4096 });
  sabotage?.(enclave);
  const sub_tests = SIMPLE_EXP.sub_tests.filter(({ name }) => only === undefined || name === only);
  const run = new SimLoadRun(kernel.machine, enclave, { ...SIMPLE_EXP, sub_tests }, seed);
  while (run.advance(10_000));
  assertEquals(host.failure, null);
  checkAll(kernel.machine);
  return run.results;
}

const NAMES = [
  "SimpleExp",
  "SimpleExpMany",
  "BusyExp",
  "TaskDeparted",
  "TaskDepartedMany",
  "TaskDepartedManyRace",
];

for (const cpu_count of [1, 2, 8]) {
  Deno.test(`the six sub-tests hold on ${cpu_count} CPUs, whatever the seed`, () => {
    for (const seed of [1, 2, 3]) {
      const results = runLoad({ cpu_count, seed });
      assertEquals(results.map((result) => result.name), NAMES);
      for (const { name, faults, thread_count, is_complete } of results) {
        assertEquals([name, ...faults], [name]);
        assert(is_complete);
        const expected = SIMPLE_EXP.sub_tests.find((sub_test) => sub_test.name === name);
        assertEquals(thread_count, expected?.thread_count);
      }
    }
  });
}

Deno.test("the same seed gives the same figures, another one others", () => {
  const figures = (seed: number): string => JSON.stringify(runLoad({ seed }));
  assertEquals(figures(7), figures(7));
  assert(figures(7) !== figures(8));
});

Deno.test("BusyExp takes as long as its threads spin, shared by the CPUs", () => {
  for (const cpu_count of [1, 2, 4]) {
    const [{ time_ns }] = runLoad({ cpu_count, only: "BusyExp" });
    const ideal_ns = 100 * 10_000_000 / cpu_count;
    assert(time_ns >= ideal_ns && time_ns < ideal_ns * 1.02, `${time_ns} ns on ${cpu_count} CPUs`);
  }
});

Deno.test("SimpleExp takes its sleep and a little", () => {
  const [{ time_ns }] = runLoad({ only: "SimpleExp" });
  assert(time_ns > 10_000_000 && time_ns < 10_200_000, `${time_ns}`);
});

Deno.test("TaskDepartedManyRace moves threads out while they run, wait and sleep", () => {
  const states = new Map<number, number>();
  runLoad({
    cpu_count: 8,
    only: "TaskDepartedManyRace",
    sabotage: (enclave) => {
      const depart = enclave.depart.bind(enclave);
      enclave.depart = (thread) => {
        states.set(thread.state, (states.get(thread.state) ?? 0) + 1);
        depart(thread);
      };
    },
  });
  const total = [...states.values()].reduce((sum, count) => sum + count, 0);
  assertEquals(total, 1000);
  for (const state of [0, 1, 3]) assert((states.get(state) ?? 0) > 0, `none in state ${state}`);
});

function faultsOf(only: string, sabotage: (enclave: SimEnclave) => void): string {
  return runLoad({ only, sabotage })[0].faults.join("\n");
}

Deno.test("SimpleExp notices a child that is not in ghOSt", () => {
  const faults = faultsOf("SimpleExp", (enclave) => enclave.inherit = () => false);
  assertStringIncludes(faults, "nap child: expected that a child forked in ghOSt is in ghOSt");
});

Deno.test("SimpleExpMany notices it too", () => {
  const faults = faultsOf("SimpleExpMany", (enclave) => enclave.inherit = () => false);
  assertStringIncludes(faults, "a child forked in ghOSt is in ghOSt");
});

Deno.test("BusyExp notices threads that cannot enter", () => {
  const faults = faultsOf("BusyExp", (enclave) => enclave.join = () => -1);
  assertStringIncludes(faults, "a thread can enter ghOSt (errno 1)");
});

Deno.test("BusyExp notices threads that ghOSt loses while they spin", () => {
  const faults = faultsOf("BusyExp", (enclave) => {
    const join = enclave.join.bind(enclave);
    enclave.join = (tid) => {
      const result = join(tid);
      const thread = enclave.tasks.values().next().value;
      if (thread !== undefined) enclave.depart(thread);
      return result;
    };
  });
  assertStringIncludes(faults, "a thread that spins in ghOSt stays in it");
});

for (const only of ["TaskDeparted", "TaskDepartedMany"]) {
  Deno.test(`${only} notices a thread that cannot leave`, () => {
    const faults = faultsOf(only, (enclave) => enclave.depart = () => {});
    assertStringIncludes(faults, "a thread that left ghOSt is in the default class");
  });
}

Deno.test("TaskDepartedManyRace notices a thread that comes back", () => {
  const faults = faultsOf("TaskDepartedManyRace", (enclave) => {
    const depart = enclave.depart.bind(enclave);
    let left = 1;
    enclave.depart = (thread) => {
      depart(thread);
      if (left-- > 0) enclave.join(thread.tid);
    };
  });
  assertStringIncludes(faults, "every thread was moved out of ghOSt once");
});

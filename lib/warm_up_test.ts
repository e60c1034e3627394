import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { type Abi, ABI_VERSIONS, abiOf, LATEST_ABI } from "../ffi/abi/abi.ts";
import { MSG_NOP, MSG_TASK_NEW } from "../ffi/abi/constants.ts";
import { HARDWARE_MEMORY } from "../ffi/memory.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { edf } from "../schedulers/edf/scheduler.ts";
import { fifoCentralized } from "../schedulers/fifo/centralized/scheduler.ts";
import { shinjuku } from "../schedulers/shinjuku/scheduler.ts";
import { sol } from "../schedulers/sol/scheduler.ts";
import { HintRegistry, makeHintRegistry } from "../shared/hint_registry.ts";
import { DUMP_ALL_TASKS, type PolicyDefinition, type Verdict } from "./policy.ts";
import type { DryRunPort } from "./synthetic_kernel.ts";
import { DryRun, type DryRunOptions, warmUp } from "./warm_up.ts";

/** Calls without effect, counted. */
class CountingPort implements DryRunPort {
  associate_result = 0;
  on_commit: (() => void) | null = null;
  readonly cpu: number;
  readonly status_index: number;
  readonly counts: Record<string, number> = {};

  constructor(cpu: number, status_index: number) {
    this.cpu = cpu;
    this.status_index = status_index;
  }

  #count(name: string, result: number): number {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
    return result;
  }

  nowNs = () => 0;
  commit = () => {
    this.#count("commit", 0);
    this.on_commit?.();
  };
  commitGroup = () => {
    this.#count("commitGroup", 0);
    this.on_commit?.();
  };
  commitSyncGroup = () => this.#count("commitSyncGroup", 1);
  ping = () => this.#count("ping", 0);
  cpuTimeNs = () => 0;
  armTimer = () => 0;
  localCommit = () => this.#count("localCommit", 0);
  localYield = () => this.#count("localYield", 0);
  leave = () => 0;
  associate = () =>
    this.#count(this.associate_result < 0 ? "refused" : "associate", this.associate_result);
  freeStatusWord = () => this.#count("freeStatusWord", 0);
}

function options(abi: Abi = LATEST_ABI, policy: PolicyDefinition = FIFO_PER_CPU) {
  const ports: CountingPort[] = [];
  const dryPort = (cpu: number, status_index: number) => {
    ports.push(new CountingPort(cpu, status_index));
    return ports[ports.length - 1];
  };
  const run: DryRunOptions = {
    abi,
    memory: HARDWARE_MEMORY,
    policy,
    cpus: [0, 1, 2, 3],
    cpu: 1,
    dryPort,
  };
  return { run, ports };
}

for (const version of ABI_VERSIONS) {
  Deno.test(`a dry run shows every message type of ABI ${version} and every outcome`, () => {
    const abi = abiOf(version) as Abi;
    const { run, ports } = options(abi);
    const dry = new DryRun(run);
    assert(!dry.kernel.hasShownAll());
    dry.run(60_000);
    assert(dry.kernel.hasShownAll());
    const types = [...abi.messages.keys()].filter((type) => type !== MSG_NOP);
    assertEquals(types.filter((type) => dry.kernel.type_counts[type] === 0), []);
    assertEquals([...dry.kernel.outcome_counts].filter((count) => count === 0), []);
    const calls = ["localCommit", "localYield", "associate", "refused", "ping", "freeStatusWord"];
    for (const name of calls) assertGreater(ports[0].counts[name] ?? 0, 0, name);
  });
}

Deno.test("a dry run with a seed is the same run each time, with another one it is not", () => {
  const outcomes = [1, 1, 2].map((seed) => {
    const dry = new DryRun({ ...options().run, seed });
    dry.run(20_000);
    return [...dry.kernel.type_counts, dry.kernel.commit_count].join();
  });
  assertEquals(outcomes[0], outcomes[1]);
  assert(outcomes[0] !== outcomes[2]);
});

Deno.test("lost messages are found again: the tasks go on being run", () => {
  const dry = new DryRun({ ...options().run, overflow_interval: 16 });
  for (let round = 0; round < 20; round++) {
    const before = dry.kernel.commit_count;
    dry.run(2000);
    assertGreater(dry.kernel.commit_count, before);
  }
});

Deno.test("a warm-up ends when the time per message no longer falls, or after 2 s", () => {
  const { run } = options();
  // A clock on which nothing takes time: steady at once, so that the least number counts.
  const steady = warmUp(run, () => 0);
  assertGreater(steady.message_count, 99_999);
  assert(steady.message_count < 130_000, `${steady.message_count} messages`);
  // A clock that leaps: the limit ends it long before.
  let now_ns = 0;
  const slow = warmUp(run, () => now_ns += 0.3e9);
  assert(slow.message_count < 50_000, `${slow.message_count} messages`);
  assertGreater(slow.duration_ns, 2e9);
});

Deno.test("a brief warm-up ends as soon as all was seen, after 10,000 messages at least", () => {
  for (const seed of [1, 2, 3]) {
    const { run, ports } = options();
    const brief = warmUp({ ...run, seed }, () => 0, "brief");
    assertGreater(brief.message_count, 9999);
    assert(brief.message_count < 30_000, `${brief.message_count} messages`);
    const calls = ["localCommit", "localYield", "associate", "refused", "ping", "freeStatusWord"];
    for (const name of calls) assertGreater(ports[0].counts[name] ?? 0, 0, name);
  }
});

Deno.test("a global policy has a second instance in its warm-up, for half a second at most", () => {
  const { run, ports } = options(
    LATEST_ABI,
    fifoCentralized({ global_cpu: 1, preemption_time_slice_ns: 30_000 }),
  );
  warmUp(run, () => 0);
  assertEquals(ports.length, 2);
  assertGreater(ports[1].counts.commitGroup ?? 0, 1000);
  let now_ns = 0;
  warmUp(run, () => now_ns += 0.3e9);
  assertEquals(ports.length, 4);
  assert(ports[3].counts.commitGroup < ports[1].counts.commitGroup);
  const one_cpu = options();
  warmUp(one_cpu.run, () => 0);
  assertEquals(one_cpu.ports.length, 1);
});

Deno.test("a policy that breaks at a message breaks in the warm-up, before it is online", () => {
  class Broken extends FifoPerCpuScheduler {
    override step(): Verdict {
      if (this.message_count[0] > 1000) throw new RangeError("planted");
      return super.step();
    }
  }
  const broken: PolicyDefinition = { ...FIFO_PER_CPU, create: (agent) => new Broken(agent) };
  assertThrows(() => warmUp(options(LATEST_ABI, broken).run, () => 0), RangeError, "planted");
});

Deno.test("an enclave of one CPU can be warmed up too", () => {
  const dry = new DryRun({ ...options().run, cpus: [7], cpu: 7 });
  dry.run(60_000);
  assertGreater(dry.kernel.type_counts[MSG_TASK_NEW], 100);
  assertGreater(dry.kernel.commit_count, 1000);
});

const GLOBAL: readonly PolicyDefinition[] = [
  fifoCentralized({ global_cpu: 0, preemption_time_slice_ns: 30_000 }),
  sol({ global_cpu: 0, preemption_time_slice_ns: 30_000 }),
  shinjuku({ global_cpu: 0, preemption_time_slice_ns: 30_000 }),
  edf({ global_cpu: 0, ticks: false }),
];

for (const policy of GLOBAL) {
  Deno.test(`a dry run of ${policy.name} schedules, whichever CPU the agent has`, () => {
    const { run, ports } = options(LATEST_ABI, policy);
    const dry = new DryRun(run);
    dry.run(50_000);
    assert(dry.kernel.hasShownAll());
    assertGreater(dry.kernel.outcome_counts[0], 1000);
    assertGreater(ports[0].counts.commitGroup, 1000);
  });
}

Deno.test("a warm-up asks nobody for the hints of threads that it makes up", () => {
  const hint_registry = makeHintRegistry();
  const words = () => [...new Int32Array(hint_registry)];
  const before = words();
  for (const policy of [shinjuku, edf]) {
    const config = { global_cpu: 0, preemption_time_slice_ns: 1000, ticks: false, hint_registry };
    new DryRun(options(LATEST_ABI, policy(config)).run).run(1000);
  }
  assertEquals(words(), before);
});

Deno.test("a warm-up reads hints of an application that it makes up", () => {
  for (const make of [shinjuku, edf]) {
    const policy = make({ global_cpu: 0, preemption_time_slice_ns: 1000, ticks: false });
    const rehearsal = policy.rehearsal!();
    const registry = new HintRegistry(rehearsal.options?.hint_registry as SharedArrayBuffer);
    const dry = new DryRun(options(LATEST_ABI, { ...policy, rehearsal: () => rehearsal }).run);
    let paused_count = 0;
    for (let chunk = 0; chunk < 40; chunk++) {
      dry.run(500);
      if (dry.policy.dump(DUMP_ALL_TASKS).includes("Paused")) paused_count++;
    }
    assertGreater(paused_count, 2);
    assertGreater(registry.newsTaken(), 100);
    assert(registry.newsTold() - registry.newsTaken() < 100);
  }
});

/**
 * Global agents in threads of their own against the native peer: one thread spins and schedules all
 * CPUs, the others are parked and take over when its CPU is wanted.
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { AgentThreads } from "../kernels/agent_threads.ts";
import {
  PEER_OPENER,
  type PeerEnclave,
  PeerKernel,
  type PeerOptions,
} from "../kernels/peer/peer_kernel.ts";
import { simTopology } from "../kernels/sim/sim_topology.ts";
import { PolicyEnclave } from "../lib/enclave.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import { edf } from "../schedulers/edf/scheduler.ts";
import { fifoCentralized } from "../schedulers/fifo/centralized/scheduler.ts";
import { shinjuku } from "../schedulers/shinjuku/scheduler.ts";
import { sol } from "../schedulers/sol/scheduler.ts";
import { makeHintRegistry } from "../shared/hint_registry.ts";

/** More than any machine needs. */
const HANG_MS = 60_000;
const SLICE = { global_cpu: 1, preemption_time_slice_ns: 50_000 };
const ENDLESS: Partial<PeerOptions> = { task_count: 60, round_count: 1_000_000_000 };

const POLICIES: Readonly<Record<string, () => PolicyDefinition>> = {
  fifo_centralized: () => fifoCentralized(SLICE),
  sol: () => sol(SLICE),
  shinjuku: () => shinjuku({ ...SLICE, hint_registry: makeHintRegistry() }),
  edf: () => edf({ global_cpu: 1, ticks: false, hint_registry: makeHintRegistry() }),
};

async function until(what: () => boolean, timeout_ms = HANG_MS): Promise<void> {
  const end_ms = performance.now() + timeout_ms;
  while (!what()) {
    assert(performance.now() < end_ms, `${timeout_ms} ms are over: ${what}`);
    await new Promise((wake) => setTimeout(wake, 1));
  }
}

interface Bench {
  readonly kernel: PeerKernel;
  readonly control: PeerEnclave;
  readonly enclave: PolicyEnclave;
  readonly threads: AgentThreads;
  /** Times that an agent took the role. */
  readonly globalCpu: () => number;
}

async function withAgents(
  policy: PolicyDefinition,
  peer: Partial<PeerOptions>,
  body: (bench: Bench) => Promise<void>,
): Promise<void> {
  const kernel = new PeerKernel({ cpu_count: 4, producer_count: 2, ...peer });
  const cpus = kernel.cpuRows().map(({ cpu }) => cpu);
  const control = kernel.createEnclave(cpus, kernel.abi.version) as PeerEnclave;
  const enclave = new PolicyEnclave(kernel, control, policy, {
    task_capacity: 512,
    // Room for what happens while a busy machine keeps the spinning thread off its CPU.
    queue_elem_count: 65_536,
  });
  try {
    const threads = await AgentThreads.start({
      kernel,
      control,
      enclave,
      choice: { name: policy.name, options: policy.options ?? {} },
      opener: PEER_OPENER,
      pin: false,
      lock_memory: false,
      warm_up: "none",
    });
    const role = enclave.state.global("global_cpu");
    const globalCpu = () => {
      const word = Atomics.load(role, 0);
      return word > 0 ? word - 1 : SLICE.global_cpu;
    };
    try {
      await body({ kernel, control, enclave, threads, globalCpu });
    } finally {
      await threads.stop({ drain_ms: 0 });
    }
  } finally {
    kernel.close();
  }
}

/** What must hold of every run, however it ends. */
function assertSound(kernel: PeerKernel): void {
  const { double_run_count, policy_fault_count, overflow_count } = kernel.report();
  assertEquals({ double_run_count, policy_fault_count, overflow_count }, {
    double_run_count: 0,
    policy_fault_count: 0,
    overflow_count: 0,
  });
}

for (const [name, define] of Object.entries(POLICIES)) {
  Deno.test(`${name}: one thread schedules all CPUs, hands the role on, loses none`, async () => {
    const task_count = 100;
    const load = { task_count, round_count: 60, refuse_per_10000: 100 };
    await withAgents(define(), load, async ({ kernel, enclave, threads, globalCpu }) => {
      const roles = new Set<number>();
      kernel.start();
      await until(() => {
        roles.add(globalCpu());
        return kernel.report().gone_count === task_count || threads.liveCount() < 4;
      });
      assertSound(kernel);
      const report = kernel.report();
      assertEquals(report.gone_count, task_count);
      assertGreater(report.capricious_count, 0);
      // Threads of the default class take CPUs, the agent's too, now and then.
      assertGreater(roles.size, 1);
      const commits = enclave.control.cpus().map((cpu) =>
        enclave.state.cpu("commit_count", cpu)[0]
      );
      assertGreater(commits.filter((count) => count > 0).length, 1);
      const { left_count, exit_status } = await threads.stop();
      assertEquals([left_count, exit_status], [4, 0]);
    });
  });
}

Deno.test("the spinning thread ends under load when it is told to", async () => {
  await withAgents(POLICIES.fifo_centralized(), ENDLESS, async ({ kernel, threads }) => {
    kernel.start();
    await until(() => kernel.report().run_count > 500);
    const { left_count, killed_count } = await threads.stop({ drain_ms: 20 });
    assertEquals([left_count, killed_count], [4, 0]);
    assertSound(kernel);
  });
});

Deno.test("the spinning thread is killed, and the process lives", async () => {
  await withAgents(POLICIES.fifo_centralized(), ENDLESS, async ({ kernel, threads, globalCpu }) => {
    kernel.start();
    await until(() => kernel.report().run_count > 500);
    const cpu = globalCpu();
    threads.kill(cpu);
    const { text, exit_status } = await threads.failed();
    assertEquals([text, exit_status], [`agent of CPU ${cpu}: killed`, 1]);
    const report = await threads.stop({ drain_ms: 0 });
    assertEquals(report.killed_count, 1);
    assertEquals(report.left_count, 3);
    const { double_run_count } = kernel.report();
    assertEquals(double_run_count, 0);
  });
});

Deno.test("beyond 32 CPUs only candidates have a Worker, the others are C threads", async () => {
  const cpu_count = 40;
  const task_count = 120;
  const cpu_rows = simTopology(cpu_count);
  const load = { cpu_count, cpu_rows, task_count, round_count: 20 };
  await withAgents(POLICIES.fifo_centralized(), load, async ({ kernel, enclave, threads }) => {
    // CPU 1 shares its last-level cache with 15 others.
    assertEquals(threads.liveCount(), 16);
    assertEquals(threads.satellites().length, 24);
    const words = enclave.control.cpus().map((cpu) =>
      enclave.state.cpu("agent_status_index", cpu)[0]
    );
    assertEquals(new Set(words).size, cpu_count);
    const mayRun = enclave.control.cpus().filter((cpu) => threads.mayRun(cpu));
    assertEquals(mayRun.filter((cpu) => threads.satellites().some((one) => one.cpu === cpu)), []);
    assertEquals(mayRun.length, 16);
    kernel.start();
    await until(() => kernel.report().gone_count === task_count || threads.liveCount() < 16);
    assertSound(kernel);
    assertEquals(kernel.report().gone_count, task_count);
    assertGreater(threads.satellites().reduce((sum, one) => sum + one.yieldCount(), 0), 23);
    threads.checkSatellites();
    const { left_count, exit_status } = await threads.stop();
    assertEquals([left_count, exit_status], [16, 0]);
    const flags = Array.from({ length: 1024 }, (_, n) => enclave.control.status_words[17 + 8 * n]);
    assertEquals(flags.filter((word) => word !== 0), []);
    const names = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => name);
    assertEquals(threads.satellites().filter(({ tid }) => names.includes(String(tid))), []);
  });
});

Deno.test("a C thread that ends by itself is a failure of its CPU's agent", async () => {
  const load = { cpu_count: 40, cpu_rows: simTopology(40), task_count: 1, round_count: 1 };
  await withAgents(POLICIES.fifo_centralized(), load, async ({ control, threads }) => {
    const [{ cpu, ended }] = threads.satellites();
    control.agentDied(cpu);
    await until(() => ended() < 0);
    for (let look = 0; look < 2; look++) threads.checkSatellites();
    const { text, exit_status } = await threads.failed();
    assertEquals([text, exit_status], [`agent of CPU ${cpu}: its thread has ended: ENODEV`, 1]);
    assertEquals((await threads.stop({ drain_ms: 0 })).exit_status, 1);
  });
});

/**
 * Agents in threads of their own, the shipped policy in them, against the native peer: pthreads
 * that send messages and take transactions over the same rings. The peer checks what a kernel
 * would: no task on two CPUs, no transaction for a task that the policy knew could not run.
 */
import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import {
  MSG_TASK_AFFINITY_CHANGED,
  MSG_TASK_BLOCKED,
  MSG_TASK_NEW,
  MSG_TASK_SWITCHTO,
} from "../ffi/abi/constants.ts";
import { SCHED_FIFO, SCHED_OTHER, SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { AgentThreads, type AgentThreadsOptions } from "../kernels/agent_threads.ts";
import { endHurry, hurry } from "../kernels/hurry.ts";
import {
  PEER_OPENER,
  type PeerEnclave,
  PeerKernel,
  type PeerOptions,
} from "../kernels/peer/peer_kernel.ts";
import { PolicyEnclave } from "../lib/enclave.ts";
import { OperatingError } from "../lib/errors.ts";
import { DUMP_BYTES_MAX } from "../lib/limits.ts";
import { DUMP_ALL_TASKS, DUMP_EMPTY_RUNQUEUES } from "../lib/policy.ts";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { PLANTED_CPU } from "./workers/planted_agent_worker.ts";

const CPU_COUNT = 4;
const TASK_RUNNING = 4;
const AGENT_BLOCKED = 1;
/** More than any machine needs. */
const HANG_MS = 30_000;
/** A load that does not end by itself. */
const ENDLESS: Partial<PeerOptions> = { task_count: 120, round_count: 1_000_000_000 };

async function until(what: () => boolean, timeout_ms = HANG_MS): Promise<void> {
  const end_ms = performance.now() + timeout_ms;
  while (!what()) {
    assert(performance.now() < end_ms, `${timeout_ms} ms are over: ${what}`);
    await new Promise((wake) => setTimeout(wake, 1));
  }
}

/** Names of the threads that a test has started and that are still there. */
function threadNames(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/comm`).trim();
    } catch {
      return []; // ended meanwhile
    }
  }).filter((name) => /^(ap_task_|peer_|worker-|agent_)/.test(name)).sort();
}

interface Bench {
  readonly kernel: PeerKernel;
  readonly control: PeerEnclave;
  readonly enclave: PolicyEnclave;
  readonly options: AgentThreadsOptions;
}

/** A peer with the policy's queues on it; afterwards no thread of it may be left. */
async function withPeer(
  peer: Partial<PeerOptions>,
  agents: Partial<AgentThreadsOptions>,
  body: (bench: Bench) => Promise<void>,
): Promise<void> {
  const before = threadNames();
  const kernel = new PeerKernel({ cpu_count: CPU_COUNT, producer_count: 3, ...peer });
  const cpus = kernel.cpuRows().map(({ cpu }) => cpu);
  const control = kernel.createEnclave(cpus, kernel.abi.version) as PeerEnclave;
  const enclave = new PolicyEnclave(kernel, control, FIFO_PER_CPU, {
    task_capacity: 512,
    queue_elem_count: 4096,
  });
  const choice = { name: FIFO_PER_CPU.name, options: {} };
  const rest = { pin: false, lock_memory: false, warm_up: "none" as const, ...agents };
  try {
    await body({
      kernel,
      control,
      enclave,
      options: { kernel, control, enclave, choice, opener: PEER_OPENER, ...rest },
    });
  } catch (error) {
    // Agents that the test has not ended may still use the peer's memory: they leave by
    // themselves, and it is not freed.
    control.destroy();
    throw error;
  }
  kernel.close();
  await until(() => threadNames().join() === before.join());
}

function planted(name: string): Partial<AgentThreadsOptions> {
  const worker_url = new URL("./workers/planted_agent_worker.ts", import.meta.url).href;
  return { worker_url, choice: { name, options: {} } };
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

/** CPUs that the agents' threads may run on, such as "0-1". */
function agentCpus(): string[] {
  const lists: string[] = [];
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    const text = Deno.readTextFileSync(`/proc/self/task/${name}/status`);
    if (!/^Name:\tap_task_/m.test(text)) continue;
    lists.push(/^Cpus_allowed_list:\t(.*)$/m.exec(text)?.[1] ?? "");
  }
  return lists.sort();
}

/** True if this process has the right to real-time threads. */
function mayHurry(): boolean {
  hurry();
  const policy = loadShim().schedGetscheduler(0);
  endHurry();
  return policy !== SCHED_OTHER;
}

/** Scheduling policies of the agents' threads. */
function agentPolicies(): number[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    const is_agent = Deno.readTextFileSync(`/proc/self/task/${name}/comm`).startsWith("ap_task_");
    return is_agent ? [loadShim().schedGetscheduler(Number(name))] : [];
  });
}

Deno.test({
  name: "agents that take over are real-time threads until they are agents; needs CAP_SYS_NICE",
  ignore: !mayHurry(),
  fn: async () => {
    const hurried = SCHED_FIFO | SCHED_RESET_ON_FORK;
    for (const [pins_late, policy] of [[true, hurried], [false, SCHED_OTHER]] as const) {
      const seen: number[] = [];
      const awaitTurn = () => Promise.resolve(void seen.push(...agentPolicies()));
      await withPeer({}, { pins_late, awaitTurn }, async ({ options }) => {
        const threads = await AgentThreads.start(options);
        seen.push(...agentPolicies());
        await threads.stop();
      });
      assertEquals(seen, [policy, policy, policy, policy, 0, 0, 0, 0]);
    }
  },
});

Deno.test("agents that take over are pinned after their warm-up, others before it", async () => {
  const peer = { cpu_count: Math.min(2, navigator.hardwareConcurrency) };
  const pinned = Array.from({ length: peer.cpu_count }, (_, cpu) => String(cpu));
  for (const pins_late of [true, false]) {
    const seen: string[] = [];
    const awaitTurn = () => Promise.resolve(void seen.push(...agentCpus()));
    await withPeer(peer, { pin: true, pins_late, awaitTurn }, async ({ options }) => {
      const threads = await AgentThreads.start(options);
      const own = Deno.readTextFileSync("/proc/self/status");
      const free = /^Cpus_allowed_list:\t(.*)$/m.exec(own)?.[1] ?? "";
      assertEquals(seen, pins_late ? pinned.map(() => free) : pinned);
      assertEquals(agentCpus(), pinned);
      await threads.stop();
    });
  }
});

for (const abi_version of [69, 84, 91]) {
  Deno.test(`four agents run every task to its end, ABI ${abi_version}`, async () => {
    const task_count = 200;
    const load = { task_count, round_count: 40, refuse_per_10000: 100, abi_version };
    await withPeer(load, {}, async ({ kernel, enclave, options }) => {
      const threads = await AgentThreads.start(options);
      kernel.start();
      await until(() => kernel.report().gone_count === task_count || threads.liveCount() < 4);
      assertSound(kernel);
      const report = kernel.report();
      assertEquals(report.gone_count, task_count);
      assertGreater(report.capricious_count, 0);
      // Others are refused because something happened meanwhile: stale agents and tasks.
      assertGreater(report.refused_count, report.capricious_count);
      const types = [...kernel.abi.messages.keys()].filter((type) => type !== 0);
      assertEquals(types.filter((type) => report.message_counts[type] === 0), []);
      for (const cpu of options.control.cpus()) {
        assertGreater(enclave.state.cpu("commit_count", cpu)[0], 100, `commits of CPU ${cpu}`);
        assertEquals(enclave.state.cpu("unknown_count", cpu)[0], 0);
      }
      assertEquals(await threads.stop(), {
        left_count: 4,
        killed_count: 0,
        failures: [],
        exit_status: 0,
      });
      // The words of tasks and agents are all free again.
      const flags = Array.from(
        { length: 1024 },
        (_, n) => options.control.status_words[17 + 8 * n],
      );
      assertEquals(flags.filter((word) => word !== 0), []);
    });
  });
}

Deno.test("agents warm up, are named, block signals, and have their memory locked", async () => {
  await withPeer({}, { warm_up: "full", lock_memory: true, pin: false }, async ({ options }) => {
    const threads = await AgentThreads.start(options);
    assertGreater(threads.warmUpMs(), 0);
    const { locked_bytes, failed_bytes } = threads.lock_report ?? {};
    assertGreater((locked_bytes ?? 0) + (failed_bytes ?? 0), 2 ** 20);
    assertEquals(
      threadNames().filter((name) => name.startsWith("ap_task_")),
      ["ap_task_0", "ap_task_1", "ap_task_2", "ap_task_3"],
    );
    for (const tid of threads.tids()) {
      const status = Deno.readTextFileSync(`/proc/self/task/${tid}/status`);
      const blocked = BigInt(`0x${status.match(/^SigBlk:\s*(\w+)/m)?.[1]}`);
      const [sigint, sigterm] = [1n, 14n];
      assertEquals([blocked >> sigint & 1n, blocked >> sigterm & 1n], [1n, 1n]);
    }
    assertEquals((await threads.stop()).left_count, 4);
  });
});

Deno.test("a pinned agent is on its CPU and nowhere else", async () => {
  const mask = new Uint8Array(128);
  loadShim().schedGetaffinity(0, mask, mask.length);
  // The first CPU of a peer is 0: without it there is nothing to pin to.
  const pin = (mask[0] & 1) === 1;
  await withPeer({ cpu_count: 1 }, { pin }, async ({ options }) => {
    const threads = await AgentThreads.start(options);
    const own = new Uint8Array(128);
    loadShim().schedGetaffinity(threads.tids()[0], own, own.length);
    if (pin) assertEquals(own.findIndex((byte) => byte !== 0), 0);
    if (pin) assertEquals(own[0], 1);
    await threads.stop();
  });
});

Deno.test("a commit blocks until the queue's next message", async () => {
  const manual = { cpu_count: 1, task_count: 1, is_manual: true, producer_count: 0 };
  await withPeer(manual, {}, async ({ kernel, enclave, options }) => {
    const threads = await AgentThreads.start(options);
    const steps = enclave.state.cpu("step_count", 0);
    const isAsleep = () =>
      kernel.agentState(0) === AGENT_BLOCKED &&
      Deno.readTextFileSync(`/proc/self/task/${threads.tids()[0]}/stat`).includes(") S ");
    kernel.start();
    await until(isAsleep);
    assertEquals(kernel.happen(0, MSG_TASK_NEW), 0);
    await until(() => kernel.taskState(0) === TASK_RUNNING && isAsleep());
    const step_count = steps[0];
    const commit_count = kernel.report().commit_count;
    await new Promise((wake) => setTimeout(wake, 50));
    assertEquals([steps[0], kernel.taskState(0), isAsleep()], [step_count, TASK_RUNNING, true]);
    // The message takes the CPU from the task; the agent reads it and gives the CPU back.
    assertEquals(kernel.happen(0, MSG_TASK_AFFINITY_CHANGED), 0);
    await until(() => kernel.report().commit_count > commit_count && isAsleep());
    assertGreater(steps[0], step_count);
    await until(() => kernel.taskState(0) === TASK_RUNNING);
    // Nobody is left to run: the agent sleeps in its yield, and a ping wakes it.
    assertEquals(kernel.happen(0, MSG_TASK_BLOCKED), 0);
    await until(() => kernel.report().yield_count > 0 && isAsleep());
    const before_ping = steps[0];
    assertEquals(options.control.wakeAgent(0), 0);
    await until(() => steps[0] > before_ping && isAsleep());
    assertEquals((await threads.stop()).left_count, 1);
    assertSound(kernel);
  });
});

Deno.test("stop in mid-run ends every thread, though the load goes on", async () => {
  await withPeer(ENDLESS, {}, async ({ kernel, options }) => {
    const threads = await AgentThreads.start(options);
    kernel.start();
    await until(() => kernel.report().run_count > 500);
    const report = await threads.stop({ drain_ms: 20 });
    assertEquals([report.left_count, report.exit_status], [4, 0]);
    assertEquals(threadNames().filter((name) => !name.startsWith("peer_")), []);
    const { run_count } = kernel.report();
    await new Promise((wake) => setTimeout(wake, 20));
    assertEquals(kernel.report().run_count, run_count);
    assertEquals(await threads.stop(), report);
    assertSound(kernel);
  });
});

Deno.test("killed in mid-run: the others go on, and the report says who it was", async () => {
  await withPeer(ENDLESS, {}, async ({ kernel, options }) => {
    const threads = await AgentThreads.start(options);
    kernel.start();
    await until(() => kernel.report().run_count > 500);
    threads.kill(2);
    assertEquals(threads.liveCount(), 3);
    const { run_count } = kernel.report();
    await until(() => kernel.report().run_count > run_count + 500 || threads.liveCount() < 3);
    const report = await threads.stop({ leave_ms: 5000 });
    assertEquals(report, {
      left_count: 3,
      killed_count: 1,
      failures: [{ cpu: 2, text: "agent of CPU 2: killed", exit_status: 1 }],
      exit_status: 1,
    });
  });
});

Deno.test("a policy that throws: one line, exit status 3, and its state from outside", async () => {
  await withPeer(ENDLESS, planted("throwing"), async ({ kernel, options }) => {
    const threads = await AgentThreads.start(options);
    kernel.start();
    const failure = await threads.failed();
    assertEquals(failure, {
      cpu: PLANTED_CPU,
      text: "agent of CPU 1: RangeError: planted: no such row",
      exit_status: 3,
    });
    const dump = threads.dump(DUMP_ALL_TASKS | DUMP_EMPTY_RUNQUEUES);
    assert(dump.length <= DUMP_BYTES_MAX);
    for (let cpu = 0; cpu < CPU_COUNT; cpu++) assert(dump.includes(`SchedState[${cpu}]`), dump);
    const report = await threads.stop();
    assertEquals([report.left_count, report.exit_status], [3, 3]);
    assertEquals(report.failures, [failure]);
  });
});

Deno.test("an agent that comes back again and again leaves when it is told to", async () => {
  await withPeer(ENDLESS, planted("again"), async ({ kernel, enclave, options }) => {
    const threads = await AgentThreads.start(options);
    kernel.start();
    const messages = enclave.state.cpu("message_count", PLANTED_CPU);
    await until(() => messages[0] > 300);
    const report = await threads.stop({ drain_ms: 20 });
    assertEquals([report.left_count, report.failures], [4, []]);
  });
});

Deno.test("a step that never returns: the others leave, and the process can end", async () => {
  const script = new URL("./agents/endless_thread.ts", import.meta.url).href;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script],
  }).output();
  const decoder = new TextDecoder();
  assertEquals(JSON.parse(decoder.decode(stdout) || decoder.decode(stderr)), {
    left_count: 3,
    killed_count: 1,
    failures: [
      "agent of CPU 1: did not leave within 300 ms, killed",
      "agent of CPU 1: its step does not return; end the process",
    ],
  });
  assertEquals(code, 1);
});

Deno.test("agents that cannot start leave nothing behind", async () => {
  const cases: [Partial<AgentThreadsOptions>, RegExp][] = [
    [{ choice: { name: "nonesuch", options: {} } }, /no policy "nonesuch" in this program/],
    [{ worker_url: "data:text/javascript,throw new Error('no module')" }, /no module/],
    [
      { worker_url: "data:text/javascript,0", start_timeout_ms: 100 },
      /not warmed up within 100 ms/,
    ],
    [planted("throwing_early"), /agent of CPU 1: RangeError: planted: no such row; the policy is/],
  ];
  for (const [agents, message] of cases) {
    await withPeer(
      {},
      { ...agents, warm_up: agents.choice?.name === "throwing_early" ? "full" : "none" },
      async (bench) => {
        const error = await assertRejects(() => AgentThreads.start(bench.options), OperatingError);
        assert(message.test(error.message), error.message);
        assertEquals(bench.control.isOnline(), false);
      },
    );
  }
});

Deno.test("a CPU that has an agent gets no second one", async () => {
  await withPeer({}, {}, async ({ control, options, enclave }) => {
    enclave.becomeAgent(3);
    const error = await assertRejects(() => AgentThreads.start(options), OperatingError);
    assert(
      /^cannot become the agent of CPU 3: EBUSY; another agent has/.test(
        error.message,
      ),
      error.message,
    );
    assertEquals(control.agentStatusIndex(0), -22);
  });
});

Deno.test("with patience an agent follows the one before, and its first step is dated", async () => {
  await withPeer({}, { busy_ms: HANG_MS }, async ({ control, kernel, options, enclave }) => {
    enclave.becomeAgent(3);
    let turn_ns = 0;
    const awaitTurn = (): Promise<void> => {
      setTimeout(() => {
        turn_ns = kernel.nowNs();
        control.agentDied(3);
      }, 50);
      return Promise.resolve();
    };
    const threads = await AgentThreads.start({ ...options, awaitTurn });
    kernel.start();
    await until(() => options.control.cpus().every((cpu) => kernel.agentState(cpu) > 0));
    await until(() => enclave.state.cpuF64("began_ns", 3)[0] > turn_ns);
    assertEquals(enclave.state.cpuF64("ended_ns", 3)[0], 0);
    assertEquals((await threads.stop()).left_count, 4);
    assertGreater(enclave.state.cpuF64("ended_ns", 3)[0], turn_ns);
  });
});

Deno.test("whoever waits for the agent before leaves at once when told to", async () => {
  await withPeer({}, { busy_ms: HANG_MS, start_timeout_ms: 3000 }, async ({ options, enclave }) => {
    enclave.becomeAgent(3);
    const begin_ms = performance.now();
    const error = await assertRejects(() => AgentThreads.start(options), OperatingError);
    assert(/not ready within 3000 ms/.test(error.message), error.message);
    assert(performance.now() - begin_ms < HANG_MS / 2);
  });
});

Deno.test("a switchto chain: its tasks end, whoever ran them", async () => {
  const load = { task_count: 60, round_count: 60, producer_count: 2, run_ns_max: 2000, seed: 7 };
  await withPeer(load, {}, async ({ kernel, options }) => {
    const threads = await AgentThreads.start(options);
    kernel.start();
    await until(() => kernel.report().gone_count === 60 || threads.liveCount() < 4);
    assertGreater(kernel.report().message_counts[MSG_TASK_SWITCHTO], 20);
    assertSound(kernel);
    assertEquals((await threads.stop()).failures, []);
  });
});

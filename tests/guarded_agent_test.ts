/**
 * A whole agent under its guard, with the native peer as the kernel: what a user sees when it ends
 * well, is killed, hangs, throws, or follows one that did.
 */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { DUMP_BYTES_MAX } from "../lib/limits.ts";
import { exitTime, type KeptExit, readExits } from "../util/guard/last_exit.ts";
import { type Ended, type Started, startProgram } from "./process.ts";

interface Guarded {
  readonly started: Started;
  readonly ctl: string;
  /** Process ids of the agents that have been started so far. */
  agentPids(): number[];
}

/** Children of a process. */
function childrenOf(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.trim().split(" ").filter((word) => word !== "").map(Number);
}

async function withAgent(
  policy: string,
  args: readonly string[],
  body: (guarded: Guarded) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "guarded_agent_" });
  const ctl = `${folder}/ctl`;
  await Deno.writeTextFile(ctl, "1");
  const started = await startProgram("tests/agents/guarded_agent.ts", [
    policy,
    ctl,
    "--ghost_cpus=0-1",
    ...args,
  ]);
  try {
    await body({ started, ctl, agentPids: () => childrenOf(started.child.pid) });
  } finally {
    try {
      for (const pid of childrenOf(started.child.pid)) Deno.kill(pid, "SIGKILL");
      started.child.kill("SIGKILL");
    } catch { /* ended */ }
    await started.ended();
    await Deno.remove(folder, { recursive: true });
  }
}

/** What is dumped: some of it, within bounds, and all CPUs in it. */
function assertDumped({ stderr }: Ended): void {
  const dump = stderr.slice(stderr.indexOf("CPU 0: "));
  assertMatch(dump, /^CPU 0: .* steps, \d+ messages, \d+ commits/);
  for (const cpu of [0, 1]) assertStringIncludes(dump, `SchedState[${cpu}]`);
  assert(stderr.length <= DUMP_BYTES_MAX + 1000, `${stderr.length} bytes`);
}

function linesOf({ stderr }: Ended): string[] {
  return stderr.split("\n").filter((line) =>
    line.startsWith("fifo_per_cpu_agent: ") && !line.includes("be locked in memory")
  );
}

/** The one end that was kept, with the state that the agent left. */
function keptOf(ctl: string): KeptExit & { state: string } {
  const exits = readExits(`${ctl}_exits`) ?? [];
  assertEquals(exits.length, 1);
  const [exit] = exits;
  assert(Math.abs(Date.now() - exit.time_ms) < 600_000, exitTime(exit));
  assertEquals([exit.program, exit.kernel, exit.cpus], ["fifo_per_cpu_agent", "peer", [0, 1]]);
  return { ...exit, state: exit.dump === null ? "" : Deno.readTextFileSync(exit.dump) };
}

const ACTIVE = "Initialization complete, ghOSt active.\n";
const NO_TIMEOUT =
  "fifo_per_cpu_agent: this kernel has no runnable_timeout: only the guard watches";

Deno.test("guarded: SIGUSR1 dumps, SIGINT ends with Done! and status 0, nothing is destroyed twice", async () => {
  await withAgent("fifo_per_cpu", ["--watchdog=1m"], async ({ started, ctl, agentPids }) => {
    await started.waitFor(ACTIVE);
    started.child.kill("SIGUSR1");
    await started.waitFor("CPU 1: ");
    // Nor does one that the guard does not see open a port for debuggers.
    const [pid] = agentPids();
    Deno.kill(pid, "SIGUSR1");
    while ((started.text().match(/CPU 1: /g)?.length ?? 0) < 2) {
      await new Promise((wake) => setTimeout(wake, 20));
    }
    assertEquals(started.text().includes("Debugger listening"), false);
    started.child.kill("SIGINT");
    const ended = await started.ended();
    assertEquals(ended.code, 0, ended.stderr);
    assertEquals(ended.stdout, `Initializing...\n${ACTIVE}\nDone!\n`);
    assertEquals(linesOf(ended), [NO_TIMEOUT]);
    assertEquals(Deno.readTextFileSync(ctl), "1");
    assertEquals(readExits(`${ctl}_exits`), []);
  });
});

Deno.test("guarded: the agent bears its program's name and leaves its CPUs to its threads", async () => {
  await withAgent("fifo_per_cpu", ["--watchdog=1m"], async ({ started, agentPids }) => {
    await started.waitFor(ACTIVE);
    const [pid] = agentPids();
    assertEquals(Deno.readTextFileSync(`/proc/${pid}/comm`), "fifo_per_cpu_ag\n");
    assertEquals(Deno.readTextFileSync(`/proc/${pid}/environ`).match(/GHOST_GUARD/g)?.length, 1);
    started.child.kill("SIGTERM");
    assertEquals((await started.ended()).code, 0);
  });
});

Deno.test("guarded: kill -9 of the agent leaves the policy's own dump and one line", async () => {
  await withAgent("fifo_per_cpu", ["--watchdog=1m"], async ({ started, ctl, agentPids }) => {
    await started.waitFor(ACTIVE);
    const [pid] = agentPids();
    Deno.kill(pid, "SIGKILL");
    const ended = await started.ended();
    assertEquals(ended.code, 1);
    const [, line] = linesOf(ended);
    assertStringIncludes(line, `agent process ${pid} was killed by signal 9 (Killed)`);
    assertEquals(linesOf(ended).length, 2);
    assertDumped(ended);
    const { kind, pid: dead_pid, reason, state } = keptOf(ctl);
    assertEquals([kind, dead_pid], ["killed", pid]);
    assertEquals(reason, `agent process ${pid} was killed by signal 9 (Killed)`);
    assertStringIncludes(ended.stderr, state);
    assertStringIncludes(state, "SchedState[1]");
    assertEquals(Deno.readTextFileSync(ctl), "destroy");
  });
});

Deno.test("guarded: a step that never returns ends with status 3, a dump and one line", async () => {
  await withAgent("endless", ["--watchdog=1s"], async ({ started, ctl }) => {
    const ended = await started.ended();
    assertEquals(ended.code, 3, ended.stderr);
    const [, line] = linesOf(ended);
    assertMatch(line, /the agent of CPU 1 stands still after \d+ steps for 1\.0 s/);
    assertDumped(ended);
    assertMatch(ended.stderr, /^CPU 1: step under way/m);
    const { kind, reason, state } = keptOf(ctl);
    assertEquals(kind, "stalled");
    assertMatch(
      reason,
      /^the agent of CPU 1 stands still after \d+ steps for 1\.0 s, agent process/,
    );
    assertMatch(state, /^CPU 1: step under way/m);
    assertEquals(Deno.readTextFileSync(ctl), "destroy");
  });
});

Deno.test("guarded: a policy that throws ends with status 3, a dump, what it threw, and no enclave", async () => {
  await withAgent("throwing", [], async ({ started, ctl }) => {
    const ended = await started.ended();
    assertEquals(ended.code, 3, ended.stderr);
    const [, why, what] = linesOf(ended);
    assertStringIncludes(why, "agent of CPU 1: RangeError: planted: no such row");
    assertStringIncludes(what, "ended with status 3;");
    assertDumped(ended);
    assertEquals(ended.stderr.match(/SchedState\[1\]/g)?.length, 1);
    const { kind, reason, state } = keptOf(ctl);
    assertEquals([kind, reason], ["thrown", "agent of CPU 1: RangeError: planted: no such row"]);
    assertStringIncludes(ended.stderr, state);
    assertEquals(Deno.readTextFileSync(ctl), "destroy");
  });
});

Deno.test("guarded: a policy that throws in its warm-up is never online: status 3 and one line", async () => {
  await withAgent("throwing_early", [], async ({ started, ctl }) => {
    const ended = await started.ended();
    assertEquals([ended.code, ended.stdout], [3, "Initializing...\n"], ended.stderr);
    assertEquals(linesOf(ended), [
      "fifo_per_cpu_agent: agent of CPU 1: RangeError: planted: no such row; " +
      "the policy is at fault: its step failed before the agents were online",
    ]);
    assertEquals(Deno.readTextFileSync(ctl), "1");
  });
});

Deno.test("guarded: --on-crash=restart follows a killed agent and says how long none was there", async () => {
  await withAgent(
    "fifo_per_cpu",
    ["--on-crash=restart", "--watchdog=1m"],
    async ({ started, ctl, agentPids }) => {
      await started.waitFor(ACTIVE);
      const [pid] = agentPids();
      Deno.kill(pid, "SIGKILL");
      await started.waitFor("no CPU was without agent for more than");
      assertEquals(agentPids().includes(pid), false);
      started.child.kill("SIGINT");
      const ended = await started.ended();
      assertEquals(ended.code, 0, ended.stderr);
      assertEquals(ended.stdout.split(ACTIVE).length, 3);
      assertEquals([keptOf(ctl).kind, keptOf(ctl).pid], ["killed", pid]);
      const gap = ended.stderr.match(/took over .*more than ([\d.]+) ms/)?.[1];
      assert(Number(gap) > 0, ended.stderr);
      assertEquals(Deno.readTextFileSync(ctl), "1");
    },
  );
});

Deno.test("guarded: when the guard is killed, the agents leave, say why, and no process stays", async () => {
  await withAgent("fifo_per_cpu", ["--watchdog=1m"], async ({ started, ctl, agentPids }) => {
    await started.waitFor(ACTIVE);
    const [pid] = agentPids();
    started.child.kill("SIGKILL");
    // The agent holds the other ends of our pipes until it has ended.
    const ended = await started.ended();
    assertEquals(linesOf(ended), [
      NO_TIMEOUT,
      "fifo_per_cpu_agent: the guard has died, so the agents leave",
    ]);
    assert(ended.stdout.endsWith("\nDone!\n"), ended.stdout);
    await assertRejects(() => Deno.stat(`/proc/${pid}/exe`));
    assertEquals([keptOf(ctl).kind, keptOf(ctl).pid, keptOf(ctl).dump], ["unguarded", pid, null]);
  });
});

Deno.test("guarded: SIGUSR2 leaves the enclave, also one that the agent has made", async () => {
  await withAgent("fifo_per_cpu", ["--watchdog=1m"], async ({ started, ctl }) => {
    await started.waitFor(ACTIVE);
    started.child.kill("SIGUSR2");
    const ended = await started.ended();
    assertEquals(ended.code, 0, ended.stderr);
    assertEquals(ended.stdout, `Initializing...\n${ACTIVE}\nDone!\n`);
    assertEquals(linesOf(ended), [NO_TIMEOUT]);
    assertEquals(Deno.readTextFileSync(ctl), "1");
  });
});

Deno.test("guarded: bad values are one line and status 2, before any guard", async () => {
  const cases: [string, RegExp][] = [
    ["--watchdog=0", /bad value "0" of --watchdog; give a time from 10ms to 1h/],
    ["--watchdog=5", /bad value "5" of --watchdog/],
    ["--watchdog=inf", /bad value "inf"/],
    ["--on-crash=foo", /unknown action "foo" in --on-crash; give one of destroy, restart, leave/],
    ["--runnable-timeout=0s", /bad value "0s" of --runnable-timeout/],
  ];
  for (const [flag, message] of cases) {
    await withAgent("fifo_per_cpu", [flag], async ({ started }) => {
      const { code, stdout, stderr } = await started.ended();
      assertEquals([code, stdout, stderr.split("\n").length], [2, "", 2], stderr);
      assertMatch(stderr, message);
    });
  }
});

Deno.test("guarded: an enclave that does not exist is one line and status 1", async () => {
  await withAgent(
    "fifo_per_cpu",
    ["--enclave=/sys/fs/ghost/enclave_77"],
    async ({ started, ctl }) => {
      const { code, stdout, stderr } = await started.ended();
      assertEquals([code, stdout], [1, "Initializing...\n"]);
      assertEquals(
        stderr,
        "fifo_per_cpu_agent: --enclave=/sys/fs/ghost/enclave_77: there is no such enclave; " +
          "`ghostctl enclaves` lists those there are; without --enclave the agent makes one\n",
      );
      assertEquals(Deno.readTextFileSync(ctl), "1");
    },
  );
});

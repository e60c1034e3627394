/**
 * The guard with a process that plays an agent on the board: what it takes for a stall and what
 * not, what it does then, and how signals and exit statuses go through it.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { type Ended, type Started, startProgram } from "./process.ts";

const HANG_MS = 60_000;

interface Guarded {
  readonly started: Started;
  readonly folder: string;
  /** Process id of the agent; that of the guard is the child's. */
  readonly agent_pid: number;
}

function pause(duration_ms: number): Promise<void> {
  return new Promise((wake) => setTimeout(wake, duration_ms));
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

async function until(what: () => boolean): Promise<void> {
  const end_ms = performance.now() + HANG_MS;
  while (!what()) {
    assert(performance.now() < end_ms, `${HANG_MS} ms are over: ${what}`);
    await pause(5);
  }
}

/** Pids that the agents have said so far. */
function pidsOf(text: string): number[] {
  return [...text.matchAll(/^pid (\d+)/gm)].map((match) => Number(match[1]));
}

async function withAgent(
  mode: string,
  options: { watchdog_ms?: number; on_crash?: string },
  body: (guarded: Guarded) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "guard_test_" });
  await Deno.writeTextFile(`${folder}/ctl`, "1");
  const { watchdog_ms = 60_000, on_crash = "destroy" } = options;
  const args = [mode, String(watchdog_ms), on_crash, folder];
  const started = await startProgram("tests/agents/board_agent.ts", args);
  try {
    if (mode !== "early") await started.waitFor("pid ");
    await body({ started, folder, agent_pid: pidsOf(started.text())[0] ?? 0 });
  } finally {
    for (const pid of [started.child.pid, ...pidsOf(started.text())]) {
      if (isAlive(pid)) Deno.kill(pid, "SIGKILL");
    }
    await Deno.remove(folder, { recursive: true });
  }
}

function wasDestroyed({ folder }: Guarded): boolean {
  return Deno.readTextFileSync(`${folder}/ctl`).startsWith("destroy");
}

/** The one line of the guard about the end. */
function lastWord({ stderr }: Ended): string {
  const lines = stderr.split("\n").filter((line) => line.startsWith("board_agent: "));
  assertEquals(lines.length, 1, stderr);
  return lines[0];
}

Deno.test("an idle agent is untouched, long after the watchdog's time", async () => {
  await withAgent("idle", { watchdog_ms: 100 }, async (guarded) => {
    await pause(3000);
    assert(isAlive(guarded.agent_pid));
    Deno.kill(guarded.started.child.pid, "SIGTERM");
    const { code, stderr } = await guarded.started.ended();
    assertEquals([code, stderr, wasDestroyed(guarded)], [0, "", false]);
  });
});

Deno.test("a busy agent whose counters move is untouched, and so is one with an old pending bit", async () => {
  for (const mode of ["busy", "stale"]) {
    await withAgent(mode, { watchdog_ms: 1500 }, async (guarded) => {
      await pause(3500);
      assert(isAlive(guarded.agent_pid), mode);
    });
  }
});

for (const [mode, cpu] of [["hung", 1], ["pending", 5]] as const) {
  Deno.test(`an agent that is ${mode} has stalled: destroyed, killed, dumped`, async () => {
    await withAgent(mode, { watchdog_ms: 300 }, async (guarded) => {
      const ended = await guarded.started.ended();
      assertEquals([ended.code, wasDestroyed(guarded)], [3, true]);
      assertMatch(lastWord(ended), new RegExp(`agent of CPU ${cpu} stands still after \\d+ steps`));
      assertStringIncludes(
        lastWord(ended),
        "destroyed, its threads are with the default scheduler",
      );
      assertStringIncludes(lastWord(ended), `agent process ${guarded.agent_pid} killed`);
      assertMatch(ended.stdout, new RegExp(`dump of ${guarded.folder}: \\d+ steps\n$`));
      assertEquals(isAlive(guarded.agent_pid), false);
    });
  });
}

Deno.test("an agent process that is stopped for too long has stalled", async () => {
  await withAgent("idle", { watchdog_ms: 200 }, async (guarded) => {
    Deno.kill(guarded.agent_pid, "SIGSTOP");
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [3, true]);
    assertStringIncludes(lastWord(ended), "is stopped (SIGSTOP) for 0.2 s");
  });
});

Deno.test("agents that were told to leave and do not are killed, though none is in a step", async () => {
  await withAgent("leaving", { watchdog_ms: 200 }, async (guarded) => {
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [3, true]);
    assertStringIncludes(lastWord(ended), "the agents did not leave");
  });
});

Deno.test("an agent that is stopped for a moment is untouched", async () => {
  await withAgent("idle", { watchdog_ms: 5000 }, async ({ agent_pid }) => {
    Deno.kill(agent_pid, "SIGSTOP");
    await pause(300);
    Deno.kill(agent_pid, "SIGCONT");
    await pause(300);
    assert(isAlive(agent_pid));
  });
});

Deno.test("kill -9 of the agent: destroyed, dumped, status 1, one line", async () => {
  await withAgent("idle", {}, async (guarded) => {
    Deno.kill(guarded.agent_pid, "SIGKILL");
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [1, true]);
    assertMatch(lastWord(ended), /was killed by signal 9 \(Killed\); .* destroyed, its threads/);
    assertStringIncludes(ended.stdout, `dump of ${guarded.folder}: 41 steps`);
    const said =
      `end killed of ${guarded.agent_pid}: agent process ${guarded.agent_pid} was killed`;
    assertStringIncludes(ended.stdout, `${said} by signal 9 (Killed)\n`);
  });
});

Deno.test("an exit that settles nothing is a crash; one that says so is none", async () => {
  await withAgent("crash", {}, async (guarded) => {
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [7, true]);
    assertStringIncludes(lastWord(ended), "ended with status 7");
  });
  await withAgent("ended", {}, async (guarded) => {
    const { code, stderr } = await guarded.started.ended();
    assertEquals([code, stderr, wasDestroyed(guarded)], [5, "", false]);
  });
});

Deno.test("an agent that failed and said why is not dumped again", async () => {
  await withAgent("failed", {}, async (guarded) => {
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [3, true]);
    assertEquals(ended.stdout.includes("dump of"), false);
  });
});

Deno.test("an agent that ends before it has an enclave: its status goes through", async () => {
  await withAgent("early", { on_crash: "restart" }, async (guarded) => {
    const { code, stderr } = await guarded.started.ended();
    assertEquals([code, stderr, wasDestroyed(guarded)], [4, "", false]);
  });
});

Deno.test("--on-crash=leave: the enclave is as it was", async () => {
  await withAgent("idle", { on_crash: "leave" }, async (guarded) => {
    Deno.kill(guarded.agent_pid, "SIGKILL");
    const ended = await guarded.started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [1, false]);
    assertStringIncludes(lastWord(ended), "is left without agents, --enclave takes it over");
  });
});

Deno.test("--on-crash=restart: another agent knows the one before, and hears signals", async () => {
  await withAgent("idle", { on_crash: "restart" }, async (guarded) => {
    const { started, agent_pid } = guarded;
    Deno.kill(agent_pid, "SIGKILL");
    await started.waitFor(`after ${guarded.folder}, alive true`);
    await started.waitFor(`dump of ${guarded.folder}: 41 steps`);
    const [, second_pid] = pidsOf(started.text());
    assert(second_pid !== agent_pid && isAlive(second_pid));
    assertEquals(wasDestroyed(guarded), false);
    Deno.kill(started.child.pid, "SIGTERM");
    assertEquals((await started.ended()).code, 0);
  });
});

Deno.test("an agent that dies again and again is not restarted for ever", async () => {
  await withAgent("crash", { on_crash: "restart" }, async (guarded) => {
    const { code, stderr } = await guarded.started.ended();
    assertEquals([code, wasDestroyed(guarded)], [7, true]);
    assertStringIncludes(stderr, "6 times within a minute");
    assertEquals(pidsOf(guarded.started.text()).length, 6);
  });
});

Deno.test("an enclave that was destroyed from outside is not taken again", async () => {
  await withAgent("idle", { on_crash: "restart" }, async (guarded) => {
    await Deno.remove(`${guarded.folder}/ctl`);
    Deno.kill(guarded.agent_pid, "SIGKILL");
    const ended = await guarded.started.ended();
    assertEquals(ended.code, 1);
    assertMatch(lastWord(ended), /; \/.* is gone$/);
    assertMatch(ended.stdout, /^end destroyed of \d+: .*; \/.* is gone$/m);
    assertEquals(pidsOf(ended.stdout).length, 1);
    await Deno.writeTextFile(`${guarded.folder}/ctl`, "");
  });
});

Deno.test("signals go through: SIGUSR1, as SIGURG, as often as it comes, SIGINT once", async () => {
  await withAgent("idle", {}, async ({ started, folder }) => {
    Deno.kill(started.child.pid, "SIGUSR1");
    await started.waitFor("SIGURG");
    assertEquals(Deno.readTextFileSync(`${folder}/SIGURG`), String(started.child.pid));
    Deno.kill(started.child.pid, "SIGINT");
    const { code, stdout } = await started.ended();
    assertEquals([code, stdout.match(/SIGINT/g)?.length], [0, 1]);
  });
});

Deno.test("who does not end after a second SIGINT is killed, with status 130", async () => {
  await withAgent("stubborn", { on_crash: "restart" }, async (guarded) => {
    const { started } = guarded;
    for (const count of [1, 2]) {
      Deno.kill(started.child.pid, "SIGINT");
      await until(() => started.text().match(/SIGINT/g)?.length === count);
    }
    const ended = await started.ended();
    assertEquals([ended.code, wasDestroyed(guarded)], [130, true]);
    assertEquals(pidsOf(ended.stdout).length, 1);
  });
});

Deno.test("an agent that dies while it hands the enclave over leaves it to its successor", async () => {
  for (const on_crash of ["destroy", "restart"]) {
    await withAgent("idle", { on_crash }, async (guarded) => {
      const { started, agent_pid } = guarded;
      Deno.kill(agent_pid, "SIGSTOP");
      Deno.kill(started.child.pid, "SIGUSR2");
      const ended = await started.ended();
      assertEquals([ended.code, wasDestroyed(guarded)], [1, false], ended.stderr);
      assertMatch(lastWord(ended), /signal 12 .*; \/.* is left$/);
      assertEquals(pidsOf(ended.stdout).length, 1);
    });
  }
});

Deno.test("when the guard is killed, its agent is asked to leave", async () => {
  await withAgent("idle", {}, async ({ started, agent_pid, folder }) => {
    Deno.kill(started.child.pid, "SIGKILL");
    await until(() => !isAlive(agent_pid));
    assert(Deno.readTextFileSync(`${folder}/SIGTERM`) !== "");
    await started.ended();
  });
});

Deno.test("the guard is the process that was started, small, and leaves nothing on disk", async () => {
  await withAgent("idle", {}, async ({ started, agent_pid }) => {
    const { pid } = started.child;
    const exe = Deno.readLinkSync(`/proc/${pid}/exe`);
    assertStringIncludes(exe, "/memfd:ghost_guard");
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    assertMatch(status, /^Name:\tghost_guard$/m);
    assertMatch(status, /^Threads:\t1$/m);
    assertMatch(Deno.readTextFileSync(`/proc/${agent_pid}/status`), new RegExp(`PPid:\t${pid}\n`));
    const mapped = Deno.readTextFileSync(`/proc/${pid}/maps`).split("\n")
      .filter((line) => line.includes("ghost_board"));
    assert(mapped.length > 0 && mapped.every((line) => line.includes(" r--s ")), mapped.join("\n"));
    Deno.kill(pid, "SIGTERM");
    assertEquals((await started.ended()).code, 0);
  });
});

import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { stdFlags, stdSource } from "../tools/std_source.ts";
import { watch, type WatchedEnclave } from "./enclave_watcher.ts";

// That the kernel wakes a poll on agent_online needs ghostfs; here the wake-ups are scripted, and
// a folder of ordinary files shows the rest.

const MAIN = decodeURIComponent(new URL("main.ts", import.meta.url).pathname);
const MS = 1e6;

/** An enclave whose agents come and go by a script of [time in ms, value of agent_online]. */
class ScriptedEnclave implements WatchedEnclave {
  status = "version 91\nactive yes\nnr_tasks 4\n";
  readonly signals: string[] = [];
  readonly #script: [number, string][];
  /** Whether polling tells of changes, as on ghostfs. */
  readonly #is_pollable: boolean;
  #now_ns = 0;
  #read_ns = -1;

  constructor(script: [number, string][], is_pollable: boolean) {
    this.#script = script;
    this.#is_pollable = is_pollable;
  }

  readAgentOnline(): string {
    this.#read_ns = this.#now_ns;
    const value = this.#script.findLast(([at_ms]) => at_ms * MS <= this.#now_ns)?.[1] ?? "0";
    if (value === "dead") throw new Error("ENODEV");
    return value;
  }

  awaitChange(): boolean {
    if (this.#now_ns > 1000 * MS) throw new Error("waits for ever");
    this.#now_ns += MS;
    if (!this.#is_pollable) return false;
    return this.#script.some(([at_ms]) => at_ms * MS > this.#read_ns && at_ms * MS <= this.#now_ns);
  }

  readStatus(): string {
    return this.status;
  }

  signalAgent(pid: number, signal: Deno.Signal): void {
    this.signals.push(`${signal} ${pid} at ${this.#now_ns / MS} ms`);
  }

  nowNs(): number {
    return this.#now_ns;
  }
}

const ONLY_WATCH = { agent_pid: -1, signal: "SIGINT" } as const;

for (const is_pollable of [true, false]) {
  const how = is_pollable ? "woken by the kernel" : "reading again";
  Deno.test(`enclave_watcher measures from offline to online, ${how}`, () => {
    const enclave = new ScriptedEnclave([[0, "0"], [5, "1"], [20, "0"], [32, "1"]], is_pollable);
    assertEquals(watch(enclave, ONLY_WATCH), [
      "Watcher measured blackout of : 12 msec, ~3000 usec per task (4 tasks)",
    ]);
    assertEquals(enclave.signals, []);
  });
}

Deno.test("enclave_watcher ends the agent once it is online and tells how long it took", () => {
  const enclave = new ScriptedEnclave([[0, "0"], [5, "1\n"], [20, "0\n"], [22, "1\n"]], false);
  enclave.status = "nr_tasks 0\n";
  assertEquals(watch(enclave, { agent_pid: 77, signal: "SIGKILL" }), [
    "Watcher measured blackout of : 2 msec, ~2000 usec per task (0 tasks)",
    "Watcher kill-to-agent_offline : 15 msec",
  ]);
  assertEquals(enclave.signals, ["SIGKILL 77 at 5 ms"]);
});

Deno.test("enclave_watcher sees an agent that was gone for less than a poll takes", () => {
  const enclave = new ScriptedEnclave([[0, "1"], [10.2, "0"], [10.7, "1"]], true);
  assertEquals(watch(enclave, ONLY_WATCH), [
    "Watcher measured blackout of : 0 msec, ~0 usec per task (4 tasks)",
  ]);
});

Deno.test("enclave_watcher takes the end of an enclave neither for an agent nor for a blackout", () => {
  for (const script of [[[0, "1"], [10, "dead"]], [[0, "1"], [10, "0"], [20, "dead"]]]) {
    const enclave = new ScriptedEnclave(script as [number, string][], true);
    assertThrows(() => watch(enclave, ONLY_WATCH), Error, "ENODEV");
  }
});

async function watcher(args: string[]): Promise<Deno.Command> {
  const flags = [...stdFlags(await stdSource()), "--no-check"];
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...flags, MAIN, "enclave_watcher", ...args],
    stdout: "piped",
    stderr: "piped",
  });
}

function texts({ code, stdout, stderr }: Deno.CommandOutput): [number, string, string] {
  const decoder = new TextDecoder();
  return [code, decoder.decode(stdout), decoder.decode(stderr)];
}

function sleepMs(duration_ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, duration_ms));
}

Deno.test("enclave_watcher as a program on a folder of files ends a real process", async () => {
  const folder = await Deno.makeTempDir({ prefix: "enclave_watcher_" });
  const agent = new Deno.Command("sleep", { args: ["60"] }).spawn();
  try {
    await Deno.writeTextFile(`${folder}/agent_online`, "1");
    await Deno.writeTextFile(`${folder}/status`, "version 91\nactive yes\nnr_tasks 3\n");
    const args = [`--enclave=${folder}/`, `--agent_pid=${agent.pid}`, "--sigkill"];
    const output = (await watcher(args)).output();
    assertEquals((await agent.status).signal, "SIGKILL");
    await Deno.writeTextFile(`${folder}/agent_online`, "0");
    await sleepMs(50);
    await Deno.writeTextFile(`${folder}/agent_online`, "1");
    const [code, stdout, stderr] = texts(await output);
    assertEquals([code, stderr], [0, ""]);
    const [first, second, ...rest] = stdout.split("\n");
    assertMatch(first, /^Watcher measured blackout of : \d+ msec, ~\d+ usec per task \(3 tasks\)$/);
    assertMatch(second, /^Watcher kill-to-agent_offline : \d+ msec$/);
    assertEquals(rest, [""]);
    const [msec, usec] = /: (\d+) msec, ~(\d+)/.exec(stdout)!.slice(1).map(Number);
    assert(msec >= 40 && msec < 10_000, stdout);
    assert(Math.abs(usec * 3 / 1000 - msec) <= 1, stdout);
  } finally {
    if ((await Promise.race([agent.status, sleepMs(0)])) === undefined) agent.kill("SIGKILL");
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("enclave_watcher tells what is wrong in one line", async () => {
  const folder = await Deno.makeTempDir({ prefix: "enclave_watcher_" });
  try {
    await Deno.writeTextFile(`${folder}/agent_online`, "1");
    const cases: [string[], number, string][] = [
      [[], 1, "need an enclave path, e.g. --enclave /sys/fs/ghost/enclave_1/\n"],
      [["--enclave", `${folder}/none`], 1, "/none/agent_online) failed with ENOENT"],
      [["--enclave", folder], 1, "/status) failed with ENOENT"],
      [["--nope"], 2, "unknown flag --nope"],
      [["--enclave", folder, "--agent_pid=0"], 2, "--agent_pid"],
      [["--enclave", folder, "--agent_pid=x"], 2, "--agent_pid"],
    ];
    for (const [args, status, part] of cases) {
      const [code, stdout, stderr] = texts(await (await watcher(args)).output());
      assertEquals([code, stdout], [status, ""], args.join(" "));
      assertStringIncludes(stderr, part);
      assertEquals(stderr.split("\n").length, 2, stderr);
    }
    await Deno.writeTextFile(`${folder}/status`, "nr_tasks 1\n");
    const nobody = await (await watcher(["--enclave", folder, "--agent_pid=4194304"])).output();
    assertEquals(nobody.code, 1);
    assertStringIncludes(texts(nobody)[2], "cannot signal process 4194304");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { UsageError } from "../lib/errors.ts";
import type { PolicyDefinition } from "../lib/policy.ts";
import { Recorder } from "../lib/recording.ts";
import { FIFO_PER_CPU, FifoPerCpuScheduler } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { DUMP_BYTES_MAX } from "../lib/limits.ts";
import { VERSION } from "../lib/version.ts";
import { runProgram, spawnProgram, startProgram } from "../tests/process.ts";
import { FORGETFUL, THROWING } from "../tests/agents/throwing_policy.ts";
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";
import { agentMain, type AgentProgram } from "./agent_main.ts";

interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Setup {
  readonly files?: Readonly<Record<string, string>>;
  readonly uid?: number | null;
  readonly program?: Partial<AgentProgram>;
}

/** Runs the agent within this process, on a host with these files and no others. */
async function agent(args: readonly string[], setup: Setup = {}): Promise<Said> {
  const files = setup.files ?? {};
  const said = { stdout: "", stderr: "" };
  const status = await agentMain({ ...FIFO_PER_CPU_AGENT, ...setup.program }, args, {
    stdout: (text) => said.stdout += text,
    stderr: (text) => said.stderr += text,
    is_terminal: false,
    read: (path) => Object.hasOwn(files, path) ? files[path] : undefined,
    uid: () => setup.uid === undefined ? 0 : setup.uid,
    kernels: {},
  });
  return { status, ...said };
}

const SIM = ["--kernel=sim", "--workload=simple_exp", "--ghost_cpus=0-1"];

/** Runs in an empty folder; gives back what is in it afterwards. */
async function inFolder(run: (folder: string) => Promise<void>): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "agent_main_" });
  try {
    await run(folder);
    return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("on sim stdout has upstream's lines, and between them the table of six sub-tests", async () => {
  const { status, stdout, stderr } = await agent(SIM);
  assertEquals(status, 0);
  assert(stdout.startsWith("Initializing...\nInitialization complete, ghOSt active.\n"), stdout);
  assert(stdout.endsWith("\n\nDone!\n"), stdout);
  for (const name of ["SimpleExp ", "SimpleExpMany ", "BusyExp ", "TaskDeparted "]) {
    assertMatch(stdout, new RegExp(`^${name} +[\\d,]+ `, "m"));
  }
  assertEquals(stderr.split("\n").filter((line) => line.includes("... ok")).length, 6);
});

Deno.test("the same seed says the same on stdout, another one does not", async () => {
  const [first, second, other] = [
    await agent([...SIM, "--seed=5"]),
    await agent([...SIM, "--seed", "5"]),
    await agent([...SIM, "--seed=6"]),
  ];
  assertEquals(first.stdout, second.stdout);
  assert(first.stdout !== other.stdout);
});

Deno.test("--trace and --html write whole files and nothing beside them", async () => {
  let stdout = "";
  const names = await inFolder(async (folder) => {
    const args = [...SIM, `--trace=${folder}/a.json`, `--html=${folder}/a.html`];
    ({ stdout } = await agent(args));
    JSON.parse(Deno.readTextFileSync(`${folder}/a.json`));
    assertMatch(Deno.readTextFileSync(`${folder}/a.html`), /<\/html>\n$/);
  });
  assertEquals(names, ["a.html", "a.json"]);
  assertMatch(stdout, /wrote .*a\.json: open it in ui\.perfetto\.dev/);
  assertMatch(stdout, /wrote .*a\.html: open it in a browser/);
});

Deno.test("--cpus makes the machine larger than the enclave", async () => {
  const names = await inFolder(async (folder) => {
    const args = ["--kernel=sim", "--workload=simple_exp", "--ghost_cpus=1-2", "--cpus=6"];
    const { status } = await agent([...args, `--html=${folder}/a.html`]);
    assertEquals(status, 0);
    const page = Deno.readTextFileSync(`${folder}/a.html`);
    assertStringIncludes(page, "simulated machine of 6 CPUs, ghOSt on CPUs 1-2");
    assertStringIncludes(page, '"cpus":[0,1,2,3,4,5]');
  });
  assertEquals(names, ["a.html"]);
});

const BAD: readonly (readonly [what: string, args: readonly string[], message: RegExp])[] = [
  ["an unknown flag", ["--ghost_cpu", "0-1"], /unknown flag --ghost_cpu; .*--help/],
  ["an argument", ["run"], /unexpected argument run/],
  ["an empty CPU list", ["--ghost_cpus="], /--ghost_cpus is empty; name at least one CPU/],
  ["a CPU list without value", ["--ghost_cpus"], /--ghost_cpus is empty/],
  ["a bad CPU list", ["--ghost_cpus=0-x"], /--ghost_cpus: bad field "0-x"/],
  ["a backward range", ["--ghost_cpus=3-1"], /--ghost_cpus: range runs backwards/],
  ["a CPU no kernel has", ["--ghost_cpus=0-512"], /--ghost_cpus: CPU out of range/],
  ["an unknown kernel", ["--kernel=linux"], /unknown kernel "linux" in --kernel; give one of auto/],
  ["no kernel name", ["--kernel="], /unknown kernel ""/],
  ["a bad verbosity", ["--verbose=much"], /bad value "much" of --verbose/],
  ["sim without a load", ["--kernel=sim"], /needs a load; add --workload=NAME.*simple_exp/],
  ["an unknown load", [...SIM, "--workload=rocks"], /unknown workload "rocks".*simple_exp/],
  ["a bad seed", [...SIM, "--seed=-1"], /bad value "-1" of --seed/],
  ["a seed beyond 2^53", [...SIM, "--seed=9007199254740993"], /of --seed/],
  ["no CPUs", [...SIM, "--cpus=0"], /bad value "0" of --cpus; give a whole number from 1 to 512/],
  ["too many CPUs", [...SIM, "--cpus=513"], /bad value "513" of --cpus/],
  [
    "CPUs that the machine lacks",
    [...SIM, "--cpus=1"],
    /CPU out of range.*--cpus=1 has CPUs 0 to 0/,
  ],
  ["an enclave on sim", [...SIM, "--enclave=/sys/fs/ghost/enclave_1"], /--enclave.*leave it away/],
  [
    "a trace in no folder",
    [...SIM, "--trace=/none/a.json"],
    /--trace: cannot write \/none\/a\.json/,
  ],
  ["a page in no folder", [...SIM, "--html=/none/a.html"], /--html: cannot write/],
  [
    "a trace that is a folder",
    [...SIM, "--trace=/tmp"],
    /--trace: cannot write \/tmp: it is a folder/,
  ],
  [
    "two files at one path",
    [...SIM, "--trace=/tmp/a", "--html=/tmp/a"],
    /--html: names the same file as --trace/,
  ],
  ["a recording in no folder", [...SIM, "--record=/none/a"], /--record: cannot write/],
  ["a replay with a load", [...SIM, "--replay=a"], /--replay and --workload exclude each other/],
  ["a replay that records", ["--kernel=sim", "--replay=a", "--record=b"], /--record exclude each/],
  ["a replay on a real kernel", ["--replay=a"], /--replay is for the simulated kernel/],
  ["a load on a real kernel", ["--workload=simple_exp"], /--workload is for.*add --kernel=sim/],
  [
    "a trace of a real kernel",
    ["--kernel=scx", "--trace=a"],
    /--trace is for the simulated kernel/,
  ],
];

for (const [what, args, message] of BAD) {
  Deno.test(`bad input: ${what} is one line on stderr and status 2`, async () => {
    const { status, stdout, stderr } = await agent(args);
    assertMatch(stderr, message);
    assertEquals(stderr.split("\n").length, 2);
    assert(stderr.startsWith("fifo_per_cpu_agent: "));
    assertEquals([status, stdout], [2, ""]);
  });
}

Deno.test("a page that cannot be written leaves no half-made trace", async () => {
  const names = await inFolder(async (folder) => {
    const args = [...SIM, `--trace=${folder}/a.json`, `--html=${folder}/none/a.html`];
    assertEquals((await agent(args)).status, 2);
  });
  assertEquals(names, []);
});

Deno.test("without ghOSt and sched_ext the agent stops with status 1 and names both ways on", async () => {
  const { status, stdout, stderr } = await agent(["--ghost_cpus=0-1"]);
  assertEquals([status, stdout], [1, ""]);
  assertMatch(
    stderr,
    /no ghOSt.*no sched_ext.*boot a kernel.*--kernel=sim --workload=simple_exp\n$/,
  );
});

const GHOST_HOST = {
  "/sys/fs/ghost/version": "91\n",
  "/sys/devices/system/cpu/online": "0-1,3\n",
};

Deno.test("on a real kernel an offline CPU is a usage error before anything else", async () => {
  const { status, stderr } = await agent(["--ghost_cpus=0-3"], { files: GHOST_HOST, uid: 1000 });
  assertEquals(status, 2);
  assertMatch(stderr, /--ghost_cpus: offline CPU 2 .*online CPUs are 0-1,3/);
});

Deno.test("an agent that attaches takes the enclave's CPUs, so those of the flag may be offline", async () => {
  const args = ["--enclave=/sys/fs/ghost/enclave_1"];
  const { status, stderr } = await agent(args, { files: GHOST_HOST, uid: 1000 });
  assertEquals(status, 1);
  assertMatch(stderr, /not root/);
});

Deno.test("on a real kernel one must be root, and have a driver for it", async () => {
  const user = await agent(["--ghost_cpus=0-1"], { files: GHOST_HOST, uid: 1000 });
  assertEquals(user.status, 1);
  assertStringIncludes(user.stderr, "not root");
  const root = await agent(["--ghost_cpus=0-1"], { files: GHOST_HOST, uid: 0 });
  assertEquals(root.status, 1);
  assertStringIncludes(root.stderr, "this program has no --kernel=ghost");
});

Deno.test("--help names every flag and goes to stdout", async () => {
  const { status, stdout, stderr } = await agent(["--help"]);
  assertEquals([status, stderr], [0, ""]);
  for (const flag of ["ghost_cpus", "enclave", "kernel", "verbose", "workload", "seed", "html"]) {
    assertStringIncludes(stdout, `  --${flag}`);
  }
  assertStringIncludes(stdout, "Exit status: 0 ok, 1 operating failure, 2 usage");
  for (const line of stdout.split("\n")) assert(line.length <= 100, line);
});

Deno.test("--version has the version and the ABI versions", async () => {
  const { status, stdout } = await agent(["--version"]);
  assertEquals(status, 0);
  assertStringIncludes(stdout, `fifo_per_cpu_agent ${VERSION}\n`);
  assertStringIncludes(stdout, "ghOSt ABI 69, 84, 90, 91");
});

Deno.test("--ghost_version prints the ABI versions on stderr, whatever else is there", async () => {
  const { status, stdout, stderr } = await agent(["--no-such-flag", "--ghost_version"]);
  assertEquals([status, stdout, stderr], [0, "", "69 84 90 91\n"]);
});

Deno.test("--verbose dumps on stderr once a second of virtual time", async () => {
  const quiet = await agent([...SIM, "--ghost_cpus=0"]);
  const verbose = await agent([...SIM, "--ghost_cpus=0", "--verbose=1"]);
  assertEquals(quiet.stderr.includes("SchedState"), false);
  // BusyExp on one CPU takes a second.
  assertEquals(verbose.stderr.split("SchedState[0]").length - 1, 1);
  assertEquals(verbose.stdout, quiet.stdout);
});

async function broken(policy: PolicyDefinition): Promise<Said> {
  const said = await agent(SIM, { program: { policy } });
  assertEquals(said.status, 3);
  assert(said.stdout.endsWith("\nDone!\n"));
  assertStringIncludes(said.stderr, "its threads went back to the default scheduler and finished");
  return said;
}

Deno.test("a policy that throws ends with status 3 and a dump of at most 32 KiB", async () => {
  const { stdout, stderr } = await broken(THROWING);
  const [, after] = stderr.split("and finished\n");
  assertMatch(stderr, /policy failed on CPU \d: planted: no such row;/);
  assertMatch(after, /^ +at ThrowingScheduler\.step/);
  const dump = after.slice(after.indexOf("task        state"));
  assertStringIncludes(dump, "task        state   cpu\n");
  assert(dump.length > 1000 && dump.length <= DUMP_BYTES_MAX, `${dump.length}`);
  // The sub-test under way is the last one; all of its 2000 threads ended.
  assertMatch(stdout, /^SimpleExpMany +2,000 /m);
  assertEquals(stdout.includes("BusyExp"), false);
});

Deno.test("a policy that forgets its tasks loses the enclave, and the threads finish", async () => {
  const { stderr } = await broken(FORGETFUL);
  assertMatch(stderr, /enclave destroyed: runnable_timeout: thread \d+ waited 3000 ms/);
});

Deno.test("a load that is not as expected ends with status 3 and says what", async () => {
  const workloads = [{
    name: "simple_exp",
    summary: "",
    sub_tests: [{
      name: "Wrong",
      thread_count: 7,
      main: function* () {},
    }],
  }];
  const { status, stdout, stderr } = await agent(SIM, { program: { workloads } });
  assertEquals(status, 3);
  assertStringIncludes(stdout, "Wrong: expected 7 threads, 0 ran to their end");
  assertStringIncludes(stderr, "Wrong: not as expected");
});

Deno.test("an agent's own flags make its policy, are in its help, and can be refused", async () => {
  const program: Partial<AgentProgram> = {
    flags: [{ name: "fail", value: "HOW", fallback: "no", help: "fail in this way" }],
    policy: (flags) => {
      if (flags.text("fail") === "throw") return THROWING;
      if (flags.text("fail") === "no") return FIFO_PER_CPU;
      return new UsageError("bad --fail", "give throw or no");
    },
  };
  assertEquals((await agent(SIM, { program })).status, 0);
  assertEquals((await agent([...SIM, "--fail=throw"], { program })).status, 3);
  const { status, stderr } = await agent([...SIM, "--fail=x"], { program });
  assertEquals([status, stderr], [2, "fifo_per_cpu_agent: bad --fail; give throw or no\n"]);
  assertStringIncludes((await agent(["--help"], { program })).stdout, "  --fail HOW");
});

class LastInScheduler extends FifoPerCpuScheduler {
  protected override enqueue(row: number): void {
    super.enqueue(row);
    this.run_queue.remove(row);
    this.run_queue.pushFront(row);
  }
}

/** The same name and layout as the FIFO, but last in, first out. */
const LAST_IN: PolicyDefinition = {
  ...FIFO_PER_CPU,
  create: (context) => new LastInScheduler(context),
};

Deno.test("--record writes a recording that --replay repeats, record by record", async () => {
  const names = await inFolder(async (folder) => {
    const path = `${folder}/run.jsonl`;
    const recorded = await agent([...SIM, "--seed=9", "--cpus=3", `--record=${path}`]);
    assertEquals(recorded.status, 0);
    assertMatch(recorded.stdout, /wrote .*run\.jsonl: \d+ records; repeat it with --replay/);
    const replayed = await agent(["--kernel=sim", `--replay=${path}`, `--html=${folder}/a.html`]);
    assertMatch(replayed.stdout, /run\.jsonl: identical: \d{5} records\n/);
    assertEquals([replayed.status, replayed.stderr], [0, recorded.stderr]);
    const page = Deno.readTextFileSync(`${folder}/a.html`);
    assertStringIncludes(page, "simulated machine of 3 CPUs, ghOSt on CPUs 0-1, ABI 91, seed 9");
    const other = await agent(["--kernel=sim", `--replay=${path}`], {
      program: { policy: LAST_IN },
    });
    assertEquals(other.status, 1);
    assertMatch(other.stdout, /run\.jsonl: differs at record \d+: recorded \["[mc]",/);
    assert(other.stdout.endsWith("\nDone!\n"));
  });
  assertEquals(names, ["a.html", "run.jsonl"]);
});

Deno.test("a run under a policy that throws is recorded and repeated too", async () => {
  await inFolder(async (folder) => {
    const program = { policy: THROWING };
    const path = `${folder}/run.jsonl`;
    assertEquals((await agent([...SIM, `--record=${path}`], { program })).status, 3);
    const { status, stdout } = await agent(["--kernel=sim", `--replay=${path}`], { program });
    assertStringIncludes(stdout, "identical: ");
    assertEquals(status, 3);
  });
});

Deno.test("what is no whole recording of this program is refused in one line", async () => {
  await inFolder(async (folder) => {
    const good = `${folder}/good.jsonl`;
    await agent([...SIM, `--record=${good}`]);
    const text = Deno.readTextFileSync(good);
    const rows: readonly (readonly [message: RegExp, text: string | undefined])[] = [
      [/--replay: cannot read .*; give a file that --record wrote/, undefined],
      [/--replay: .* is not a recording/, ""],
      [/--replay: .* is not a recording/, "\x7fELF\0\n"],
      [/--replay: .* is not a recording/, '{"magic":"other"}\n'],
      [/--replay: .* is cut off/, text.slice(0, text.length / 2)],
      [/--replay: .* is cut off/, text.split("\n")[0] + "\n"],
      [/--replay: .* was changed or damaged/, text.replace('["c",', '["c",1')],
    ];
    for (const [message, content] of rows) {
      const path = `${folder}/bad.jsonl`;
      if (content !== undefined) Deno.writeTextFileSync(path, content);
      const { status, stdout, stderr } = await agent(["--kernel=sim", `--replay=${path}`]);
      assertMatch(stderr, message);
      assertEquals([status, stdout, stderr.split("\n").length], [2, "", 2]);
    }
    const other = await agent(["--kernel=sim", `--replay=${good}`], { program: { name: "other" } });
    assertEquals(other.status, 2);
    assertMatch(other.stderr, /is a recording of fifo_per_cpu_agent on sim; repeat it with that/);
  });
});

Deno.test("a recording says what to run, and nothing else", async () => {
  const names = await inFolder(async (folder) => {
    const path = `${folder}/run.jsonl`;
    const lines: string[] = [];
    const recorder = new Recorder({ write: (line) => lines.push(line) }, {
      kernel: "sim",
      abi: 91,
      seed: 1,
      policy: "fifo_per_cpu",
      policy_hash: "",
      config: {
        program: "fifo_per_cpu_agent",
        flags: { workload: "simple_exp", ghost_cpus: "0", html: `${folder}/planted.html` },
      },
    });
    recorder.end();
    Deno.writeTextFileSync(path, lines.join(""));
    const { status, stdout } = await agent(["--kernel=sim", `--replay=${path}`]);
    assertEquals(status, 1);
    assertStringIncludes(stdout, "differs at the header");
  });
  assertEquals(names, ["run.jsonl"]);
});

const AGENT = "schedulers/fifo/per_cpu/agent.ts";

Deno.test("as a process: exit statuses 0 and 2, and files in the folder it runs in", async () => {
  const names = await inFolder(async (folder) => {
    const good = await runProgram(AGENT, [...SIM, "--trace=t.json"], folder);
    assertEquals(good.code, 0);
    assert(good.stdout.endsWith("\nDone!\n"));
    const bad = await runProgram(AGENT, [...SIM, "--trace=none/t.json"], folder);
    assertEquals([bad.code, bad.stdout], [2, ""]);
  });
  assertEquals(names, ["t.json"]);
});

Deno.test("as a process: who stops reading stdout does not stop the work", async () => {
  const names = await inFolder(async (folder) => {
    const child = await spawnProgram(AGENT, [...SIM, "--trace=t.json"], folder);
    await child.stdout.cancel();
    const stderr = await new Response(child.stderr).text();
    assertEquals((await child.status).code, 0, stderr);
  });
  assertEquals(names, ["t.json"]);
});

Deno.test("as a process: a policy that throws ends with status 3", async () => {
  const { code, stderr } = await runProgram("tests/agents/throwing_agent.ts", SIM);
  assertEquals(code, 3);
  assertStringIncludes(stderr, "throwing_agent: policy failed on CPU");
});

Deno.test("SIGUSR1 dumps, SIGINT ends with the figures so far, status 0 and whole files", async () => {
  const names = await inFolder(async (folder) => {
    const args = ["--kernel=sim", "--workload=endless", "--ghost_cpus=0-1", "--html=t.html"];
    args.push("--record=t.jsonl");
    const program = await startProgram("tests/agents/endless_agent.ts", args, folder);
    await program.waitFor("Quick ... ok");
    program.child.kill("SIGUSR1");
    await program.waitFor("task        state   cpu\n");
    program.child.kill("SIGINT");
    const { code, stdout, stderr } = await program.ended();
    assertEquals(code, 0);
    assertStringIncludes(stdout, "interrupted: the figures so far\n");
    assertStringIncludes(stderr, "interrupted, so there is nothing to compare or keep\n");
    assertMatch(stdout, /^Quick +0 /m);
    assertMatch(stdout, /^Endless \(stopped\) +0 /m);
    assert(stdout.endsWith("\nDone!\n"));
    assert(Deno.readTextFileSync(`${folder}/t.html`).endsWith("</html>\n"));
  });
  assertEquals(names, ["t.html"]);
});

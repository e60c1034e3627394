/** What the agents with a global CPU have in common: flags, lines on stdout, bad input. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { agentMain, type AgentProgram } from "../util/agent_main.ts";
import { EDF_AGENT } from "./edf/agent.ts";
import { FIFO_CENTRALIZED_AGENT } from "./fifo/centralized/agent.ts";
import { SHINJUKU_AGENT } from "./shinjuku/agent.ts";
import { SOL_AGENT } from "./sol/agent.ts";

interface Said {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function agent(program: AgentProgram, args: readonly string[]): Promise<Said> {
  const said = { stdout: "", stderr: "" };
  const status = await agentMain(program, args, {
    stdout: (text) => said.stdout += text,
    stderr: (text) => said.stderr += text,
    is_terminal: false,
    read: () => undefined,
    uid: () => 0,
  });
  return { status, ...said };
}

interface Program {
  readonly program: AgentProgram;
  /** CPUs 0 to 3, and one CPU, in the flags of this agent. */
  readonly four_cpus: readonly string[];
  readonly one_cpu: readonly string[];
  readonly has_slice: boolean;
}

const LIST = { four_cpus: ["--ghost_cpus=0-3"], one_cpu: ["--ghost_cpus=2"] };
const PROGRAMS: readonly Program[] = [
  { program: FIFO_CENTRALIZED_AGENT, ...LIST, has_slice: true },
  { program: SOL_AGENT, ...LIST, has_slice: true },
  { program: EDF_AGENT, ...LIST, has_slice: false },
  {
    program: SHINJUKU_AGENT,
    four_cpus: ["--firstcpu=0", "--ncpus=4"],
    one_cpu: ["--firstcpu=2", "--ncpus=1"],
    has_slice: true,
  },
];
const SIM = ["--kernel=sim", "--workload=simple_exp"];

for (const { program, four_cpus, one_cpu, has_slice } of PROGRAMS) {
  const { name } = program;

  Deno.test(`${name}: on sim stdout has upstream's lines, every sub-test ends well`, async () => {
    const { status, stdout, stderr } = await agent(program, [...SIM, ...four_cpus]);
    const head = "Core map\n(  0  2 )\t(  1  3 )\t\nInitializing...\n" +
      "Initialization complete, ghOSt active.\n";
    assert(stdout.startsWith(head), stdout);
    assert(stdout.endsWith(program.done_text), stdout);
    assertEquals(stderr.split("\n").filter((line) => line.includes("... ok")).length, 6);
    assertEquals(status, 0);
  });

  Deno.test(`${name}: another global CPU gives another run, also when it is recorded`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/run`;
      const args = [...SIM, ...four_cpus];
      const first = await agent(program, args);
      const other = await agent(program, [...args, "--globalcpu=3", `--record=${path}`]);
      assertEquals([first.status, other.status], [0, 0]);
      assert(first.stdout !== other.stdout);
      const replayed = await agent(program, ["--kernel=sim", `--replay=${path}`]);
      assertMatch(replayed.stdout, /run: identical: \d+ records\n/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  const slices: [string, string[], RegExp][] = ["0", "999ns", "-1us", "5", "soon", ""].map(
    (slice) => [
      `the slice "${slice}"`,
      [...four_cpus, `--preemption_time_slice=${slice}`],
      /--preemption_time_slice: ".*" is .*; give a number with ns, us/,
    ],
  );
  const bad: [string, string[], RegExp][] = [
    ["a CPU outside the list", [...four_cpus, "--globalcpu=4"], /--globalcpu: "4" .*0 to 3, or -1/],
    ["no CPU at all", [...four_cpus, "--globalcpu=x"], /--globalcpu: "x" is none of the CPUs/],
    ["a negative CPU", [...four_cpus, "--globalcpu=-2"], /--globalcpu: "-2" is none of the CPUs/],
    ["one CPU", [...one_cpu], /--(ghost_cpus: .* one to schedule|ncpus; give .* from 2 to)/],
    ...has_slice ? slices : [],
  ];
  for (const [what, args, message] of bad) {
    Deno.test(`${name}: ${what} is one line on stderr, status 2, no file`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        const files = [`--html=${folder}/a.html`, `--record=${folder}/a`];
        const { status, stdout, stderr } = await agent(program, [...SIM, ...args, ...files]);
        assertMatch(stderr, message);
        assert(stderr.startsWith(`${name}: `));
        assertEquals([status, stdout, stderr.split("\n").length], [2, "", 2]);
        assertEquals([...Deno.readDirSync(folder)], []);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }

  Deno.test(`${name}: --help has its own flags, --enclave and --kernel`, async () => {
    const { status, stdout } = await agent(program, ["--help"]);
    assertEquals(status, 0);
    for (const flag of ["--globalcpu CPU", "--enclave DIR", "--kernel NAME"]) {
      assertStringIncludes(stdout, `  ${flag} `);
    }
    for (const line of stdout.split("\n")) assert(line.length <= 100, line);
  });
}

Deno.test("defaults are upstream's", async () => {
  const help = async (program: AgentProgram) => (await agent(program, ["--help"])).stdout;
  const fifo = await help(FIFO_CENTRALIZED_AGENT);
  assertMatch(fifo, /--ghost_cpus LIST .*\(default 1-5\)/);
  assertMatch(fifo, /--globalcpu CPU .*\(default -1\)/);
  assertMatch(fifo, /--preemption_time_slice TIME .*\(default inf\)/);
  const shinjuku = await help(SHINJUKU_AGENT);
  assertMatch(shinjuku, /--firstcpu CPU .*\(default 1\)/);
  assertMatch(shinjuku, /--ncpus N .*\(default 5\)/);
  assertMatch(shinjuku, /--preemption_time_slice TIME .*\(default 50us\)/);
  assertEquals(shinjuku.includes("--ghost_cpus"), false);
});

import { assertEquals, assertMatch } from "@std/assert";
import { FIFO_PER_CPU_AGENT } from "../schedulers/fifo/per_cpu/agent.ts";
import { agentMain, PROCESS_HOST } from "./agent_main.ts";

const SIM = ["--kernel=sim", "--workload=simple_exp", "--ghost_cpus=0-1"];

async function agent(args: readonly string[]): Promise<{ status: number; text: string }> {
  let text = "";
  const say = (more: string): void => {
    text += more;
  };
  const host = { stdout: say, stderr: say, is_terminal: false, read: PROCESS_HOST.read };
  const status = await agentMain(FIFO_PER_CPU_AGENT, args, { ...host, uid: () => 0 });
  return { status, text };
}

async function withFolder(run: (path: string, folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "agent_state_" });
  try {
    await run(`${folder}/state.json`, folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function turn(path: string): number {
  return JSON.parse(Deno.readTextFileSync(path)).global.next_cpu[0];
}

Deno.test("--state keeps what the policy keeps, and the next run goes on from there", async () => {
  await withFolder(async (path, folder) => {
    const first = await agent([...SIM, `--state=${path}`]);
    assertEquals(first.status, 0, first.text);
    assertMatch(first.text, /wrote .*state\.json: the next run with --state takes it over\n/);
    const after_one = turn(path);
    assertEquals((await agent([...SIM, `--state=${path}`])).status, 0);
    // Round robin over CPUs goes on where the first run stopped: as many turns again.
    assertEquals(turn(path), 2 * after_one);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["state.json"]);
  });
});

Deno.test("--state and --record exclude each other, and nothing is written", async () => {
  await withFolder(async (path, folder) => {
    const said = await agent([...SIM, `--state=${path}`, `--record=${folder}/run`]);
    assertEquals(said.status, 2);
    assertMatch(said.text, /--record and --state exclude each other/);
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

for (
  const [what, text, want] of [
    ["a truncated state", `{"magic":"ghost-agents-state","fo`, /is cut off after 33 bytes/],
    ["a foreign file", "\x7fELF", /is not a saved state/],
    [
      "another policy's state",
      `{"magic":"ghost-agents-state","format":1,"policy":"edf"}`,
      /was written by edf, not by fifo_per_cpu/,
    ],
  ] as const
) {
  Deno.test(`${what} is one line and status 2, and stays as it was`, async () => {
    await withFolder(async (path, folder) => {
      Deno.writeTextFileSync(path, text);
      const said = await agent([...SIM, `--state=${path}`]);
      assertEquals(said.status, 2);
      assertMatch(said.text, want);
      assertEquals(said.text.trimEnd().split("\n").length, 1);
      assertEquals(Deno.readTextFileSync(path), text);
      assertEquals([...Deno.readDirSync(folder)].length, 1);
    });
  });
}

Deno.test("a state that cannot be read is not written over", async () => {
  await withFolder(async (path, folder) => {
    Deno.mkdirSync(path);
    const said = await agent([...SIM, `--state=${path}`]);
    assertEquals(said.status, 2);
    assertMatch(said.text, /^\S+ --state: cannot read .*state\.json: Is a directory; [^\n]*\n$/);
    assertEquals([...Deno.readDirSync(folder)].length, 1);
  });
});

Deno.test("a recording that is repeated is not written over, by whatever name", async () => {
  await withFolder(async (_path, folder) => {
    const recording = `${folder}/run`;
    assertEquals((await agent([...SIM, `--record=${recording}`])).status, 0);
    const before = Deno.readTextFileSync(recording);
    Deno.symlinkSync(recording, `${folder}/link`);
    for (const name of ["run", "./run", "link"]) {
      const said = await agent([
        "--kernel=sim",
        `--replay=${recording}`,
        `--html=${folder}/${name}`,
      ]);
      assertEquals(said.status, 2);
      assertMatch(said.text, /--html: names the same file as --replay; give two names\n$/);
    }
    assertEquals(Deno.readTextFileSync(recording), before);
  });
});

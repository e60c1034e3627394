import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { runProgram } from "../tests/process.ts";

const TRACE = "out/simple_exp.trace.json";
const PAGE = "out/simple_exp.html";

interface Demo {
  readonly stdout: string;
  readonly stderr: string;
  readonly trace: string;
  readonly page: string;
  readonly names: readonly string[];
}

/** Runs the demo in an empty folder. */
async function demo(...args: string[]): Promise<Demo> {
  const folder = await Deno.makeTempDir({ prefix: "demo_" });
  try {
    const { code, stdout, stderr } = await runProgram("experiments/demo.ts", args, folder);
    assertEquals(code, 0, stderr);
    return {
      stdout,
      stderr,
      trace: await Deno.readTextFile(`${folder}/${TRACE}`),
      page: await Deno.readTextFile(`${folder}/${PAGE}`),
      names: [...Deno.readDirSync(`${folder}/out`)].map((entry) => entry.name).sort(),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the demo shows a table, writes trace and page into out/, and says how to open them", async () => {
  const { stdout, stderr, names } = await demo();
  assertEquals(names, ["simple_exp.html", "simple_exp.trace.json"]);
  assertMatch(stdout, /^sub-test +threads +time +switches +run p50 +p99 +max +commits +commits$/m);
  assertMatch(stdout, /^TaskDepartedManyRace +1,000 /m);
  assertStringIncludes(stdout, `wrote ${TRACE}: open it in ui.perfetto.dev`);
  assertStringIncludes(stdout, `wrote ${PAGE}: open it in a browser`);
  assertEquals(stderr.split("\n").length, 7, stderr);
});

Deno.test("the same seed writes the same bytes, another seed writes others", async () => {
  const [first, second, other] = [await demo(), await demo(), await demo("--seed=2")];
  assert(first.trace === second.trace, "the traces of two runs with one seed differ");
  assert(first.page === second.page, "the pages of two runs with one seed differ");
  assertEquals(first.stdout, second.stdout);
  // The head names the seed; what counts is what ran.
  const events = ({ trace }: Demo): string => trace.slice(trace.indexOf('"traceEvents"'));
  assert(events(first).length > 1_000_000, `${events(first).length}`);
  assert(events(first) !== events(other), "two seeds ran the same");
});

Deno.test("the demo's arguments go to the agent and win over its own", async () => {
  const { trace, page } = await demo("--ghost_cpus=0-3");
  assertStringIncludes(page, "ghOSt on CPUs 0-3");
  const events: { ph: string; name: string; args?: { name?: string } }[] =
    JSON.parse(trace).traceEvents;
  const tracks = events.filter(({ name, args }) =>
    name === "thread_name" && args?.name?.startsWith("CPU ")
  );
  assertEquals(tracks.length, 4);
});

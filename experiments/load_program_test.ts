import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { batchEnclave, type TestToolHost, toolHost } from "../util/test_enclave.ts";
import { loadMain, type LoadProgram } from "./load_program.ts";
import { expectOutside, fail, join, threadKind } from "./load_steps.ts";
import { SIMPLE_EXP } from "./simple_exp/load.ts";
import { steppedSubTest } from "./sim_steps.ts";

const SIMPLE: LoadProgram = {
  name: "simple_exp",
  summary: "test",
  load: SIMPLE_EXP,
  sim_policy: FIFO_PER_CPU,
};
const NAMES = SIMPLE_EXP.sub_tests.map(({ name }) => name);

async function run(
  args: string[],
  host: TestToolHost = toolHost([batchEnclave()]),
  program = SIMPLE,
): Promise<{ status: number; out: string[]; err: string[] }> {
  return { status: await loadMain(program, args, host), out: host.out, err: host.err };
}

Deno.test("the six sub-tests run on real threads, with upstream's lines", async () => {
  const { status, out, err } = await run([]);
  assertEquals([status, err], [0, []]);
  assertEquals(out.filter((_, index) => index % 2 === 0), NAMES);
  for (let index = 1; index < out.length; index += 2) {
    assertMatch(out[index], /^ took \d+\.\d\d ms$/);
  }
});

Deno.test("on the simulated kernel the same load says that it is simulated", async () => {
  const { status, out } = await run(["--kernel=sim", "--only", "TaskDeparted"]);
  assertEquals(status, 0);
  assertMatch(out[0], /^simulated: 2 CPUs, policy fifo_per_cpu; .* nothing was measured/);
  assertEquals(out[1], "TaskDeparted");
  assertMatch(out[2], /^ took 10\.\d\d ms \(simulated\)$/);
});

Deno.test("threads that the enclave loses are noticed: status 1 and the failed expectation", async () => {
  const lost = batchEnclave({ join: () => 0 });
  const { status, out, err } = await run(["--only=SimpleExp"], toolHost([lost]));
  assertEquals([status, out[0]], [1, "SimpleExp"]);
  assertEquals(err, [
    "SimpleExp: nap: expected that a thread that entered ghOSt is in it after a sleep",
    "SimpleExp: nap child: expected that a child forked in ghOSt is in ghOSt",
  ]);
});

Deno.test("one failed sub-test does not keep the next from running, but a stuck one does", async () => {
  const sub_tests = [
    steppedSubTest(threadKind("first", fail("this fails")), 0),
    steppedSubTest(threadKind("second", expectOutside("all is well")), 0),
    steppedSubTest(threadKind("stuck", { kind: "take", word: 0 }), 0),
    steppedSubTest(threadKind("never", join()), 0),
  ];
  const program = { ...SIMPLE, load: { ...SIMPLE_EXP, sub_tests } };
  const { status, out, err } = await run(["--timeout=1"], undefined, program);
  assertEquals(status, 1);
  assertEquals(out.filter((line) => !line.startsWith(" ")), ["first", "second", "stuck"]);
  assertEquals(err[0], "first: first: expected that this fails");
  assertStringIncludes(err[1], "stuck: stuck: 1 of 1 threads have not ended after 1 s");
});

Deno.test("without enclave, agent or root it says so and how to go on", async () => {
  const cases: [TestToolHost, string][] = [
    [toolHost([]), "no enclave of kernel scx; an agent makes it; start one first"],
    [toolHost([batchEnclave({ isOnline: () => false })]), "has no agent online"],
    [toolHost([batchEnclave({ isOnline: () => -19 })]), "cannot be read (ENODEV)"],
    [toolHost([batchEnclave()], { uid: () => 1000 }), "not root"],
    [toolHost([batchEnclave()], { ownAgent: () => 77 }), "belongs to agent process 77"],
    [toolHost([batchEnclave()], { views: () => Promise.resolve([]) }), "does not know"],
  ];
  for (const [host, text] of cases) {
    const { status, out, err } = await run([], host);
    assertEquals([status, out, err.length], [1, [], 1]);
    assertStringIncludes(err[0], text);
  }
});

Deno.test("the first enclave with an agent online is taken, or the one that is named", async () => {
  const joined: number[] = [];
  const enclaves = [1, 2, 3].map((id) =>
    batchEnclave({
      id,
      path: `/sys/fs/ghost/enclave_${id}`,
      isOnline: () => id > 1,
      join: () => joined.push(id) * 0,
    })
  );
  const once = ["--only=TaskDeparted"];
  await run(once, toolHost(enclaves));
  await run([...once, "--enclave", "/sys/fs/ghost/enclave_3/"], toolHost(enclaves));
  assertEquals(joined, [2, 3]);
  const { err } = await run([...once, "--enclave=enclave_1"], toolHost(enclaves));
  assertStringIncludes(err[0], "/sys/fs/ghost/enclave_1 has no agent online");
});

Deno.test("bad input is one line and status 2", async () => {
  const cases = [
    ["--nonsense"],
    ["--only=Nonsense"],
    ["--seed=-1"],
    ["--timeout=0"],
    ["--kernel=nonsense"],
    ["--kernel=sim", "--enclave=1"],
    ["word"],
  ];
  for (const args of cases) {
    const { status, out, err } = await run(args);
    assertEquals([args, status, out, err.length], [args, 2, [], 1]);
    assert(!err[0].includes("\n") && err[0].startsWith("simple_exp: "), err[0]);
  }
});

import { assertEquals, assertStringIncludes } from "@std/assert";
import { main } from "./enclaves.ts";
import type { KeptExit } from "./guard/last_exit.ts";
import { batchEnclave, toolHost } from "./test_enclave.ts";

const FIRST = batchEnclave({ cpus: () => [0, 1, 2, 6], taskTids: () => [1, 2] });
const DYING = batchEnclave({
  id: 12,
  path: "/sys/fs/ghost/enclave_12",
  isOnline: () => -19,
  taskTids: () => -19,
  cpus: () => -19,
});
const IDLE = batchEnclave({
  id: 2,
  path: "/sys/fs/ghost/enclave_2",
  cpus: () => [3],
  taskTids: () => [],
  isOnline: () => false,
});

Deno.test("the list has CPUs, tasks and agent of each; one that is dying does not spoil it", async () => {
  const host = toolHost([FIRST, IDLE, DYING]);
  assertEquals(await main([], host), 0);
  assertEquals(
    host.out[0],
    "enclave                   kernel  CPUs   tasks  agent\n" +
      "------------------------  ------  -----  -----  ------------------\n" +
      "/sys/fs/ghost/enclave_1   scx     0-2,6      2  online\n" +
      "/sys/fs/ghost/enclave_2   scx     3          0  offline\n" +
      "/sys/fs/ghost/enclave_12  scx     ?          ?  unreadable: ENODEV",
  );
});

Deno.test("--json has a schema version and null for what could not be read", async () => {
  const host = toolHost([FIRST, DYING]);
  assertEquals(await main(["--json"], host), 0);
  const { schema, enclaves } = JSON.parse(host.out[0]);
  assertEquals(schema, 1);
  assertEquals(enclaves[0], {
    path: "/sys/fs/ghost/enclave_1",
    id: 1,
    kernel: "scx",
    cpus: "0-2,6",
    task_count: 2,
    is_agent_online: true,
    error: null,
  });
  assertEquals([enclaves[1].cpus, enclaves[1].error], [null, "ENODEV"]);
});

Deno.test("without an enclave the list says so", async () => {
  const host = toolHost([]);
  assertEquals(await main([], host), 0);
  assertEquals(host.out, ["no enclaves"]);
});

const KILLED: KeptExit = {
  time_ms: Date.UTC(2026, 10, 21, 17, 5, 9),
  program: "fifo_per_cpu_agent",
  pid: 77,
  kernel: "scx",
  enclave: "scx/enclave_1",
  cpus: [1, 2, 3],
  kind: "killed",
  reason: "agent process 77 was killed by signal 9 (Killed)",
  dump: "/run/ghostctl/last_exit/1_77.txt",
};
const EARLY: KeptExit = { ...KILLED, kind: "ended", enclave: null, cpus: [], dump: null };

Deno.test("agents' abnormal ends stand below the list, with their reasons and states", async () => {
  const host = toolHost([], { exits: () => [KILLED, EARLY] });
  assertEquals(await main([], host), 0);
  assertEquals(
    host.out[0],
    "no enclaves\n\nabnormal ends of agents:\n" +
      "time                  agent               enclave        CPUs  end\n" +
      "--------------------  ------------------  -------------  ----  ------\n" +
      "2026-11-21T17:05:09Z  fifo_per_cpu_agent  scx/enclave_1  1-3   killed\n" +
      "    agent process 77 was killed by signal 9 (Killed)\n" +
      "    state: /run/ghostctl/last_exit/1_77.txt\n" +
      "2026-11-21T17:05:09Z  fifo_per_cpu_agent  ?              ?     ended\n" +
      "    agent process 77 was killed by signal 9 (Killed)",
  );
});

Deno.test("--json has the abnormal ends too, and none where they cannot be read", async () => {
  const host = toolHost([], { exits: () => [KILLED] });
  assertEquals(await main(["--json"], host), 0);
  assertEquals(JSON.parse(host.out[0]), { schema: 1, enclaves: [], exits: [KILLED] });
  const user = toolHost([], { uid: () => 1000, exits: () => undefined });
  assertEquals(await main(["--json"], user), 0);
  assertEquals(JSON.parse(user.out[0]).exits, []);
  assertStringIncludes(user.err[0], "ends are seen by root only");
});

/** Destroys with these arguments; what was destroyed, the status and the first line of stderr. */
async function destroyed(...args: string[]): Promise<[number[], number, string]> {
  const gone: number[] = [];
  const enclaves = [1, 2].map((id) =>
    batchEnclave({ id, path: `/sys/fs/ghost/enclave_${id}`, destroy: () => gone.push(id) * 0 })
  );
  const host = toolHost(enclaves);
  const status = await main(["destroy", ...args], host);
  return [gone, status, host.err[0] ?? ""];
}

Deno.test("destroy takes path, name or number, each once, or --all", async () => {
  assertEquals(await destroyed("/sys/fs/ghost/enclave_2/"), [[2], 0, ""]);
  assertEquals(await destroyed("enclave_1", "1"), [[1], 0, ""]);
  assertEquals(await destroyed("--all"), [[1, 2], 0, ""]);
});

Deno.test("destroy does nothing at all if a name is wrong or the arguments are unclear", async () => {
  for (
    const [args, status, text] of [
      [["1", "7"], 1, "no enclave 7, so nothing was destroyed"],
      [[], 2, "destroy what?"],
      [["1", "--all"], 2, "names or --all, not both"],
    ] as const
  ) {
    const [gone, found_status, line] = await destroyed(...args);
    assertEquals([gone, found_status], [[], status]);
    assertStringIncludes(line, text);
  }
});

Deno.test("what cannot be destroyed is told, and does not keep the others", async () => {
  const gone: number[] = [];
  const enclaves = [1, 2].map((id) =>
    batchEnclave({ id, path: `/e/enclave_${id}`, destroy: () => id === 1 ? -1 : gone.push(id) * 0 })
  );
  const host = toolHost(enclaves);
  assertEquals(await main(["destroy", "--all"], host), 1);
  assertEquals([gone, host.out], [[2], ["destroyed /e/enclave_2"]]);
  assertStringIncludes(host.err[0], "/e/enclave_1 was not destroyed (EPERM)");
});

Deno.test("a look needs no root, destroying does", async () => {
  const looker = toolHost([FIRST], { uid: () => 1000 });
  assertEquals(await main([], looker), 0);
  assertStringIncludes(looker.err[0], "enclaves under sched_ext and ends are seen by root only");
  const host = toolHost([FIRST], { uid: () => 1000 });
  assertEquals(await main(["destroy", "--all"], host), 1);
  assertStringIncludes(host.err[0], "not root");
});

Deno.test("a host without either kernel says what is missing", async () => {
  const facts = () => ({
    release: "6.1",
    ghost_versions: undefined,
    is_ghost_unmounted: false,
    has_scx: false,
  });
  const host = toolHost([], { facts });
  assertEquals(await main([], host), 1);
  assertStringIncludes(host.err[0], "no ghOSt (/sys/fs/ghost/version is missing), no sched_ext");
});

Deno.test("bad input is one line and status 2", async () => {
  for (
    const args of [["nonsense"], ["--nonsense"], ["--all"], ["--kernel=nonsense"], ["--kernel=sim"]]
  ) {
    const host = toolHost([FIRST]);
    assertEquals([args, await main(args, host)], [args, 2]);
    assertEquals([host.err.length, host.err[0].includes("\n")], [1, false]);
  }
});

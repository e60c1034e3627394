import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { DUMP_BYTES_MAX } from "../../lib/limits.ts";
import {
  type AgentExit,
  EXIT_COUNT_MAX,
  exitTime,
  keepExit,
  keepExitOf,
  readExits,
} from "./last_exit.ts";

const DAY_MS = 24 * 3600 * 1000;
const EXIT: AgentExit = {
  time_ms: Date.UTC(2026, 10, 21, 17, 5, 9, 123),
  program: "fifo_per_cpu_agent",
  pid: 77,
  kernel: "scx",
  enclave: "scx/enclave_1",
  cpus: [1, 2, 3],
  kind: "killed",
  reason: "agent process 77 was killed by signal 9 (Killed)",
};

function withFolder(body: (folder: string) => void): void {
  const parent = Deno.makeTempDirSync({ prefix: "last_exit_" });
  try {
    body(`${parent}/a/b`);
  } finally {
    Deno.removeSync(parent, { recursive: true });
  }
}

function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("an end is read as it was kept, with the file of its state", () => {
  withFolder((folder) => {
    assertEquals(keepExit(EXIT, "CPU 1: 3 steps\n", folder), undefined);
    const dump = `${folder}/${EXIT.time_ms}_77.txt`;
    assertEquals(readExits(folder), [{ ...EXIT, dump }]);
    assertEquals(Deno.readTextFileSync(dump), "CPU 1: 3 steps\n");
    assertEquals(exitTime(EXIT), "2026-11-21T17:05:09Z");
  });
});

Deno.test("an end without a state has no file of it; the newest comes first", () => {
  withFolder((folder) => {
    keepExit(EXIT, "", folder);
    keepExit({ ...EXIT, time_ms: EXIT.time_ms + 5, pid: 6, enclave: null }, "", folder);
    keepExit({ ...EXIT, time_ms: EXIT.time_ms - 5, pid: 99 }, "", folder);
    const exits = readExits(folder) ?? [];
    assertEquals(exits.map(({ pid, dump }) => [pid, dump]), [[6, null], [77, null], [99, null]]);
    assertEquals(namesIn(folder).every((name) => name.endsWith(".json")), true);
  });
});

Deno.test("a reason of several lines becomes one", () => {
  withFolder((folder) => {
    keepExit({ ...EXIT, reason: "agent: Error: no\n    such row\n" }, "", folder);
    assertEquals(readExits(folder)?.[0].reason, "agent: Error: no such row");
  });
});

Deno.test("folder and files are their owner's alone", () => {
  withFolder((folder) => {
    keepExit(EXIT, "x\n", folder);
    const modeOf = (path: string): number => Deno.statSync(path).mode! & 0o777;
    assertEquals(modeOf(folder), 0o700);
    for (const name of namesIn(folder)) assertEquals(modeOf(`${folder}/${name}`), 0o600, name);
  });
});

Deno.test("only so many are kept, the oldest go with their states, and old ones go anyway", () => {
  withFolder((folder) => {
    const at = (index: number): AgentExit => ({ ...EXIT, time_ms: EXIT.time_ms + index * 1000 });
    for (let index = 0; index < EXIT_COUNT_MAX + 3; index++) keepExit(at(index), "x\n", folder);
    assertEquals(namesIn(folder).length, 2 * EXIT_COUNT_MAX);
    assertEquals(readExits(folder)?.at(-1)?.time_ms, at(3).time_ms);
    const late = { ...EXIT, time_ms: at(EXIT_COUNT_MAX + 1).time_ms + 7 * DAY_MS };
    keepExit(late, "", folder);
    const times = readExits(folder)?.map(({ time_ms }) => time_ms);
    assertEquals(times, [
      late.time_ms,
      at(EXIT_COUNT_MAX + 2).time_ms,
      at(EXIT_COUNT_MAX + 1).time_ms,
    ]);
  });
});

Deno.test("what was left half written goes, what is being written and what is not ours stays", () => {
  withFolder((folder) => {
    keepExit(EXIT, "", folder);
    const old = `.${EXIT.time_ms - 3_600_000}_5.json`;
    const young = `.${EXIT.time_ms - 1000}_5.json`;
    for (const name of [old, young, "README"]) Deno.writeTextFileSync(`${folder}/${name}`, "{");
    keepExit({ ...EXIT, pid: 78 }, "", folder);
    const names = namesIn(folder);
    assertEquals([old, young, "README"].map((name) => names.includes(name)), [false, true, true]);
    assertEquals(readExits(folder)?.length, 2);
  });
});

Deno.test("a state that is too long is cut off behind a line", () => {
  withFolder((folder) => {
    keepExit(EXIT, "0123456789abcde\n".repeat(DUMP_BYTES_MAX / 8), folder);
    const [exit] = readExits(folder) ?? [];
    const text = Deno.readTextFileSync(exit.dump!);
    assert(text.length <= DUMP_BYTES_MAX && text.endsWith("e\n"), `${text.length}`);
    assert(text.length > DUMP_BYTES_MAX - 100);
  });
});

Deno.test("a folder that is not there holds no ends; files that are none of ours are left out", () => {
  withFolder((folder) => {
    assertEquals(readExits(folder), []);
    Deno.mkdirSync(folder, { recursive: true });
    const wrong = [
      "{",
      "null",
      JSON.stringify({ ...EXIT, schema: 2, dump: null }),
      JSON.stringify({ ...EXIT, schema: 1, kind: "tired", dump: null }),
    ];
    wrong.forEach((text, index) => Deno.writeTextFileSync(`${folder}/1_${index}.json`, text));
    assertEquals(readExits(folder), []);
  });
});

Deno.test("where nothing can be written the agent says why, and goes on", () => {
  withFolder((folder) => {
    Deno.mkdirSync(folder.replace(/\/a\/b$/, ""), { recursive: true });
    Deno.writeTextFileSync(folder.replace(/\/b$/, ""), "a file");
    const lines: string[] = [];
    const stderr = (text: string): void => void lines.push(text);
    keepExitOf({ exits_folder: folder, stderr }, EXIT, "");
    assertEquals(lines.length, 1);
    assertStringIncludes(lines[0], `fifo_per_cpu_agent: this end is not kept (${folder}: `);
    keepExitOf({ stderr }, EXIT, "");
    assertEquals(lines.length, 1);
    assertEquals(readExits(`${folder}/c`), undefined);
  });
});

import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { FAULT_NAMES } from "../../kernels/sim/faults.ts";
import { type FuzzHost, fuzzMain } from "./main.ts";
import { plant } from "./planted.ts";
import type { RunOptions } from "./run.ts";

/** SHA-256 of the recording of seed 42. A change of simulator, policies or plans changes it. */
const GOLDEN_SHA256 = "249e80843247094b59f66405846fccb6f1cc78ea3959f4b2d508028287c8ef85";
const GOLDEN_ARGS = ["--seeds", "1", "--seed", "42", "--policy", "fifo_per_cpu", "--abi", "91"];

interface Output {
  status: number;
  stdout: string;
  stderr: string;
}

function fuzz(...args: string[]): Output {
  return fuzzVariant(args);
}

function fuzzVariant(args: string[], variant?: RunOptions["variant"]): Output {
  const result: Output = { status: 0, stdout: "", stderr: "" };
  const host: FuzzHost = {
    stdout: (text) => result.stdout += text,
    stderr: (text) => result.stderr += text,
    is_terminal: false,
  };
  result.status = fuzzMain(args, host, variant);
  return result;
}

function inTempDir(test: (dir: string) => void): void {
  const dir = Deno.makeTempDirSync();
  try {
    test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function sha256(path: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", Deno.readFileSync(path));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

Deno.test("200 seeds find nothing and hit every fault point", () => {
  const { status, stdout } = fuzz("--seeds", "200");
  assertMatch(stdout, /^fuzz: 200 seeds, 0 failed; .* 40 of 40 fault points hit; [\d.]+ s\n$/);
  assertEquals(status, 0);
});

Deno.test("a failure prints its seed, what broke and the command that repeats it", () => {
  const args = ["--seeds", "50", "--seed", "1", "--policy", "fifo_per_cpu"];
  const { status, stdout } = fuzzVariant(args, plant("double_enqueue"));
  const failure = /^fuzz: seed (\d+) FAILED at \d+ ns, event \d+: CPU \d+: .* in the queue$/m;
  const seed = failure.exec(stdout)?.[1];
  const command =
    `  again: deno task fuzz --seeds 1 --seed ${seed} --policy fifo_per_cpu --verbose\n`;
  assert(stdout.includes(command), stdout);
  assertMatch(stdout, /^fuzz: \d+ seeds, 5 failed; /m);
  assertEquals(status, 1);
  const again = ["--seeds", "1", "--seed", String(seed), "--policy", "fifo_per_cpu", "--verbose"];
  const repeated = fuzzVariant(again, plant("double_enqueue"));
  assertEquals(failure.exec(repeated.stdout)?.[0], failure.exec(stdout)?.[0]);
  assertMatch(repeated.stdout, /SchedState\[/, "with --verbose the state of the agents is shown");
});

Deno.test("there are at least 30 fault points", () => {
  assert(FAULT_NAMES.length >= 30);
});

Deno.test("--verbose shows every plan and the hits of every fault point", () => {
  const { stdout } = fuzz("--seeds", "2", "--seed", "5", "--verbose");
  assertMatch(stdout, /^seed 5: \w+, ABI \d+, /m);
  assertMatch(stdout, /^seed 6: /m);
  for (const name of FAULT_NAMES) assertMatch(stdout, new RegExp(`^  ${name} +[\\d,]+  `, "m"));
});

Deno.test("the same seed gives the same recording, byte for byte", () => {
  inTempDir((dir) => {
    for (const seed of ["3", "8", "21"]) {
      for (const name of ["a", "b"]) {
        const { status } = fuzz("--seed", seed, "--record", `${dir}/${name}`);
        assertEquals(status, 0);
      }
      assertEquals(Deno.readTextFileSync(`${dir}/a`), Deno.readTextFileSync(`${dir}/b`));
    }
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), ["a", "b"]);
  });
});

Deno.test("another seed gives another recording", () => {
  inTempDir((dir) => {
    fuzz("--seed", "3", "--record", `${dir}/a`);
    fuzz("--seed", "4", "--record", `${dir}/b`);
    const records = (name: string) => Deno.readTextFileSync(`${dir}/${name}`).split("\n").slice(1);
    assertNotEquals(records("a"), records("b"));
  });
});

Deno.test("a recording is the same on every machine", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    fuzz(...GOLDEN_ARGS, "--record", `${dir}/golden`);
    const hash = await sha256(`${dir}/golden`);
    assertEquals(
      hash,
      GOLDEN_SHA256,
      "if simulator, policy or plans were changed on purpose, GOLDEN_SHA256 takes the new hash",
    );
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("--replay repeats a recording and says that it is identical", () => {
  inTempDir((dir) => {
    fuzz("--seed", "9", "--abi", "84", "--policy", "greedy", "--record", `${dir}/run`);
    const { status, stdout } = fuzz("--replay", `${dir}/run`);
    assertMatch(stdout, /^fuzz: .*run: identical: \d+ records\n$/);
    assertEquals(status, 0);
  });
});

/** A recording with one line changed and a checksum that fits. */
function forge(path: string, change: (lines: string[]) => void): void {
  const lines = Deno.readTextFileSync(path).split(/(?<=\n)/);
  lines.pop();
  change(lines);
  let a = 0x811c9dc5 | 0;
  let b = 0x2545f491 | 0;
  for (const unit of lines.join("")) {
    a = Math.imul(a ^ unit.charCodeAt(0), 0x01000193);
    b = Math.imul(b ^ unit.charCodeAt(0), 0x01000193) + 1;
  }
  const hex = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
  const end = JSON.stringify(["end", lines.length - 1, hex(a) + hex(b)]);
  Deno.writeTextFileSync(path, `${lines.join("")}${end}\n`);
}

Deno.test("--replay tells the first difference with its record and both sides", () => {
  inTempDir((dir) => {
    fuzz("--seed", "9", "--record", `${dir}/run`);
    let original = "";
    forge(`${dir}/run`, (lines) => {
      original = lines[5].trim();
      lines[5] = '["m",1,2,3,"4",5]\n';
      lines[8] = '["m",9,9,9,"9",9]\n';
    });
    const { status, stdout } = fuzz("--replay", `${dir}/run`);
    const expected = `differs at record 5: recorded ["m",1,2,3,"4",5], now ${original}\n`;
    assertEquals(stdout, `fuzz: ${dir}/run: ${expected}`);
    assertEquals(status, 1);
  });
});

Deno.test("--replay tells where a run goes on after the end of its recording", () => {
  inTempDir((dir) => {
    fuzz("--seed", "9", "--record", `${dir}/run`);
    forge(`${dir}/run`, (lines) => lines.splice(7));
    const { status, stdout } = fuzz("--replay", `${dir}/run`);
    assertMatch(stdout, /differs at record 7: recorded \["end",6,"\w{16}"\], now \["[mc]",/);
    assertEquals(status, 1);
  });
});

const BAD_FILES: readonly [string, (text: string) => string, RegExp][] = [
  ["cut off", (text) => text.slice(0, text.length >> 1), /is cut off after line \d+; /],
  ["without its last line", (text) => text.replace(/.*\n$/, ""), /is cut off after line \d+; /],
  ["changed", (text) => text.replace(/"m",\d+/, '"m",7'), /was changed or damaged; /],
  ["empty", () => "", /is not a recording; give a file that --record wrote/],
  ["foreign", () => '{"magic":"other"}\n', /is not a recording; /],
  ["binary", () => "\x7fELF\0\0", /is not a recording; /],
  ["of another format", (text) => text.replace('"format":1', '"format":2'), /recording format 2/],
];

for (const [what, spoil, message] of BAD_FILES) {
  Deno.test(`a recording that is ${what} is refused in one line, exit status 2`, () => {
    inTempDir((dir) => {
      fuzz("--seed", "9", "--record", `${dir}/run`);
      Deno.writeTextFileSync(`${dir}/run`, spoil(Deno.readTextFileSync(`${dir}/run`)));
      const { status, stdout, stderr } = fuzz("--replay", `${dir}/run`);
      assertMatch(stderr, message);
      assertEquals(stderr.trimEnd().split("\n").length, 1);
      assertEquals([status, stdout], [2, ""]);
    });
  });
}

Deno.test("a recording of another program is named with its program", () => {
  inTempDir((dir) => {
    fuzz("--seed", "9", "--record", `${dir}/run`);
    forge(`${dir}/run`, (lines) => {
      lines[0] = lines[0].replace('"program":"fuzz"', '"program":"fifo_per_cpu_agent"');
    });
    const { status, stderr } = fuzz("--replay", `${dir}/run`);
    assertMatch(stderr, /is a recording of fifo_per_cpu_agent on sim; repeat it with that program/);
    assertEquals(status, 2);
  });
});

const BAD_ARGS: readonly [string[], RegExp][] = [
  [["--bogus"], /^fuzz: unknown flag --bogus; /],
  [["--seeds", "0"], /^fuzz: bad value "0" of --seeds; give a whole number from 1 to /],
  [["--seeds", "many"], /bad value "many" of --seeds/],
  [["--seed=-1"], /bad value "-1" of --seed; /],
  [["--policy", "cfs"], /unknown policy "cfs"; give one of: fifo_per_cpu, /],
  [["--abi", "70"], /unknown ABI version "70"; give one of: 69, 84, 90, 91/],
  [["--record="], /^fuzz: --record: /],
  [["--record", "no/such/folder/file"], /^fuzz: --record: cannot write no\/such\/folder\/file: /],
  [["--record", "file", "--seeds", "2"], /--record takes one run; add --seeds 1/],
  [["--replay", "no_such_file"], /^fuzz: cannot read no_such_file: /],
  [["--replay", "file", "--seed", "3"], /--replay and --seed exclude each other/],
];

for (const [args, message] of BAD_ARGS) {
  Deno.test(`fuzz ${args.join(" ")}: one line, exit status 2`, () => {
    const { status, stdout, stderr } = fuzz(...args);
    assertMatch(stderr, message);
    assertEquals(stderr.trimEnd().split("\n").length, 1);
    assertEquals([status, stdout], [2, ""]);
  });
}

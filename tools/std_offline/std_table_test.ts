// What the project needs of @std, held against whatever "@std/..." resolves to: the packages from
// JSR or the adapters beside this file. Both must pass every row. The checks themselves use plain
// comparisons, so that a broken assertEquals cannot hide its own fault.
import * as std from "@std/assert";
import { parseArgs } from "@std/cli";
import { parseArgs as parseArgsOfSubpath } from "@std/cli/parse-args";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";

type Row = [what: string, holds: boolean, check: () => unknown];

class Animal {
  constructor(readonly name: string) {}
}
class Plant {
  constructor(readonly name: string) {}
}
const loop_a: { self?: unknown } = {};
loop_a.self = loop_a;
const loop_b: { self?: unknown } = {};
loop_b.self = loop_b;
const throwRange = () => {
  throw new RangeError("cpu 9 is out of range");
};
const throwText = () => {
  throw "text";
};

/** Assertions of one value or two: the row tells whether the assertion holds. */
const ASSERTIONS: readonly Row[] = [
  ["assert true", true, () => std.assert(true)],
  ["assert non-empty text", true, () => std.assert("x")],
  ["assert 0", false, () => std.assert(0)],
  ["assertFalse 0", true, () => std.assertFalse(0)],
  ["assertFalse 1", false, () => std.assertFalse(1)],
  ["equal numbers", true, () => std.assertEquals(1, 1)],
  ["other numbers", false, () => std.assertEquals(1, 2)],
  ["number and text", false, () => std.assertEquals<unknown>(1, "1")],
  ["0 and -0 are equal", true, () => std.assertEquals(0, -0)],
  ["NaN equals itself", true, () => std.assertEquals(NaN, NaN)],
  ["bigints", true, () => std.assertEquals(5n, 5n)],
  ["null and undefined", false, () => std.assertEquals<unknown>(null, undefined)],
  ["nested structure", true, () => std.assertEquals({ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] })],
  ["nested difference", false, () => std.assertEquals({ a: [1, { b: 2 }] }, { a: [1, { b: 3 }] })],
  ["order of keys", true, () => std.assertEquals({ a: 1, b: 2 }, { b: 2, a: 1 })],
  ["missing key", false, () => std.assertEquals<unknown>({ a: 1, b: undefined }, { a: 1 })],
  ["key more", false, () => std.assertEquals<unknown>({ a: 1 }, { a: 1, b: 2 })],
  ["array longer", false, () => std.assertEquals([1], [1, 2])],
  ["array and object", false, () => std.assertEquals<unknown>([1], { 0: 1 })],
  ["classes differ", false, () => std.assertEquals<unknown>(new Animal("a"), new Plant("a"))],
  ["same class", true, () => std.assertEquals(new Animal("a"), new Animal("a"))],
  ["plain and null prototype", true, () => std.assertEquals({}, Object.create(null))],
  ["sets", true, () => std.assertEquals(new Set([1, 2]), new Set([2, 1]))],
  ["other sets", false, () => std.assertEquals(new Set([1, 2]), new Set([1, 3]))],
  ["sets of objects", true, () => std.assertEquals(new Set([{ a: 1 }]), new Set([{ a: 1 }]))],
  ["maps", true, () => std.assertEquals(new Map([["a", [1]]]), new Map([["a", [1]]]))],
  ["other maps", false, () => std.assertEquals(new Map([["a", 1]]), new Map([["a", 2]]))],
  ["a set more", false, () => std.assertEquals(new Set([1]), new Set([1, 2]))],
  ["a map entry more", false, () => std.assertEquals(new Map([[1, 2]]), new Map([[1, 2], [3, 4]]))],
  ["dates", true, () => std.assertEquals(new Date(5), new Date(5))],
  ["other dates", false, () => std.assertEquals(new Date(5), new Date(6))],
  ["regular expressions", false, () => std.assertEquals(/a/, /a/g)],
  ["typed arrays", true, () => std.assertEquals(Int32Array.of(1, 2), Int32Array.of(1, 2))],
  ["other typed arrays", false, () => std.assertEquals(Int32Array.of(1), Int32Array.of(2))],
  ["element types", false, () => std.assertEquals<unknown>(Int8Array.of(1), Uint8Array.of(1))],
  ["cycles", true, () => std.assertEquals(loop_a, loop_b)],
  [
    "symbol keys",
    false,
    () => std.assertEquals({ [Symbol.iterator]: 1 }, { [Symbol.iterator]: 2 }),
  ],
  ["errors from two places", false, () => std.assertEquals(new Error("a"), new Error("a"))],
  ["buffers", true, () => std.assertEquals(Uint8Array.of(1).buffer, Uint8Array.of(1).buffer)],
  ["not equal", true, () => std.assertNotEquals([1], [2])],
  ["not equal of equals", false, () => std.assertNotEquals([1], [1])],
  ["strict same", true, () => std.assertStrictEquals(loop_a, loop_a)],
  ["strict of copies", false, () => std.assertStrictEquals([1], [1])],
  ["strict 0 and -0", false, () => std.assertStrictEquals(0, -0)],
  ["strict NaN", true, () => std.assertStrictEquals(NaN, NaN)],
  ["not strict of copies", true, () => std.assertNotStrictEquals([1], [1])],
  ["not strict of the same", false, () => std.assertNotStrictEquals(loop_a, loop_a)],
  ["almost", true, () => std.assertAlmostEquals(1, 1.05, 0.1)],
  ["almost, at the limit", true, () => std.assertAlmostEquals(10, 12, 2)],
  ["not almost", false, () => std.assertAlmostEquals(1, 1.2, 0.1)],
  ["almost by default", true, () => std.assertAlmostEquals(0.1 + 0.2, 0.3)],
  ["not almost by default", false, () => std.assertAlmostEquals(0.3, 0.3001)],
  ["almost NaN", false, () => std.assertAlmostEquals(NaN, 1, 5)],
  ["greater", true, () => std.assertGreater(2, 1)],
  ["greater of equals", false, () => std.assertGreater(1, 1)],
  ["greater or equal", true, () => std.assertGreaterOrEqual(1, 1)],
  ["greater or equal of less", false, () => std.assertGreaterOrEqual(0, 1)],
  ["less", true, () => std.assertLess(1, 2)],
  ["less of equals", false, () => std.assertLess(1, 1)],
  ["less of NaN", false, () => std.assertLess(NaN, 1)],
  ["less or equal", true, () => std.assertLessOrEqual(1, 1)],
  ["less or equal of more", false, () => std.assertLessOrEqual(2, 1)],
  ["exists 0", true, () => std.assertExists(0)],
  ["exists null", false, () => std.assertExists(null)],
  ["exists undefined", false, () => std.assertExists(undefined)],
  ["includes", true, () => std.assertStringIncludes("abc", "b")],
  ["does not include", false, () => std.assertStringIncludes("abc", "d")],
  ["matches", true, () => std.assertMatch("abc", /^a/)],
  ["does not match", false, () => std.assertMatch("abc", /^b/)],
  ["not match", true, () => std.assertNotMatch("abc", /^b/)],
  ["not match of a match", false, () => std.assertNotMatch("abc", /^a/)],
  ["array includes", true, () => std.assertArrayIncludes([1, { a: 2 }, 3], [{ a: 2 }, 1])],
  ["array lacks", false, () => std.assertArrayIncludes([1, 2], [3])],
  ["instance", true, () => std.assertInstanceOf(new RangeError(), Error)],
  ["no instance", false, () => std.assertInstanceOf(new Error(), RangeError)],
  ["throws", true, () => std.assertThrows(throwRange)],
  ["throws the class", true, () => std.assertThrows(throwRange, RangeError, "cpu 9")],
  ["throws a subclass", true, () => std.assertThrows(throwRange, Error)],
  ["throws another class", false, () => std.assertThrows(throwRange, TypeError)],
  ["throws another message", false, () => std.assertThrows(throwRange, RangeError, "cpu 8")],
  ["throws no error", true, () => std.assertThrows(throwText)],
  ["throws no error of a class", false, () => std.assertThrows(throwText, Error)],
  ["does not throw", false, () => std.assertThrows(() => 1)],
  ["does not throw the class", false, () => std.assertThrows(() => 1, Error)],
  ["fail", false, () => std.fail("why")],
  ["unreachable", false, () => std.unreachable("why")],
];

const REJECTIONS: readonly Row[] = [
  ["rejects", true, () => std.assertRejects(() => Promise.reject(new TypeError("t")))],
  [
    "rejects with the class",
    true,
    () => std.assertRejects(() => Promise.reject(new TypeError("bad t")), TypeError, "bad"),
  ],
  [
    "rejects with another class",
    false,
    () => std.assertRejects(() => Promise.reject(new TypeError("t")), RangeError),
  ],
  [
    "rejects with another message",
    false,
    () => std.assertRejects(() => Promise.reject(new TypeError("t")), TypeError, "u"),
  ],
  ["does not reject", false, () => std.assertRejects(() => Promise.resolve(1))],
  ["throws instead", false, () => std.assertRejects(() => throwRange())],
];

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(`@std differs: ${what}`);
}

/** Runs a row; a failed assertion must be an AssertionError and nothing else. */
async function checkRow([what, holds, check]: Row): Promise<void> {
  let thrown: unknown;
  try {
    await check();
  } catch (error) {
    thrown = error;
  }
  if (holds) return must(thrown === undefined, `${what}: must hold, threw ${thrown}`);
  must(thrown instanceof std.AssertionError, `${what}: must fail, threw ${thrown}`);
  must((thrown as Error).name === "AssertionError", `${what}: name of the error`);
}

Deno.test("@std/assert: every assertion of the table holds or fails as it must", async () => {
  for (const row of ASSERTIONS) await checkRow(row);
});

Deno.test("@std/assert: every rejection of the table holds or fails as it must", async () => {
  for (const row of REJECTIONS) await checkRow(row);
});

Deno.test("@std/assert: assertThrows and assertRejects return what was thrown", async () => {
  const thrown: RangeError = std.assertThrows(throwRange, RangeError);
  must(thrown.message === "cpu 9 is out of range", "assertThrows returns the error");
  must(std.assertThrows(throwText) === "text", "assertThrows returns anything thrown");
  const reason: Error = await std.assertRejects(() => Promise.reject(new Error("r")), Error);
  must(reason.message === "r", "assertRejects returns the reason");
});

Deno.test("@std/assert: a message of the caller is part of the error", () => {
  for (
    const check of [
      () => std.assert(false, "the cause"),
      () => std.assertEquals(1, 2, "the cause"),
      () => std.assertStrictEquals(1, 2, "the cause"),
      () => std.assertThrows(() => 1, "the cause"),
      () => std.assertThrows(() => 1, Error, "", "the cause"),
      () => std.assertGreater(1, 2, "the cause"),
      () => std.assertExists(null, "the cause"),
      () => std.fail("the cause"),
    ]
  ) {
    const message = std.assertThrows(check, std.AssertionError).message;
    must(message.includes("the cause"), `message "${message}" of ${check}`);
  }
});

Deno.test("@std/assert: assertions narrow types", () => {
  const value: unknown = new RangeError("x");
  std.assertInstanceOf(value, RangeError);
  const message: string = value.message;
  const maybe: string | undefined = [message].at(0);
  std.assertExists(maybe);
  must(maybe.length === 1, "narrowed");
  const other: string | number = message as string | number;
  std.assert(typeof other === "string");
  must(other.length === 1, "narrowed by assert");
});

type Options = Parameters<typeof parseArgs>[1];
type ParseRow = [what: string, args: string, options: Options, expected: Record<string, unknown>];

/** Arguments are separated by one blank. */
const PARSES: readonly ParseRow[] = [
  ["no argument", "", {}, { _: [] }],
  ["flag alone", "--a", {}, { a: true, _: [] }],
  ["flag and value", "--a b", {}, { a: "b", _: [] }],
  ["flag=value", "--a=b", {}, { a: "b", _: [] }],
  ["= in a value", "--a=b=c", { string: "a" }, { a: "b=c", _: [] }],
  ["numbers convert", "--a 5 --b=0x10 -7", {}, { a: 5, b: 16, 7: true, _: [] }],
  ["strings stay", "--a 5", { string: ["a"] }, { a: "5", _: [] }],
  ["string flag without value", "--a", { string: ["a"] }, { a: "", _: [] }],
  ["string flag before a flag", "--a --b", { string: ["a"] }, { a: "", b: true, _: [] }],
  ["a CPU list is text", "--cpus 0-1,3", { string: ["cpus"] }, { cpus: "0-1,3", _: [] }],
  ["last value wins", "--a 1 --a 2", {}, { a: 2, _: [] }],
  ["positionals", "x --a=1 7", {}, { a: 1, _: ["x", 7] }],
  ["positionals as text", "x 7", { string: ["_"] }, { _: ["x", "7"] }],
  ["boolean takes no value", "--a b", { boolean: ["a"] }, { a: true, _: ["b"] }],
  ["boolean is false by default", "", { boolean: ["a"] }, { a: false, _: [] }],
  ["boolean=false", "--a=false", { boolean: ["a"] }, { a: false, _: [] }],
  ["boolean false", "--a false", { boolean: ["a"] }, { a: false, _: [] }],
  ["boolean=anything", "--a=no", { boolean: ["a"] }, { a: true, _: [] }],
  ["default", "", { default: { a: "d" } }, { a: "d", _: [] }],
  ["default is overridden", "--a e", { default: { a: "d" } }, { a: "e", _: [] }],
  ["boolean default", "", { boolean: ["a"], default: { a: true } }, { a: true, _: [] }],
  ["alias", "-a 1", { alias: { a: "all" } }, { a: 1, all: 1, _: [] }],
  ["alias both ways", "--all 1", { alias: { a: "all" } }, { a: 1, all: 1, _: [] }],
  ["aliases", "-h", { boolean: ["help"], alias: { help: ["h", "?"] } }, {
    help: true,
    h: true,
    "?": true,
    _: [],
  }],
  ["alias keeps the type", "-s 5", { string: ["seed"], alias: { seed: "s" } }, {
    seed: "5",
    s: "5",
    _: [],
  }],
  ["default of an alias", "", { default: { seed: 1 }, alias: { seed: "s" } }, {
    seed: 1,
    s: 1,
    _: [],
  }],
  ["collect", "--a x --a y", { collect: ["a"] }, { a: ["x", "y"], _: [] }],
  ["collect one", "--a x", { string: ["a"], collect: ["a"] }, { a: ["x"], _: [] }],
  ["collect none", "", { string: ["a"], collect: ["a"] }, { a: [], _: [] }],
  ["negatable", "--no-a", { boolean: ["a"], negatable: ["a"] }, { a: false, _: [] }],
  ["negatable over a default", "--no-a", {
    boolean: ["a"],
    negatable: ["a"],
    default: { a: true },
  }, { a: false, _: [] }],
  ["not negatable", "--no-a", { boolean: ["a"] }, { a: false, "no-a": true, _: [] }],
  ["grouped letters", "-abc", {}, { a: true, b: true, c: true, _: [] }],
  ["letter with number", "-n5", {}, { n: 5, _: [] }],
  ["letter=value", "-n=x", {}, { n: "x", _: [] }],
  ["letter and value", "-n x", {}, { n: "x", _: [] }],
  ["a dash is positional", "-", {}, { _: ["-"] }],
  ["-- ends flags", "--a -- --b", {}, { a: true, _: ["--b"] }],
  ["-- apart", "x -- --b c", { "--": true }, { _: ["x"], "--": ["--b", "c"] }],
  ["-- apart, none", "x", { "--": true }, { _: ["x"], "--": [] }],
  ["stopEarly", "--a=1 run --b", { stopEarly: true }, { a: 1, _: ["run", "--b"] }],
  ["empty value", "--a=", { string: ["a"] }, { a: "", _: [] }],
  ["empty value of a letter", "-a= x", { string: ["a"] }, { a: "", _: ["x"] }],
  ["dash as the value of a letter", "-a-", {}, { a: "-", _: [] }],
  // A value that starts with "-" needs the form with "=".
  ["negative value", "--a -5", { string: ["a"] }, { a: "", 5: true, _: [] }],
  ["negative value with =", "--a=-5", {}, { a: -5, _: [] }],
];

Deno.test("@std/cli: every command line of the table parses as it must", () => {
  for (const [what, line, options, expected] of PARSES) {
    const actual = parseArgs(line === "" ? [] : line.split(" "), options);
    std.assertEquals<unknown>({ ...actual }, expected, what);
  }
  must(parseArgs === parseArgsOfSubpath, "@std/cli/parse-args is the same function");
});

Deno.test("@std/cli: unknown is called with argument, name and value, and may drop it", () => {
  const calls: unknown[][] = [];
  const args = parseArgs(["--known", "1", "--bad=2", "file", "--worse", "-x"], {
    string: ["known"],
    unknown: (...call: unknown[]) => {
      calls.push(call);
      return false;
    },
  });
  std.assertEquals<unknown>({ ...args }, { known: "1", _: [] });
  std.assertEquals(calls.slice(0, 2), [["--bad=2", "bad", "2"], ["file"]]);
  std.assertEquals(calls.slice(2), [["--worse", "worse", true], ["-x", "x", true]]);
  const kept = parseArgs(["--bad", "file"], { unknown: () => true });
  std.assertEquals<unknown>({ ...kept }, { bad: "file", _: [] });
});

Deno.test("@std/cli: flags have types", () => {
  const args = parseArgs(["--cpus", "0-1", "--verbose", "--flag", "x"], {
    string: ["cpus", "kernel", "flag"],
    boolean: ["verbose"],
    collect: ["flag"],
    default: { kernel: "auto" },
    "--": true,
  });
  const cpus: string | undefined = args.cpus;
  const kernel: string = args.kernel;
  const verbose: boolean = args.verbose;
  const flags: string[] = args.flag;
  const rest: string[] = args["--"];
  const positionals: Array<string | number> = args._;
  std.assertEquals<unknown>([cpus, kernel, verbose, flags], ["0-1", "auto", true, ["x"]]);
  std.assertEquals<unknown>([rest, positionals], [[], []]);
});

describe("@std/testing/bdd", () => {
  const log: string[] = [];
  beforeEach(() => {
    log.push("before");
  });
  afterEach(() => {
    log.push("after");
  });
  it("runs beforeEach before the first case", () => {
    std.assertEquals(log, ["before"]);
  });
  it("runs afterEach between cases, and awaits", async () => {
    await Promise.resolve();
    std.assertEquals(log, ["before", "after", "before"]);
  });
});

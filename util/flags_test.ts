import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { UsageError } from "../lib/errors.ts";
import { type Flag, flagsHelp, type FlagValues, parseFlags } from "./flags.ts";

const FLAGS: readonly Flag[] = [
  { name: "ghost_cpus", value: "LIST", fallback: "1-5", help: "CPUs to schedule" },
  { name: "trace", value: "FILE", help: "write a trace" },
  { name: "help", help: "print this" },
];

function values(...args: string[]): FlagValues {
  const result = parseFlags(FLAGS, args, "agent");
  if (result instanceof UsageError) throw result;
  return result;
}

function fault(...args: string[]): string {
  const result = parseFlags(FLAGS, args, "agent");
  assertInstanceOf(result, UsageError);
  assertEquals(result.exit_status, 2);
  return result.message;
}

Deno.test("a flag's value comes after a blank or an equals sign", () => {
  assertEquals(values("--ghost_cpus", "0-1").text("ghost_cpus"), "0-1");
  assertEquals(values("--ghost_cpus=0-1").text("ghost_cpus"), "0-1");
});

Deno.test("a value stays a text, whatever it looks like", () => {
  assertEquals(values("--trace=007").text("trace"), "007");
  assertEquals(values("--trace", "1e3").text("trace"), "1e3");
});

Deno.test("a flag that is not given has its fallback, or is not there", () => {
  assertEquals(values().text("ghost_cpus"), "1-5");
  assertEquals([values().has("trace"), values().has("help")], [false, false]);
  assertEquals(values("--help").has("help"), true);
});

Deno.test("a flag without its value has an empty one, not the fallback", () => {
  assertEquals(values("--ghost_cpus").text("ghost_cpus"), "");
  assertEquals(values("--ghost_cpus", "--help").text("ghost_cpus"), "");
});

Deno.test("an empty value and a negative number are values, not arguments of their own", () => {
  assertEquals(values("--ghost_cpus", "").text("ghost_cpus"), "");
  assertEquals(values("--ghost_cpus", "", "--help").has("help"), true);
  assertEquals(values("--ghost_cpus", "-1").text("ghost_cpus"), "-1");
  assertStringIncludes(fault("--help", "-1"), "unknown flag -1");
  assertStringIncludes(fault("--help", ""), 'unexpected argument ""');
});

Deno.test("of a flag that is given twice the last one counts", () => {
  assertEquals(values("--ghost_cpus=1", "--ghost_cpus=2").text("ghost_cpus"), "2");
});

Deno.test("an unknown flag is named without its value, and the help too", () => {
  assertEquals(
    fault("--ghost_cpu=0-1"),
    "unknown flag --ghost_cpu; `agent --help` lists the flags",
  );
  assertStringIncludes(fault("--help", "-x"), "unknown flag -x");
});

Deno.test("an argument that is no flag is refused, also behind --", () => {
  assertStringIncludes(fault("run"), "unexpected argument run");
  assertStringIncludes(fault("--", "run"), "unexpected argument run");
});

Deno.test("whole numbers are read strictly and within their bounds", () => {
  const integer = (text: string) => values(`--trace=${text}`).integer("trace", 1, 512);
  assertEquals(["1", "16", "512"].map(integer), [1, 16, 512]);
  for (const text of ["0", "513", "-1", "1.5", "0x10", "1e2", "", " 1", "99999999999999999999"]) {
    const result = integer(text);
    assertInstanceOf(result, UsageError, text);
    assertStringIncludes(result.message, "--trace; give a whole number from 1 to 512");
  }
});

Deno.test("the help has a line per flag, with its value and fallback", () => {
  assertEquals(
    flagsHelp(FLAGS),
    "  --ghost_cpus LIST  CPUs to schedule (default 1-5)\n" +
      "  --trace FILE       write a trace\n" +
      "  --help             print this\n",
  );
});

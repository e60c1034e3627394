import { assert, assertEquals } from "@std/assert";
import { UsageError } from "../lib/errors.ts";
import { parseFlags } from "./flags.ts";
import { GLOBAL_ROLE_FLAGS, globalRole } from "./global_agent_flags.ts";

const CPUS = [1, 2, 3, 5];

function role(cpus: readonly number[], ...args: string[]) {
  const flags = parseFlags(GLOBAL_ROLE_FLAGS, args, "agent");
  assert(!(flags instanceof UsageError));
  return globalRole(flags, cpus);
}

Deno.test("the first CPU is the global one, and all may become it, unless flags say else", () => {
  assertEquals(role(CPUS), { global_cpu: 1, role_cpus: undefined });
  assertEquals(role(CPUS, "--globalcpu=3"), { global_cpu: 3, role_cpus: undefined });
  assertEquals(role(CPUS, "--globalcpu=3", "--role_cpus=5,2-3"), {
    global_cpu: 3,
    role_cpus: [2, 3, 5],
  });
});

Deno.test("CPUs that are not scheduled, and too few of them, are refused in one line", () => {
  const refused: readonly (readonly [words: RegExp, cpus: readonly number[], ...args: string[]])[] =
    [
      [/--ghost_cpus: a global agent needs/, [4]],
      [/--globalcpu: "4" is none .*give one of 1, 2, 3, 5/, CPUS, "--globalcpu=4"],
      [/--role_cpus: CPU 4 is none/, CPUS, "--role_cpus=1-5"],
      [/--role_cpus: the global CPU 1 is not among them/, CPUS, "--role_cpus=2"],
      [/--role_cpus: .*"x"/, CPUS, "--role_cpus=x"],
    ];
  for (const [words, cpus, ...args] of refused) {
    const error = role(cpus, ...args);
    assert(error instanceof UsageError, String(words));
    assert(words.test(error.message), error.message);
    assertEquals([error.exit_status, error.message.split("\n").length], [2, 1]);
  }
});

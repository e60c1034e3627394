import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { CC_FLAGS, runCc } from "./build.ts";
import * as errno from "./errno.ts";
import { check, cureOf, CURES, ShimError, SystemError } from "./errors.ts";

Deno.test("every errno name has the number that errno.h gives it", () => {
  const names = Array.from({ length: errno.MAX_ERRNO }, (_, index) => errno.errnoName(index + 1))
    .filter((name) => !name.startsWith("errno "));
  assertEquals(names.length, 131);
  const directory = Deno.makeTempDirSync({ prefix: "errno_test_" });
  try {
    const prints = names.map((name) => `printf("${name} %d\\n", ${name});`);
    const source = `#include <errno.h>\n#include <stdio.h>\nint main(void) {${prints.join("\n")}}`;
    Deno.writeTextFileSync(`${directory}/errno.c`, source);
    runCc([...CC_FLAGS, "-o", `${directory}/errno`, `${directory}/errno.c`]);
    const output = new Deno.Command(`${directory}/errno`).outputSync();
    const lines = new TextDecoder().decode(output.stdout).trim().split("\n");
    assertEquals(lines, names.map((name) => `${name} ${errno.errnoNumber(name)}`));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("the exported errno constants are the table's numbers", () => {
  const constants = Object.entries(errno).filter(([name]) => /^E[A-Z]+$/.test(name));
  assert(constants.length > 15);
  for (const [name, value] of constants) assertEquals(errno.errnoName(value as number), name);
});

Deno.test("a number that is no errno has a name that says so", () => {
  assertEquals(errno.errnoName(41), "errno 41");
  assertEquals(errno.errnoName(9999), "errno 9999");
  assertEquals(errno.errnoNumber("EFOO"), -1);
  assertEquals(errno.errnoNumber("-"), -1);
});

Deno.test("check passes results through and throws for -errno", () => {
  assertEquals(check("read", 0), 0);
  assertEquals(check("mmap", 2 ** 47), 2 ** 47);
  const error = assertThrows(() => check("openat", -2, "/nowhere"), SystemError) as SystemError;
  assertEquals(
    [error.name, error.call, error.errno, error.errno_name],
    ["SystemError", "openat", 2, "ENOENT"],
  );
  assert(error instanceof Error);
});

Deno.test("the message is one line with call, subject, errno and cure", () => {
  const { message, cure } = new SystemError("sched_setscheduler", 1, "SCHED_FIFO");
  assertStringIncludes(message, "sched_setscheduler(SCHED_FIFO) failed with EPERM (1): ");
  assertStringIncludes(message, cure);
  assertStringIncludes(cure, "setcap cap_sys_nice+ep");
  assertEquals(message.includes("\n"), false);
});

Deno.test("a cure is looked up by call, then by errno, and never missing", () => {
  assertStringIncludes(cureOf("mlock", errno.ENOMEM), "ulimit -l");
  assertStringIncludes(cureOf("mmap", errno.ENOMEM), "ulimit -v");
  assertEquals(cureOf("rename", errno.EPERM), CURES["* EPERM"]);
  for (let number = 1; number <= errno.MAX_ERRNO + 1; number++) {
    assertMatch(cureOf("rename", number), /\S{3}/);
  }
  assertStringIncludes(cureOf("rename", errno.errnoNumber("EXDEV")), "errno 18");
});

Deno.test("every key of the cure table is a call and an existing errno name", () => {
  for (const [key, cure] of Object.entries(CURES)) {
    const [call, name, ...rest] = key.split(" ");
    assertMatch(call, /^(\*|[a-z_]+)$/);
    assert(errno.errnoNumber(name) > 0, `${key}: no such errno`);
    assertEquals(rest, []);
    assert(!cure.includes("\n") && !cure.endsWith("."), key);
  }
});

Deno.test("a shim error names what is wrong and the cure", () => {
  const error = new ShimError("no library", "build it");
  assertEquals([error.name, error.message, error.cure], [
    "ShimError",
    "no library: build it",
    "build it",
  ]);
});

import { assertEquals } from "@std/assert";
import { rootPath } from "./std_source.ts";

/** Plays the steps of .ci/run: each variable holds what the step prints or its exit status. */
const FAKE_NPX = `#!/bin/sh
case "$*" in
  *"task test:vm"*) [ "$FAILING_STEP" != test:vm ]; exit ;;
  *"task test"*) echo "$TEST_OUTPUT"; exit "$TEST_STATUS" ;;
  *"task $FAILING_STEP"*) exit 1 ;;
esac
`;

interface Steps {
  test_output: string;
  test_status?: number;
  failing_step?: string;
}

/** Runs .ci/run with a fake npx; returns its last line and its exit status. */
async function runCi(
  { test_output, test_status = 0, failing_step = "none" }: Steps,
): Promise<[last_line: string | undefined, code: number]> {
  const bin = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${bin}/npx`, FAKE_NPX, { mode: 0o755 });
    await Deno.writeTextFile(`${bin}/cc`, "#!/bin/sh\n", { mode: 0o755 });
    const { code, stdout } = await new Deno.Command("bash", {
      args: [`${rootPath()}/.ci/run`],
      env: {
        PATH: `${bin}:${Deno.env.get("PATH")}`,
        TEST_OUTPUT: test_output,
        TEST_STATUS: `${test_status}`,
        FAILING_STEP: failing_step,
      },
      stdin: "null",
      stderr: "null",
    }).output();
    return [new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1), code];
  } finally {
    await Deno.remove(bin, { recursive: true });
  }
}

const GOOD = "x ... ok\n\nok | 16 passed (3 steps) | 0 failed | 1 ignored (1s)\n";

Deno.test("ci: tests and the five other steps are added up in the last line", async () => {
  assertEquals(await runCi({ test_output: GOOD }), ["21 passed, 0 failed", 0]);
});

Deno.test("ci: a failed test fails the run", async () => {
  const test_output = "FAILED | 15 passed | 2 failed (1s)";
  assertEquals(await runCi({ test_output, test_status: 1 }), ["20 passed, 2 failed", 1]);
});

Deno.test("ci: a test run that breaks off without a count fails the run", async () => {
  const broken = { test_output: "error: Module not found", test_status: 1 };
  assertEquals(await runCi(broken), ["5 passed, 1 failed", 1]);
  assertEquals(await runCi({ test_output: GOOD, test_status: 1 }), ["21 passed, 1 failed", 1]);
});

Deno.test("ci: a test run without tests fails the run", async () => {
  const test_output = "ok | 0 passed | 0 failed (1ms)";
  assertEquals(await runCi({ test_output }), ["5 passed, 1 failed", 1]);
});

Deno.test("ci: each other step that fails is counted and fails the run", async () => {
  for (const failing_step of ["check", "compile", "fuzz --seeds 200", "demo", "test:vm"]) {
    const result = await runCi({ test_output: GOOD, failing_step });
    assertEquals(result, ["20 passed, 1 failed", 1], failing_step);
  }
});

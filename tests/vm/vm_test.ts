import { assert, assertEquals, assertRejects } from "@std/assert";
import { OperatingError } from "../../lib/errors.ts";
import type { JobResult } from "./guest.ts";
import { qemuArgs, runVm, virtiofsdArgs, type VmOptions, type VmResults } from "./vm.ts";

/** A daemon that makes its socket and stays. */
const DAEMON = `for arg in "$@"; do
  case $arg in --socket-path=*) : > "\${arg#--socket-path=}" ;; esac
done
exec sleep 60
`;

/** Runs a "machine" whose QEMU is a shell script; $OUT is the run's folder. */
async function runFake(
  qemu: string,
  more: Partial<VmOptions> = {},
  daemon = DAEMON,
): Promise<{ results: VmResults; seen: JobResult[]; serial: string }> {
  const folder = await Deno.makeTempDir({ prefix: "vm_test_" });
  const out = `${folder}/out`;
  const seen: JobResult[] = [];
  try {
    await Deno.mkdir(out);
    const head = `#!/bin/sh\nOUT=${out}\n`;
    await Deno.writeTextFile(`${folder}/qemu`, head + qemu, { mode: 0o755 });
    await Deno.writeTextFile(`${folder}/daemon`, head + daemon, { mode: 0o755 });
    const results = await runVm({
      jobs: [
        { name: "one", script: "true", timeout_s: 5 },
        { name: "two", script: "true", timeout_s: 5 },
      ],
      cpus: 2,
      memory_mib: 512,
      timeout_s: 20,
      tools: {
        qemu: `${folder}/qemu`,
        virtiofsd: `${folder}/daemon`,
        env: {},
        firmware: [],
        kernel_image: "vmlinuz",
        initramfs: "initramfs",
      },
      out,
      cwd: "/",
      on_result: (result) => seen.push(result),
      ...more,
    });
    return { results, seen, serial: await Deno.readTextFile(`${out}/serial.log`) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("vm: results are handed out as they come, with what the jobs wrote", async () => {
  let up_ms = -1;
  const { results, seen, serial } = await runFake(
    `echo "[ 0.0] Linux"; echo "@vm up"
for job in one two; do
  echo "@vm start $job"; echo "out of $job" > $OUT/$job/stdout; echo "@vm end $job 0"
done
echo "@vm done"
`,
    { on_up: (elapsed_ms) => up_ms = elapsed_ms },
  );
  assertEquals(results.fault, undefined);
  assertEquals(results.kernel_faults, []);
  assertEquals(results.jobs.map(({ name, status }) => [name, status]), [["one", 0], ["two", 0]]);
  assertEquals(seen.map(({ stdout }) => stdout), ["out of one\n", "out of two\n"]);
  assert(up_ms >= 0);
  assert(serial.startsWith("[ 0.0] Linux\n@vm up\n"));
});

Deno.test("vm: the jobs' scripts are in the run's folder before the machine starts", async () => {
  const { results } = await runFake(
    '[ -f "$OUT/one/script.sh" ] && [ -f "$OUT/runner.sh" ] && ' +
      'echo "@vm done"',
  );
  assertEquals(results.fault, undefined);
});

Deno.test("vm: a guest that dies leaves its job and the next without a status", async () => {
  const { results } = await runFake(`echo "@vm up"; echo "@vm start one"
echo half > $OUT/one/stdout
echo "[ 9.0] BUG: unable to handle page fault"; exit 0
`);
  assertEquals(results.jobs.map(({ status }) => status), [undefined, undefined]);
  assertEquals(results.jobs[0].stdout, "half\n");
  assertEquals(results.fault, "the guest ended before its jobs did");
  assertEquals(results.kernel_faults, ["[ 9.0] BUG: unable to handle page fault"]);
});

Deno.test("vm: a machine that hangs is ended after its time", async () => {
  const { results } = await runFake('echo "@vm up"; exec sleep 60', { timeout_s: 1 });
  assertEquals(results.fault, "the guest took more than 1 s");
});

Deno.test("vm: what the init cannot do is the fault", async () => {
  const { results } = await runFake('echo "@vm fail the kernel has no virtiofs built in"');
  assertEquals(results.fault, "the kernel has no virtiofs built in");
});

Deno.test("vm: a machine that does not start says what QEMU said", async () => {
  const { results } = await runFake('echo "qemu: no such accelerator" >&2; exit 1');
  assert(results.fault?.includes("qemu: no such accelerator"));
});

Deno.test("vm: a QEMU that crashes before the guest is up is started once more, and not again", async () => {
  const said: string[] = [];
  const on_crash = (text: string) => void said.push(text);
  const crash = "echo 'qemu: Assertion failed' >&2; kill -ABRT $$\n";
  const once = `if [ -f $OUT/again ]; then echo "@vm done"; exit 0; fi\n: > $OUT/again\n${crash}`;
  const { results } = await runFake(once, { on_crash });
  assertEquals([results.fault, ...said], [undefined, "qemu: Assertion failed"]);
  const error = await assertRejects(() => runFake(crash, { on_crash }), OperatingError);
  assert(error.message.includes("qemu: Assertion failed"), error.message);
  assertEquals(said.length, 2);
  // What has begun to run is not run again.
  const { results: late } = await runFake(`echo "@vm up"; ${crash}`, { on_crash });
  assertEquals([late.fault, said.length], ["the guest ended before its jobs did", 2]);
});

Deno.test("vm: a warning in the kernel's log is found though all jobs passed", async () => {
  const { results } = await runFake(
    'echo "[ 5.0] WARNING: CPU: 0 PID: 1" > $OUT/dmesg; echo "@vm done"',
  );
  assertEquals(results.fault, undefined);
  assertEquals(results.kernel_faults.length, 1);
});

Deno.test("vm: a daemon that ends at once is an error that names the reason", async () => {
  const error = await assertRejects(
    () => runFake("exit 0", {}, "echo 'chroot: not permitted' >&2; exit 1\n"),
    OperatingError,
  );
  assert(error.message.includes("chroot: not permitted"));
});

Deno.test("vm: an abort ends the machine", async () => {
  const abort = new AbortController();
  const start_ms = performance.now();
  await assertRejects(() =>
    runFake('echo "@vm up"; exec sleep 60', {
      signal: abort.signal,
      on_up: () => abort.abort(),
    })
  );
  assert(performance.now() - start_ms < 15_000);
});

Deno.test("vm: the user's kernel takes the place of Debian's", () => {
  const options = {
    jobs: [],
    cpus: 3,
    memory_mib: 1024,
    timeout_s: 1,
    out: "/o",
    cwd: "/",
    kernel_image: "/my/bzImage",
    tools: {
      qemu: "q",
      virtiofsd: "v",
      env: {},
      firmware: ["/f"],
      kernel_image: "/debian",
      initramfs: "/i",
    },
  };
  const line = qemuArgs(options, "/s").join(" ");
  assert(line.includes("-kernel /my/bzImage -initrd /i"));
  assert(line.includes("-smp 3 -m 1024M"));
  assert(line.includes("tcg,thread=multi"));
  assert(!line.includes("/debian"));
  assert(!line.includes("-icount"));
  const counted = qemuArgs({ ...options, is_icount: true }, "/s").join(" ");
  assert(counted.includes("-accel tcg,thread=single"));
  assert(counted.includes("-icount shift=0,sleep=off"));
});

Deno.test("vm: the daemon gets its socket and folder", () => {
  const args = virtiofsdArgs("/s/host", "/", "always");
  assert(args.includes("--socket-path=/s/host"));
  assert(args.includes("source=/") && args.includes("cache=always"));
});

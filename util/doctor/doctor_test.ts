import { assert, assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { SCX_KERNEL_FUNCTIONS } from "../../kernels/scx/scx_faults.ts";
import { UsageError } from "../../lib/errors.ts";
import type { KeptExit } from "../guard/last_exit.ts";
import type { Check, Report } from "./check.ts";
import { driverNotes, examine, main } from "./main.ts";
import { reportJson, reportText } from "./report.ts";
import * as hosts from "./test_hosts.ts";

const { ALL_CAPABILITIES, DOCKER_CAPABILITIES, GHOST_69, hostOf, SCHED_EXT, STOCK } = hosts;

function reportOf(files: hosts.Files, changes: hosts.Files = {}, ghost_cpus = "0-1"): Report {
  const report = examine(hostOf(files, changes), ghost_cpus);
  assert(!(report instanceof UsageError), "usage error");
  return report;
}

function checkOf(name: string, report: Report): Check {
  const found = report.checks.find((check) => check.name === name);
  assert(found !== undefined, `no check ${name}`);
  return found;
}

/** Names of the checks with a status. */
function namesOf(status: Check["status"], report: Report): string[] {
  return report.checks.filter((check) => check.status === status).map(({ name }) => name);
}

function readyOf({ verdicts }: Report): string[] {
  return verdicts.filter(({ is_ready }) => is_ready).map(({ kernel }) => kernel);
}

Deno.test("a stock host is ready for no real kernel, and each is told what it lacks", () => {
  const report = reportOf(STOCK);
  assertEquals(namesOf("fail", report), ["ghostfs", "sched_ext"]);
  assertEquals(namesOf("warn", report), []);
  assertEquals(readyOf(report), []);
  const text = reportText(report, []);
  assertStringIncludes(text, "No real kernel is ready here: ghost (ghostfs), scx (sched_ext)");
  assertStringIncludes(text, "--kernel=sim");
  assertStringIncludes(text, "\nghostfs: boot a kernel with ghOSt");
  assertStringIncludes(text, "\nsched_ext: boot a kernel with CONFIG_SCHED_CLASS_EXT=y");
});

Deno.test("a ghOSt host of ABI 69 is ready, and what only sched_ext needs is no failure", () => {
  const report = reportOf(GHOST_69);
  assertEquals(readyOf(report), ["ghost"]);
  assertEquals([...namesOf("fail", report), ...namesOf("warn", report)], []);
  const { found } = checkOf("ghostfs", report);
  assertEquals(found, "kernel speaks ABI 69; agents use 69");
  assertEquals([checkOf("sched_ext", report).status, checkOf("btf", report).status], [
    "info",
    "info",
  ]);
  assertStringIncludes(reportText(report, []), "ready for agents on: ghost\n");
});

Deno.test("of several ABI versions the newest common one is named", () => {
  const report = reportOf(GHOST_69, { "/sys/fs/ghost/version": "84\n90\n99\n" });
  assertEquals(
    checkOf("ghostfs", report).found,
    "kernel speaks ABI 84, 90, 99; agents use 90",
  );
});

Deno.test("a ghOSt of foreign ABI versions fails and says which versions each side speaks", () => {
  const report = reportOf(GHOST_69, { "/sys/fs/ghost/version": "83\n" });
  assertEquals(readyOf(report), []);
  const { found, cure, blocks } = checkOf("ghostfs", report);
  assertEquals(found, "ghOSt of ABI 83 only, and this agent speaks 69, 84, 90, 91");
  assertStringIncludes(cure, "69, 84, 90, 91");
  assertEquals(blocks, ["ghost"]);
});

Deno.test("ghostfs that is not mounted is cured by mounting it", () => {
  const report = reportOf(GHOST_69, { "/sys/fs/ghost/version": undefined });
  assertEquals(readyOf(report), []);
  assertStringIncludes(checkOf("ghostfs", report).cure, "mount -t ghost ghost /sys/fs/ghost");
});

Deno.test("a sched_ext host is ready for scx alone", () => {
  const report = reportOf(SCHED_EXT);
  assertEquals(readyOf(report), ["scx"]);
  assertEquals(checkOf("ghostfs", report).status, "info");
  assertEquals(checkOf("btf", report).found, "there, with sched_ext");
});

Deno.test("another sched_ext scheduler is in the way, and told by name", () => {
  const report = reportOf(SCHED_EXT, {
    "/sys/kernel/sched_ext/state": "enabled\n",
    "/sys/kernel/sched_ext/root/ops": "lavd_1.0\n",
  });
  assertEquals(readyOf(report), []);
  const { status, found } = checkOf("sched_ext", report);
  assertEquals([status, found], ["fail", "taken by scheduler lavd_1.0 (enabled)"]);
});

Deno.test("BTF without a function that the scx program calls blocks scx, and names it", () => {
  const path = "/sys/kernel/btf/vmlinux";
  const bare = reportOf(SCHED_EXT, { [path]: hosts.btf() });
  assertEquals([checkOf("btf", bare).status, readyOf(bare).length], ["fail", 0]);
  assertStringIncludes(checkOf("btf", bare).found, "lacks sched_ext_ops, bpf_task_from_pid, ");
  // As Debian's 6.18.15 was seen to be: sched_ext is there and free, and the program does not load.
  const older_names = SCX_KERNEL_FUNCTIONS.filter((name) => !name.endsWith("___v2"));
  const older = reportOf(SCHED_EXT, {
    [path]: hosts.btf("sched_ext_ops", ...older_names),
    "/proc/sys/kernel/osrelease": "6.18.15+deb13-cloud-amd64\n",
  });
  assertEquals(readyOf(older), []);
  assertEquals(
    checkOf("btf", older).found,
    "lacks scx_bpf_dsq_insert___v2, scx_bpf_dsq_move_to_local___v2, which the scx program needs",
  );
  const none = reportOf(SCHED_EXT, { [path]: undefined });
  assertStringIncludes(checkOf("btf", none).cure, "CONFIG_DEBUG_INFO_BTF=y");
});

Deno.test("BTF with all functions under one name only, as old pahole makes it, blocks scx since 7.2", () => {
  const names = hosts.btf("sched_ext_ops", ...SCX_KERNEL_FUNCTIONS);
  const of = (release: string): Report =>
    reportOf(SCHED_EXT, {
      "/sys/kernel/btf/vmlinux": names,
      "/proc/sys/kernel/osrelease": `${release}\n`,
    });
  assertEquals(readyOf(of("7.2.12+deb13-cloud-amd64")), []);
  const { found, cure } = checkOf("btf", of("7.2.12"));
  assertStringIncludes(found, "lacks scx_bpf_kick_cpu_impl");
  assertStringIncludes(cure, "pahole");
  assertEquals(readyOf(of("7.1.3")), ["scx"]);
});

Deno.test("PREEMPT_RT keeps agents from scx alone, from either file that tells it", () => {
  // As Debian's 7.3.4 rt kernel says it; it has no /sys/kernel/realtime.
  const version = {
    "/proc/version": "Linux version 7.3.4+deb13-rt-amd64 (gcc 14.2.0) #1 SMP PREEMPT_RT Debian\n",
  };
  for (const changes of [version, { "/sys/kernel/realtime": "1\n" }]) {
    const report = reportOf(SCHED_EXT, changes);
    assertEquals(report.verdicts[1].blocked_by, ["preempt_rt"]);
    assertStringIncludes(checkOf("preempt_rt", report).found, "refuse BPF timers");
    assertEquals(readyOf(reportOf(GHOST_69, changes)), ["ghost"]);
  }
  const dynamic = { "/proc/version": "Linux version 7.3.4 #1 SMP PREEMPT_DYNAMIC\n" };
  assertEquals(readyOf(reportOf(SCHED_EXT, dynamic)), ["scx"]);
});

Deno.test("in a container without capabilities every missing one is told with its cure", () => {
  const status = { "/proc/self/status": hosts.processStatus(DOCKER_CAPABILITIES) };
  const scx = reportOf(SCHED_EXT, status);
  assertEquals(scx.verdicts[1].blocked_by, ["CAP_SYS_NICE", "CAP_BPF", "CAP_PERFMON"]);
  assertEquals(namesOf("warn", scx), ["CAP_IPC_LOCK", "CAP_SYS_RESOURCE", "memlock"]);
  assertStringIncludes(checkOf("CAP_SYS_NICE", scx).cure, "--cap-add=SYS_NICE");
  assertStringIncludes(
    reportText(scx, []),
    "\nCAP_SYS_NICE, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK, CAP_SYS_RESOURCE: run as root, or " +
      "`setcap cap_sys_nice,cap_bpf,cap_perfmon,cap_ipc_lock,cap_sys_resource+ep FILE`;",
  );
  const ghost = reportOf(GHOST_69, status);
  assertEquals(ghost.verdicts[0].blocked_by, ["CAP_SYS_NICE"]);
});

Deno.test("each capability is read from its own bit, as linux/capability.h numbers them", () => {
  const bits = [
    ["CAP_SYS_NICE", 23n],
    ["CAP_BPF", 39n],
    ["CAP_PERFMON", 38n],
    ["CAP_IPC_LOCK", 14n],
    ["CAP_SYS_RESOURCE", 24n],
  ] as const;
  for (const [name, bit] of bits) {
    const status = { "/proc/self/status": hosts.processStatus((1n << bit).toString(16)) };
    const { checks } = reportOf(SCHED_EXT, status);
    const held = checks.filter(({ name, found }) => name.startsWith("CAP_") && found === "held");
    assertEquals(held.map((check) => check.name), [name]);
  }
});

Deno.test("CAP_SYS_ADMIN stands for the capabilities of BPF and for no other", () => {
  const admin = { "/proc/self/status": hosts.processStatus((1n << 21n).toString(16)) };
  assertEquals(reportOf(SCHED_EXT, admin).verdicts[1].blocked_by, ["CAP_SYS_NICE"]);
  const nice_and_admin = (1n << 23n | 1n << 21n).toString(16);
  const report = reportOf(SCHED_EXT, {
    "/proc/self/status": hosts.processStatus(nice_and_admin),
  });
  assertEquals(readyOf(report), ["scx"]);
  assertEquals(checkOf("CAP_BPF", report).found, "held through CAP_SYS_ADMIN");
});

Deno.test("a user who is not root is told to use sudo", () => {
  const status = { "/proc/self/status": hosts.processStatus(ALL_CAPABILITIES, 1000) };
  const report = reportOf(GHOST_69, status);
  assertEquals(report.verdicts[0].blocked_by, ["user"]);
  assertStringIncludes(checkOf("user", report).cure, "sudo");
});

Deno.test("the memlock limit matters only where no capability lifts it", () => {
  const none = hosts.processStatus("0");
  const limits = (bytes: string): hosts.Files => ({
    "/proc/self/status": none,
    "/proc/self/limits": hosts.processLimits("1048576", bytes),
  });
  assertEquals(checkOf("memlock", reportOf(STOCK, limits("unlimited"))).found, "unlimited");
  assertEquals(checkOf("memlock", reportOf(STOCK, limits("134217728"))).status, "ok");
  const low = checkOf("memlock", reportOf(STOCK, limits("134217727")));
  assertEquals(low.status, "warn");
  assertStringIncludes(low.cure, "ulimit -l unlimited");
  assertEquals(checkOf("memlock", reportOf(STOCK)).found, "8 MiB, lifted by CAP_IPC_LOCK");
});

Deno.test("a hard limit of 1024 descriptors is enough for 96 agents and not for 97", () => {
  const limits = { "/proc/self/limits": hosts.processLimits("1024", "unlimited") };
  const cpus = { "/sys/devices/system/cpu/online": "0-255\n", ...limits };
  assertEquals(checkOf("nofile", reportOf(STOCK, cpus, "0-95")).status, "ok");
  const { status, found, cure } = checkOf("nofile", reportOf(STOCK, cpus, "0-96"));
  assertEquals([status, found], ["fail", "hard limit 1024, but 97 agents take 1034 descriptors"]);
  assertStringIncludes(cure, "LimitNOFILE=");
});

Deno.test("memory is what the host and every cgroup above leave", () => {
  const dir = "/sys/fs/cgroup/system.slice";
  assertEquals(checkOf("memory", reportOf(STOCK)).status, "ok");
  const tight = checkOf(
    "memory",
    reportOf(STOCK, {
      [`${dir}/memory.max`]: "104857600\n",
      [`${dir}/memory.current`]: "62914560",
    }),
  );
  assertEquals([tight.status, tight.found], [
    "fail",
    "40 MiB available, but 2 agents take about 71 MiB",
  ]);
});

Deno.test("the agents of 512 CPUs take more than their Workers: queues and shared state too", () => {
  const meminfo = (mib: number): hosts.Files => ({
    "/proc/meminfo": `MemAvailable: ${mib * 1024} kB\n`,
    "/sys/devices/system/cpu/online": "0-511\n",
  });
  const found = (mib: number) => checkOf("memory", reportOf(STOCK, meminfo(mib), "0-511"));
  assertEquals(found(4500).status, "fail");
  assertEquals(found(4600).status, "ok");
  assertStringIncludes(found(4600).found, "512 agents take about 4533 MiB");
});

Deno.test("a kernel without swap swaps nothing, and a host without /proc is told to mount it", () => {
  const none = reportOf(STOCK, { "/proc/swaps": undefined });
  assertEquals(checkOf("swap", none).status, "ok");
  assertEquals(checkOf("swap", reportOf({})).cure, "mount proc on /proc");
});

Deno.test("swap is a warning unless a cgroup above closes it", () => {
  const swaps = { "/proc/swaps": "Filename\tType\n/dev/sda2 partition 1 0 -2\n" };
  const open = checkOf("swap", reportOf(STOCK, swaps));
  assertEquals(open.status, "warn");
  assertStringIncludes(open.cure, "MemorySwapMax=0");
  const dir = "/sys/fs/cgroup/system.slice";
  const closed = reportOf(STOCK, { ...swaps, [`${dir}/memory.swap.max`]: "0\n" });
  assertEquals(checkOf("swap", closed).found, "/dev/sda2, closed to this cgroup");
  const max = reportOf(STOCK, { ...swaps, [`${dir}/memory.swap.max`]: "max\n" });
  assertEquals(checkOf("swap", max).status, "warn");
});

Deno.test("CPUs that are offline fail, CPUs outside the affinity warn", () => {
  const offline = checkOf("ghost_cpus", reportOf(GHOST_69, {}, "2-5"));
  assertEquals([offline.status, offline.found], ["fail", "2-5, of which 4-5 are not online"]);
  assertStringIncludes(offline.cure, "choose among 0-3");
  const status = { "/proc/self/status": hosts.processStatus(ALL_CAPABILITIES, 0, "0-2") };
  const closed = reportOf(GHOST_69, status, "0-3");
  assertEquals(namesOf("warn", closed), ["ghost_cpus"]);
  assertStringIncludes(checkOf("ghost_cpus", closed).found, "3 outside the affinity");
});

Deno.test("offline and isolated CPUs are told; without --ghost_cpus all that are online count", () => {
  const report = reportOf(STOCK, {
    "/sys/devices/system/cpu/offline": "4-7\n",
    "/sys/devices/system/cpu/isolated": "2-3\n",
  }, "");
  assertStringIncludes(checkOf("topology", report).found, "offline 4-7, isolated 2-3");
  assertEquals(checkOf("ghost_cpus", report).found, "0-3, all online");
  assertStringIncludes(checkOf("nofile", report).found, "4 agents take 104 descriptors");
});

Deno.test("a host without any file is examined to the end and told what to mount", () => {
  for (const ghost_cpus of ["", "0"]) {
    const report = reportOf({}, {}, ghost_cpus);
    assertEquals(readyOf(report), []);
    assertStringIncludes(checkOf("ghost_cpus", report).cure, "mount sysfs on /sys");
    assertEquals(checkOf("user", report).cure, "mount proc on /proc");
  }
});

Deno.test("a host that is not Linux is told so", () => {
  const report = examine({ ...hostOf(STOCK), os: "darwin" }, "0");
  assert(!(report instanceof UsageError));
  assertEquals([checkOf("kernel", report).status, readyOf(report).length], ["fail", 0]);
});

const STALLED: KeptExit = {
  time_ms: Date.UTC(2026, 10, 21, 17, 5, 9),
  program: "fifo_per_cpu_agent",
  pid: 77,
  kernel: "scx",
  enclave: "scx/enclave_1",
  cpus: [1, 2, 3],
  kind: "stalled",
  reason: "the agent of CPU 1 stands still after 9 steps for 5.0 s, agent process 77 killed",
  dump: "/run/ghostctl/last_exit/1_77.txt",
};

Deno.test("the last abnormal end of an agent is told, and fails nothing", () => {
  const lastOf = (exits: readonly KeptExit[] | undefined): Check => {
    const report = examine({ ...hostOf(SCHED_EXT), exits: () => exits }, "0");
    assert(!(report instanceof UsageError));
    assertEquals(readyOf(report), ["scx"]);
    return checkOf("last_exit", report);
  };
  const { status, found } = lastOf([STALLED, STALLED, STALLED]);
  assertEquals(status, "info");
  assertEquals(
    found,
    "2026-11-21T17:05:09Z fifo_per_cpu_agent (scx/enclave_1, CPUs 1-3) stalled: " +
      `${STALLED.reason}; state: ${STALLED.dump}; 2 more in \`ghostctl enclaves\``,
  );
  const early = lastOf([{ ...STALLED, enclave: null, cpus: [], dump: null }]).found;
  assertStringIncludes(early, "fifo_per_cpu_agent (no enclave yet) stalled: ");
  assert(early.endsWith("agent process 77 killed"), early);
  assertEquals(lastOf([]).found, "no abnormal end of an agent since the start");
  assertEquals(lastOf(undefined).found, "unknown: only root can read it");
});

Deno.test("every failure and warning has a cure, in one line, and names are unique", () => {
  const worst = { "/proc/self/status": hosts.processStatus("0", 1, "0") };
  for (const files of [{}, STOCK, GHOST_69, SCHED_EXT]) {
    const { checks } = reportOf(files, worst, "0-9");
    for (const { name, status, found, cure } of checks) {
      assertEquals(`${name}${found}${cure}`.includes("\n"), false, name);
      if (status === "fail" || status === "warn") assert(cure.length > 0, name);
    }
    assertEquals(new Set(checks.map(({ name }) => name)).size, checks.length);
  }
});

Deno.test("the JSON carries a schema version, verdicts, checks and notes", () => {
  const report = reportOf(GHOST_69);
  const json = JSON.parse(reportJson(report, ["a note"]));
  assertEquals(Object.keys(json), ["schema", "kernels", "checks", "notes"]);
  assertEquals(json.schema, 1);
  assertEquals(json.kernels[0], { kernel: "ghost", is_ready: true, blocked_by: [] });
  assertEquals(json.checks, report.checks);
  assertEquals(json.notes, ["a note"]);
});

Deno.test("a note follows only kernels that are ready", () => {
  assertEquals(driverNotes(reportOf(STOCK), {}), []);
  assertEquals(driverNotes(reportOf(SCHED_EXT), {}).length, 1);
  assertStringIncludes(driverNotes(reportOf(SCHED_EXT), {})[0], "--kernel=scx");
  const scx = () => Promise.resolve(new UsageError("", ""));
  assertEquals(driverNotes(reportOf(SCHED_EXT), { scx }), []);
});

Deno.test("a CPU list that is none is a usage error that names the flag", () => {
  for (const text of ["x", "3-1", "0-512", ",", "\n"]) {
    const error = examine(hostOf(STOCK), text);
    assertInstanceOf(error, UsageError, text);
    assertStringIncludes(error.message, "--ghost_cpus");
  }
});

Deno.test("wrong flags end with status 2 and one line on stderr", async () => {
  const lines: unknown[] = [];
  const original = console.error;
  console.error = (...args: unknown[]): void => void lines.push(args.join(" "));
  try {
    const wrong = [["--nope"], ["now"], ["--ghost_cpus", "x"], ["--ghost_cpus="]];
    for (const args of wrong) assertEquals(await main(args), 2, args.join(" "));
    assertEquals(lines.length, wrong.length);
  } finally {
    console.error = original;
  }
});

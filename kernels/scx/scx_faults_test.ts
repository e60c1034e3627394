import { assertEquals, assertStringIncludes } from "@std/assert";
import { exitText, type LoadFailure, loadFault, SCX_KERNEL_FUNCTIONS } from "./scx_faults.ts";

function faultOf(text: string, more: Partial<LoadFailure> = {}): string {
  const facts = { release: "7.3.4", loaded_ops: "", is_rt: false };
  const { message, exit_status } = loadFault({ ...facts, text, ...more });
  assertEquals(exit_status, 1);
  assertEquals(message.includes("\n"), false);
  return message;
}

Deno.test("a kernel that lacks a function of the program is told with its name", () => {
  const libbpf = "libbpf: extern (func ksym) 'scx_bpf_dsq_insert___v2': not found in kernel or " +
    "module BTFs\nerror load: Invalid argument\n";
  assertStringIncludes(faultOf(libbpf), "lacks the kernel function scx_bpf_dsq_insert___v2");
  const flavour = libbpf.replace("___v2'", "___v2___x'");
  assertStringIncludes(faultOf(flavour), "kernel function scx_bpf_dsq_insert___v2, which");
  const btf = "libbpf: cannot find function scx_bpf_create_dsq_impl in BTF\nerror load: No such\n";
  assertStringIncludes(faultOf(btf), "scx_bpf_create_dsq_impl");
});

Deno.test("BTF that describes a function otherwise is no lack of that function", () => {
  // As Debian's 7.2.12 was seen to be refused.
  const libbpf = "libbpf: extern (func ksym) 'scx_bpf_dsq_insert___v2___x': func_proto [155] " +
    "incompatible with vmlinux [48705]\nlibbpf: failed to load object 'ghost'\n" +
    "error load: Invalid argument\n";
  const said = faultOf(libbpf);
  assertStringIncludes(said, "describes the kernel function scx_bpf_dsq_insert___v2 otherwise");
  assertStringIncludes(said, "newer pahole");
});

Deno.test("the list of kernel functions is that of the program's source", () => {
  const source = Deno.readTextFileSync(new URL("../../bpf/scx_kernel.h", import.meta.url));
  const externs = source.match(/^extern [^;]*\.ksyms[^;]*;/gm) ?? [];
  const names = externs.map((line) => line.match(/(\w+)\(/)?.[1].replace(/___x$/, ""));
  assertEquals(names, [...SCX_KERNEL_FUNCTIONS]);
});

Deno.test("a kernel without BTF, and one with PREEMPT_RT, are told as such", () => {
  const no_btf = "libbpf: kernel BTF is missing at '/sys/kernel/btf/vmlinux'\nerror load: No such";
  assertStringIncludes(faultOf(no_btf), "CONFIG_DEBUG_INFO_BTF=y");
  const refused = "error attach: Operation not supported\n";
  assertStringIncludes(faultOf(refused, { is_rt: true }), "without PREEMPT_RT");
  // As Debian's 7.3.4 rt kernel was seen to refuse it.
  const timers =
    "libbpf: prog 'ghost_control': BPF program load failed: Operation not supported\n" +
    "57: (85) call bpf_timer_init#169\nbpf_timer cannot be used for PREEMPT_RT.\n" +
    "error load: Operation not supported\n";
  const said = faultOf(timers, { is_rt: true });
  assertStringIncludes(said, "is PREEMPT_RT and refuses the scx program (it allows no BPF timers)");
});

Deno.test("another scheduler that is loaded is named, and an agent of ours is known", () => {
  const busy = "error attach: Device or resource busy\n";
  const foreign = faultOf(busy, { loaded_ops: "scx_rusty" });
  assertStringIncludes(foreign, "another sched_ext scheduler is loaded: scx_rusty");
  assertStringIncludes(foreign, "systemctl stop");
  const own = faultOf(busy, { loaded_ops: "ghost" });
  assertStringIncludes(own, "one agent process at a time");
});

Deno.test("a missing capability is told with those that are needed", () => {
  const text = faultOf("error load: Operation not permitted\n");
  for (const name of ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_NICE"]) assertStringIncludes(text, name);
});

Deno.test("what nobody foresaw is told with the step and the kernel's words", () => {
  assertStringIncludes(faultOf("error attach: Invalid argument\n"), "attach: Invalid argument");
  assertStringIncludes(faultOf(""), "no reason given");
});

Deno.test("an unload by the owner is no fault, one by the kernel is told with its reason", () => {
  assertEquals(exitText(0, "", ""), undefined);
  assertEquals(exitText(64, "unregistered from user space", ""), undefined);
  const stall = exitText(1026, "runnable task stall", "a[7] failed to run for 4.1s");
  assertStringIncludes(stall ?? "", "exit kind 1026, runnable task stall: a[7] failed to run");
  assertStringIncludes(exitText(65, "disabled by sysrq-S", "") ?? "", "sysrq-S)");
});

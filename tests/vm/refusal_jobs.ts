/**
 * Jobs of `deno task test:vm` about kernels that agents cannot run on: `ghostctl doctor` and the
 * agent must agree, on Debian's kernel and on any that --kernel-image names.
 *
 * @module
 */
import { fact, faultsIf, type JobContext, type Verdict, type VmJob } from "./job.ts";
import { prelude } from "./scx_jobs.ts";

/** What a host without a part of it says of that part. */
interface HiddenPart {
  /** What the agent must say. */
  readonly said: RegExp;
  /** The doctor's check that must fail. */
  readonly check: string;
}

const NO_BTF: HiddenPart = { said: /has no BTF \(.*CONFIG_DEBUG_INFO_BTF=y/, check: "btf" };

/**
 * The doctor's verdict on sched_ext, and what the agent does then: as the host is, and without the
 * folder that has the kernel's BTF. On Debian's kernel other jobs show what agents do there.
 */
function script(context: JobContext): string {
  const plain = context.kernel_release === undefined ? "look plain" : "ask plain";
  return `${prelude(context)}ask() {
  "$programs/ghostctl" doctor --json | sed "s/^/$1_doctor /"
  echo "$1_after $(state 2>/dev/null || echo none)"
}
look() {
  start_agent --ghost_cpus 1
  grep -q "ghOSt active" /tmp/agent && { echo "$1_active $(state)"; kill -INT $guard; }
  wait $guard; echo "$1_status $?"
  sed "s/^/$1_said /" /tmp/agent
  ask $1
}
${plain}
if mount --bind /tmp /sys/kernel/btf 2>/dev/null; then look no_btf; umount /sys/kernel/btf; fi
true`;
}

interface Report {
  readonly kernels: readonly { kernel: string; is_ready: boolean; blocked_by: string[] }[];
}

/** The checks that keep agents from sched_ext, by the doctor; undefined if it said nothing. */
function blockersOf(stdout: string, name: string): readonly string[] | undefined {
  const text = fact(stdout, `${name}_doctor`);
  const report: Report | undefined = text === undefined ? undefined : JSON.parse(text);
  return report?.kernels.find(({ kernel }) => kernel === "scx")?.blocked_by;
}

/** Faults of one look: the agent must do what the doctor has foretold. */
function lookFaults(stdout: string, name: string): string[] {
  const blockers = blockersOf(stdout, name);
  if (blockers === undefined) return [`${name}: the doctor said nothing`];
  const is_active = fact(stdout, `${name}_active`) === "enabled";
  const status = fact(stdout, `${name}_status`);
  const after = fact(stdout, `${name}_after`) ?? "";
  const line_count = stdout.match(new RegExp(`^${name}_said .*: .*; `, "gm"))?.length ?? 0;
  const is_ready = blockers.length === 0;
  return faultsIf(
    [!["disabled", "none"].includes(after), `${name}: a scheduler is still loaded`],
    [is_ready && !(is_active && status === "0"), `${name}: ready, but the agent ended: ${status}`],
    [!is_ready && is_active, `${name}: ${blockers.join(", ")} did not keep the agent from it`],
    [!is_ready && status !== "1", `${name}: the agent's status is ${status}`],
    [!is_ready && line_count !== 1, `${name}: the agent said ${line_count} lines, not one`],
  );
}

/** What is wrong with what the host says that lacks a part. */
function hiddenFaults(stdout: string, name: string, { said, check }: HiddenPart): string[] {
  const blockers = blockersOf(stdout, name) ?? [];
  return faultsIf(
    [!blockers.includes(check), `${name}: the doctor's check ${check} is no hindrance`],
    [!said.test(fact(stdout, `${name}_said`) ?? ""), `${name}: the agent did not say ${said}`],
  );
}

function judge(stdout: string, { kernel_release }: JobContext): Verdict {
  const said = fact(stdout, "plain_said");
  const is_own = kernel_release === undefined;
  const is_ready = blockersOf(stdout, "plain")?.length === 0;
  const has_hidden = fact(stdout, "no_btf_doctor") !== undefined;
  const has_scx = fact(stdout, "plain_after") !== "none";
  return {
    faults: [
      ...(is_own ? lookFaults(stdout, "plain") : []),
      ...(has_hidden ? lookFaults(stdout, "no_btf") : []),
      ...(has_hidden && has_scx ? hiddenFaults(stdout, "no_btf", NO_BTF) : []),
      ...faultsIf(
        [!is_own && !is_ready, "the doctor does not hold Debian's kernel for ready"],
        [!is_own && !has_hidden, "BTF could not be hidden"],
      ),
    ],
    detail: is_own ? said ?? "" : fact(stdout, "no_btf_said") ?? "",
  };
}

const SCX_VERDICT: VmJob = {
  name: "scx_verdict",
  summary: "the agent does what ghostctl doctor foretells, with BTF and without",
  timeout_s: 180,
  is_packed: true,
  script,
  judge: ({ stdout }, context) => judge(stdout, context),
};

/** All jobs about refusals. */
export const REFUSAL_JOBS: readonly VmJob[] = [SCX_VERDICT];

/**
 * Which enclave a tool works on: the one that the user named, or the first with an agent online.
 *
 * @module
 */
import { errnoName } from "../ffi/errno.ts";
import { chooseKernel, KERNEL_NAMES, type KernelFacts, probeKernel } from "../kernels/choose.ts";
import { openViews } from "../kernels/open_view.ts";
import type { EnclaveView, KernelView } from "../kernels/real_kernel.ts";
import { OperatingError, UsageError } from "../lib/errors.ts";
import { readTextFile } from "../lib/host_files.ts";
import { SCHED_GHOST } from "../ffi/abi/constants.ts";
import { agentAncestor } from "./agent_tree.ts";
import type { Flag } from "./flags.ts";
import { HOST_FILES } from "./process_files.ts";

/** Number of sched_ext's policy in Linux. */
export const SCHED_EXT = 7;

const START_CURE = "start one first, for example `fifo_per_cpu_agent --ghost_cpus 0-1`";

/** Flags of tools that work on one enclave. */
export const ENCLAVE_FLAGS: readonly Flag[] = [
  {
    name: "enclave",
    value: "DIR",
    fallback: "",
    help: "the enclave, by path or number (default: the first with an agent online)",
  },
];

/** An enclave and the kernel that it is of. */
export interface ChosenEnclave {
  /** The kernel. */
  readonly kernel: KernelView;
  /** The enclave. */
  readonly enclave: EnclaveView;
}

/** What tools use of the host; another one for tests. */
export interface EnclaveHost {
  /** What the kernel offers. */
  readonly facts: () => KernelFacts;
  /** See {@linkcode openViews}. */
  readonly views: typeof openViews;
  /** The effective user; null where the host has none. */
  readonly uid: () => number | null;
  /** The agent process that this process belongs to, if it belongs to one. */
  readonly ownAgent: () => number | undefined;
  /** What sched_getscheduler says of a thread in an enclave of a kernel. */
  readonly policyOf: (kind: KernelView["kind"]) => number;
}

/** This host. */
export const THIS_HOST: EnclaveHost = {
  facts: () => probeKernel(readTextFile),
  views: openViews,
  uid: () => Deno.uid(),
  ownAgent: () => agentAncestor(HOST_FILES, Deno.pid),
  policyOf: (kind) => kind === "ghost" ? SCHED_GHOST : SCHED_EXT,
};

/** True if a user may mean an enclave by this text. */
export function isNamed(enclave: EnclaveView, text: string): boolean {
  const bare = text.replace(/\/+$/, "");
  return bare === enclave.path || bare === `enclave_${enclave.id}` || bare === String(enclave.id);
}

/**
 * The views of the kernels that a user asked for.
 *
 * @param kernel Value of `--kernel`.
 * @param host The host.
 * @param needs_root False for a look at the enclaves only.
 * @returns At least one view, or what is missing.
 */
export async function kernelViews(
  kernel: string,
  host: EnclaveHost,
  needs_root = true,
): Promise<KernelView[] | OperatingError> {
  const name = KERNEL_NAMES.find((known) => known === kernel);
  const facts = host.facts();
  const chosen = chooseKernel(kernel, facts);
  if (chosen instanceof UsageError) return chosen;
  if (chosen instanceof OperatingError) {
    // A simulated kernel has no enclave that a tool could work on.
    return new OperatingError(chosen.fault, chosen.cure.replace(/, or simulate with .*$/, ""));
  }
  if (name === undefined || name === "sim") {
    return new UsageError("--kernel=sim has no enclave of another process", "name a real kernel");
  }
  if (needs_root && host.uid() !== 0) {
    return new OperatingError("not root: enclaves and their threads are root's", "run with sudo");
  }
  const views = await host.views(name, facts);
  if (views.length > 0) return views;
  return new OperatingError(
    `this program does not know the enclaves of --kernel=${chosen}`,
    "use a version that does",
  );
}

function onlineFault({ enclave }: ChosenEnclave): OperatingError | undefined {
  const is_online = enclave.isOnline();
  if (is_online === true) return undefined;
  if (is_online === false) {
    return new OperatingError(
      `${enclave.path} has no agent online, so nothing would run there`,
      `start one: \`fifo_per_cpu_agent --enclave ${enclave.path}\``,
    );
  }
  return new OperatingError(
    `${enclave.path} cannot be read (${errnoName(-is_online)})`,
    "it was destroyed meanwhile; `ghostctl enclaves` lists those that are left",
  );
}

/**
 * Chooses an enclave for threads of this process: as {@linkcode chooseEnclave}, unless this process
 * is in an agent's own process tree.
 */
export async function chooseEnclaveToJoin(
  kernel: string,
  text: string,
  host: EnclaveHost = THIS_HOST,
): Promise<ChosenEnclave | OperatingError> {
  const chosen = await chooseEnclave(kernel, text, host);
  const agent = chosen instanceof OperatingError ? undefined : host.ownAgent();
  if (agent === undefined) return chosen;
  return new OperatingError(
    `this process belongs to agent process ${agent}, which must not wait for its own decisions`,
    "start it from somewhere else",
  );
}

/**
 * Chooses an enclave with an agent online.
 *
 * @param kernel Value of `--kernel`.
 * @param text Value of `--enclave`; "" for the first one.
 * @param host The host.
 * @returns The enclave, or what is missing.
 */
export async function chooseEnclave(
  kernel: string,
  text: string,
  host: EnclaveHost = THIS_HOST,
): Promise<ChosenEnclave | OperatingError> {
  const views = await kernelViews(kernel, host);
  if (views instanceof OperatingError) return views;
  const all = views.flatMap((view) =>
    view.enclaves().map((enclave): ChosenEnclave => ({ kernel: view, enclave }))
  );
  if (text !== "") {
    const named = all.find(({ enclave }) => isNamed(enclave, text));
    if (named !== undefined) return onlineFault(named) ?? named;
    const others = all.map(({ enclave }) => enclave.path).join(", ");
    return new OperatingError(
      `no enclave ${text}`,
      others === "" ? `there is none at all; ${START_CURE}` : `there are: ${others}`,
    );
  }
  const online = all.find(({ enclave }) => enclave.isOnline() === true);
  if (online !== undefined) return online;
  if (all.length > 0) return onlineFault(all[0]) ?? all[0];
  const kinds = views.map(({ kind }) => kind).join(" or ");
  return new OperatingError(`no enclave of kernel ${kinds}`, `an agent makes it; ${START_CURE}`);
}

/**
 * Jobs that ask a kernel by bare system calls what upstream's tests ask it.
 *
 * @module
 */
import { shellWord } from "./guest.ts";
import { fact, faultsIf, type VmJob } from "./job.ts";

/** The process became an agent, and is killed with its enclave. */
const KILLED_STATUS = 137;

function callsJob(kernel: "ghost" | "scx"): VmJob {
  return {
    name: `${kernel}_calls`,
    summary: "bare system calls answer as upstream's tests want",
    timeout_s: 120,
    is_packed: kernel === "scx",
    is_ghost: kernel === "ghost",
    is_scx: kernel === "scx",
    script: ({ deno, std_flags }) => {
      const program = ["tests/vm/bare_calls.ts", kernel];
      return [deno, "run", "-A", "--no-prompt", "--no-check", ...std_flags, ...program]
        .map(shellWord).join(" ") + ` || [ $? = ${KILLED_STATUS} ]`;
    },
    judge: ({ stdout }) => ({
      faults: [
        ...stdout.split("\n").filter((line) => line.startsWith("FAIL")),
        ...faultsIf([!/^checks \d+ passed, 0 failed$/m.test(stdout), "not every call was checked"]),
      ],
      detail: fact(stdout, "checks") ?? "",
    }),
  };
}

/** On a ghOSt kernel: with CAP_SYS_NICE and without, as an agent and as none. */
export const GHOST_CALLS: VmJob = callsJob("ghost");

/** Under sched_ext. */
export const SCX_CALLS: VmJob = callsJob("scx");

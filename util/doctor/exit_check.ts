/**
 * The last abnormal end of an agent, for whoever asks why it is no longer there.
 *
 * @module
 */
import { CpuList } from "../../lib/cpu_list.ts";
import { exitTime } from "../guard/last_exit.ts";
import { type Check, type Host, info } from "./check.ts";

const NAME = "last_exit";

/** The last end of an agent that was killed, hung, threw or was ejected; never a failure. */
export function checkLastExit(host: Host): Check {
  const exits = host.exits();
  if (exits === undefined) return info(NAME, "unknown: only root can read it");
  const [last] = exits;
  if (last === undefined) return info(NAME, "no abnormal end of an agent since the start");
  const cpus = new CpuList();
  for (const cpu of last.cpus) cpus.set(cpu);
  const enclave = last.enclave === null ? "no enclave yet" : `${last.enclave}, CPUs ${cpus}`;
  const state = last.dump === null ? "" : `; state: ${last.dump}`;
  const others = exits.length === 1 ? "" : `; ${exits.length - 1} more in \`ghostctl enclaves\``;
  const what = `${last.program} (${enclave}) ${last.kind}: ${last.reason}`;
  return info(NAME, `${exitTime(last)} ${what}${state}${others}`);
}

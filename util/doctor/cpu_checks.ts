/**
 * Checks of the CPUs that agents are to have.
 *
 * @module
 */
import { CpuList, parseCpuStr } from "../../lib/cpu_list.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import type { ReadText } from "../../lib/host_files.ts";
import { MAX_CPU_COUNT } from "../../lib/limits.ts";
import { Topology } from "../../lib/topology.ts";
import { type Check, fail, type Host, info, ok, warn } from "./check.ts";

const CPU_DIR = "/sys/devices/system/cpu";

/** A list file of sysfs as text; "none" where it is empty or missing. */
function listText(read: ReadText, name: string): string {
  return read(`${CPU_DIR}/${name}`)?.trim() || "none";
}

/** What the machine has. */
export function checkTopology(host: Host): Check {
  const topology = Topology.fromSysfs(host.read);
  if (topology instanceof OperatingError) return fail("topology", topology.fault, topology.cure);
  const { num_cpus, all_cores, num_numa_nodes, all_cpus } = topology;
  return info(
    "topology",
    `CPUs ${all_cpus} online (${num_cpus}), cores ${all_cores.size}, nodes ${num_numa_nodes}; ` +
      `offline ${listText(host.read, "offline")}, isolated ${listText(host.read, "isolated")}`,
  );
}

/**
 * The CPUs that agents are to have.
 *
 * @param host The host.
 * @param ghost_cpus Value of --ghost_cpus; "" means every CPU that is online.
 * @returns The CPUs, online or not; a usage error if the value is no CPU list.
 */
export function agentCpus(host: Host, ghost_cpus: string): CpuList | UsageError {
  const online = parseCpuStr(host.read(`${CPU_DIR}/online`)?.trim() ?? "", MAX_CPU_COUNT);
  if (ghost_cpus === "") return online instanceof UsageError ? new CpuList() : online;
  const list = parseCpuStr(ghost_cpus, MAX_CPU_COUNT);
  if (list instanceof UsageError) return new UsageError(`--ghost_cpus: ${list.fault}`, list.cure);
  if (!list.isEmpty()) return list;
  return new UsageError("--ghost_cpus is empty", "name at least one CPU, such as 0-1");
}

/** Whether the CPUs are online, and open to this process. */
export function checkAgentCpus(host: Host, cpus: CpuList): Check {
  const topology = Topology.fromSysfs(host.read);
  const online = topology instanceof OperatingError ? new CpuList() : topology.all_cpus;
  const offline = cpus.minus(online);
  if (!offline.isEmpty()) {
    return fail(
      "ghost_cpus",
      `${cpus}, of which ${offline} ${offline.size === 1 ? "is" : "are"} not online`,
      online.isEmpty()
        ? `mount sysfs on /sys: ${CPU_DIR}/online lists no CPU`
        : `choose among ${online}, or \`echo 1 > ${CPU_DIR}/cpu${offline.front()}/online\``,
    );
  }
  if (cpus.isEmpty()) {
    return fail("ghost_cpus", "no CPU is known", "mount sysfs on /sys");
  }
  const status = host.read("/proc/self/status") ?? "";
  const allowed_text = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1];
  const allowed = allowed_text === undefined ? cpus : parseCpuStr(allowed_text, MAX_CPU_COUNT);
  const closed = allowed instanceof UsageError ? new CpuList() : cpus.minus(allowed);
  if (closed.isEmpty()) return ok("ghost_cpus", `${cpus}, all online`);
  return warn(
    "ghost_cpus",
    `${cpus}, of which ${closed} outside the affinity of this process (${allowed_text})`,
    "start without taskset, or widen cpuset.cpus of the cgroup (--cpuset-cpus of the container)",
  );
}

/**
 * Jobs of `deno task test:vm` for the experiments on --kernel=scx: their threads in the enclave of
 * an agent.
 *
 * @module
 */
import { fakeRocksdb } from "../../experiments/rocksdb/test_library.ts";
import { parseAntagonist, parseRocksdb } from "../../experiments/rocksdb/sweep_results.ts";
import { OperatingError } from "../../lib/errors.ts";
import { shellWord } from "./guest.ts";
import { fact, faultsIf, type JobContext, type VmJob } from "./job.ts";

const THREAD_COUNT = 2;

/** Starts an agent on CPUs 2 and 3, runs shell lines beside it, and stops it. */
function withAgent({ programs }: JobContext, body: string): string {
  return `programs=${shellWord(programs)}
"$programs/fifo_per_cpu_agent" --kernel=scx --ghost_cpus=2-3 >/tmp/agent 2>&1 & guard=$!
for i in $(seq 600); do
  grep -q "ghOSt active" /tmp/agent && break
  kill -0 $guard 2>/dev/null || break
  sleep 0.1
done
echo "loaded $(cat /sys/kernel/sched_ext/state)"
${body}
kill -INT $guard; wait $guard
echo "agent_status $?"; sed 's/^/agent: /' /tmp/agent
echo "after $(cat /sys/kernel/sched_ext/state)"
`;
}

/** What must hold whatever ran beside the agent. */
function agentFaults(stdout: string): string[] {
  return faultsIf(
    [fact(stdout, "loaded") !== "enabled", "no scheduler was loaded"],
    [fact(stdout, "agent_status") !== "0", `the agent ended with ${fact(stdout, "agent_status")}`],
    [fact(stdout, "after") !== "disabled", "a scheduler is still loaded"],
  );
}

const SCX_ANTAGONIST: VmJob = {
  name: "scx_antagonist",
  summary: "antagonist's two threads get the two CPUs of the agent",
  timeout_s: 240,
  is_packed: true,
  is_soak: true,
  script: (context) =>
    withAgent(
      context,
      `timeout 60 "$programs/ghostctl" antagonist --scheduler=ghost --kernel=scx --cpus= ` +
        `--num_threads=${THREAD_COUNT} --experiment_duration=5s --print_format=csv
echo "antagonist_status $?"`,
    ),
  judge({ stdout, stderr }) {
    const rows = parseAntagonist(stdout).slice(0, THREAD_COUNT).map((line) => line.split(","));
    const shares = rows.map((row) => Number(row[2]));
    return {
      faults: [
        ...agentFaults(stdout),
        ...faultsIf(
          [fact(stdout, "antagonist_status") !== "0", `antagonist: ${stderr.trim()}`],
          [shares.length !== THREAD_COUNT, `results of ${shares.length} threads`],
          // The machine is emulated, and may be slow; a thread that never ran has nothing.
          [!shares.every((share) => share > 0.1), `shares ${shares.join(", ")}`],
        ),
      ],
      detail: `shares ${shares.map((share) => share.toFixed(2)).join(" and ")} of a CPU`,
    };
  },
};

const SCX_ROCKSDB: VmJob = {
  name: "scx_rocksdb",
  summary:
    "rocksdb's workers serve requests when the PrioTable says so, with a stand-in for RocksDB",
  timeout_s: 240,
  is_packed: true,
  script: (context) =>
    withAgent(
      context,
      `timeout 180 "$programs/ghostctl" rocksdb --scheduler=ghost --kernel=scx ` +
        `--load_generator_cpus=1 --worker_cpus= --num_workers=4 ` +
        `--ghost_wait_type=futex --throughput=200 --get_duration=100us --print_format=csv ` +
        `--print_get --print_range --experiment_duration=6s --discard_duration=1s ` +
        `--rocksdb_library=${shellWord(fakeRocksdb())}
echo "rocksdb_status $?"`,
    ),
  judge({ stdout, stderr }) {
    const rows = parseRocksdb(stdout);
    const cells = rows instanceof OperatingError ? [] : rows.at(-1)?.cells ?? [];
    const [count, , , p50_us, p99_us] = cells.map(Number);
    return {
      faults: [
        ...agentFaults(stdout),
        ...faultsIf(
          [fact(stdout, "rocksdb_status") !== "0", `rocksdb: ${stderr.trim()}`],
          [!(count > 500), `${count} requests served in 5 s, 1000 came`],
        ),
      ],
      detail: `${count} requests, p50 ${p50_us} us, p99 ${p99_us} us`,
    };
  },
};

/** The jobs. */
export const EXPERIMENT_JOBS: readonly VmJob[] = [SCX_ANTAGONIST, SCX_ROCKSDB];

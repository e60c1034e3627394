/**
 * Every program of this project, by name. The imports are dynamic and their paths literal, so that
 * a start from the sources loads one program only, and a bundle holds them all.
 *
 * @module
 */

/** A module that is a program. */
export interface ProgramModule {
  /**
   * Runs it.
   *
   * @param args Its arguments.
   * @returns The exit status.
   */
  main(args: string[]): Promise<number>;
}

/** A program's entry in the table. */
export interface Program {
  /** One line for `ghostctl --help`. */
  readonly summary: string;
  /** Whether `deno task compile` makes a file of that name; else it is only a sub-command. */
  readonly has_file: boolean;
  /** Loads its module. */
  readonly load: () => Promise<ProgramModule>;
}

/** A module whose code runs in a Worker. */
export interface WorkerModule {
  /**
   * Starts it.
   *
   * @param message The Worker's first message.
   */
  workerMain(message: WorkerMessage): void | Promise<void>;
}

/** The first message that a Worker gets. */
export interface WorkerMessage {
  /** A name of {@linkcode WORKERS}. */
  readonly entry: string;
}

/** The programs. */
export const PROGRAMS: Readonly<Record<string, Program>> = {
  enclaves: {
    summary: "list enclaves, or destroy some",
    has_file: false,
    load: () => import("./enclaves.ts"),
  },
  run: {
    summary: "run a command inside an enclave",
    has_file: false,
    load: () => import("./run.ts"),
  },
  adopt: {
    summary: "move the threads of a process or a cgroup into an enclave",
    has_file: false,
    load: () => import("./adopt.ts"),
  },
  rpc: {
    summary: "ask an agent process something",
    has_file: false,
    load: () => import("./rpc/main.ts"),
  },
  doctor: {
    summary: "say whether agents can run on this host, and what to do where not",
    has_file: false,
    load: () => import("./doctor/main.ts"),
  },
  fifo_per_cpu_agent: {
    summary: "agent with the per-CPU FIFO policy",
    has_file: true,
    load: () => import("../schedulers/fifo/per_cpu/agent.ts"),
  },
  fifo_centralized_agent: {
    summary: "agent with the centralized FIFO policy",
    has_file: true,
    load: () => import("../schedulers/fifo/centralized/agent.ts"),
  },
  agent_exp: {
    summary: "agent with the EDF policy",
    has_file: true,
    load: () => import("../schedulers/edf/agent.ts"),
  },
  agent_sol: {
    summary: "agent with the Sol policy, which never waits for a commit",
    has_file: true,
    load: () => import("../schedulers/sol/agent.ts"),
  },
  agent_shinjuku: {
    summary: "agent with the Shinjuku policy",
    has_file: true,
    load: () => import("../schedulers/shinjuku/agent.ts"),
  },
  simple_exp: {
    summary: "six small loads of real threads that any policy must survive",
    has_file: true,
    load: () => import("../experiments/simple_exp/main.ts"),
  },
  simple_edf: {
    summary: "loads of real threads that tell an EDF agent about their work",
    has_file: true,
    load: () => import("../experiments/simple_edf/main.ts"),
  },
  simple_cfs: {
    summary: "loads of real threads that show shares by nice value, and balance",
    has_file: true,
    load: () => import("../experiments/simple_cfs/main.ts"),
  },
  microbench: {
    summary: "yields and wake-ups per second of real threads, and their wake-to-run times",
    has_file: true,
    load: () => import("../experiments/microbench/main.ts"),
  },
  rocksdb: {
    summary: "serve requests from a RocksDB database and measure their latency",
    has_file: true,
    load: () => import("../experiments/rocksdb/main.ts"),
  },
  antagonist: {
    summary: "use a share of CPUs beside another load and say what was got",
    has_file: true,
    load: () => import("../experiments/antagonist/main.ts"),
  },
  global_scalability: {
    summary: "measure how many threads a second one global agent schedules, by number of CPUs",
    has_file: true,
    load: () => import("../experiments/global_scalability/main.ts"),
  },
  pushtosched: {
    summary: "move threads whose TIDs are on stdin to SCHED_OTHER (CFS)",
    has_file: true,
    load: () => import("./pushtosched.ts"),
  },
  enclave_watcher: {
    summary: "measure how long an enclave is without agents when they are replaced",
    has_file: true,
    load: () => import("./enclave_watcher.ts"),
  },
  selftest: {
    summary: "run the contract suite from this executable",
    has_file: false,
    load: () => import("../tests/conformance/selftest.ts"),
  },
};

/** What a Worker can be told to run. */
export const WORKERS: Readonly<Record<string, () => Promise<WorkerModule>>> = {
  agent: () => import("./agent_worker.ts"),
  contract_agent: () => import("../tests/conformance/contract_agent.ts"),
};

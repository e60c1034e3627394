/**
 * The rules of the simulated kernel that a contract case can see, by name. A mutant is a kernel
 * without one rule; the contract suite runs every negative case against its mutant and expects it
 * to fail there, so that no case can pass without the rule it names.
 * Source: reference sections 1.2, 1.4, 1.5, 2.3 and 2.4.
 *
 * @module
 */

/** Every rule: name → what the kernel does. */
export const RULES = {
  "commit.version": "a transaction of another version is UNSUPPORTED_VERSION",
  "commit.run_flags": "run flags that do not fit the target are INVALID_FLAGS",
  "commit.commit_flags": "contradicting commit flags are INVALID_FLAGS",
  "commit.cpu_in_enclave": "a CPU without an agent is NO_AGENT",
  "commit.target_agent": "an agent as target is INVALID_TARGET",
  "commit.target_unknown": "a gtid that does not exist is TARGET_NOT_FOUND",
  "commit.target_departed": "a task that left ghOSt is TARGET_STALE or INVALID_TARGET",
  "commit.task_barrier": "a task barrier that moved on is TARGET_STALE",
  "commit.runnable": "a task that is not runnable is TARGET_NOT_RUNNABLE",
  "commit.oncpu": "a task that is on a CPU is TARGET_ONCPU",
  "commit.cpu_avail": "a CPU that a higher class uses is CPU_UNAVAIL",
  "commit.do_not_preempt": "DO_NOT_PREEMPT on a CPU that runs a task is AGENT_STALE",
  "commit.agent_barrier": "a local commit with an agent barrier that moved on is AGENT_STALE",
  "commit.barrier_inc": "a commit increments the target CPU's agent barrier",
  "commit.elide_barrier_inc": "ELIDE_AGENT_BARRIER_INC leaves the agent barrier alone",
  "commit.failure_barrier_inc": "INC_AGENT_BARRIER_ON_FAILURE increments it on failure",
  "commit.greedy_later": "a transaction without COMMIT_AT_* flags completes asynchronously",
  "commit.null_gtid": "gtid 0 takes the running task off the CPU",
  "sync.all_or_none": "a sync group with one bad member runs none",
  "sync.release": "a successful sync group releases ownership",
  "yield.agent_barrier": "a yield with an agent barrier that moved on is ESTALE",
  "yield.destroyed": "a yield in a destroyed enclave is ENODEV",
  "ping.no_agent": "a ping to a CPU without an agent is EINVAL",
  "ping.barrier_inc": "a ping increments the agent's barrier",
  "queue.elems": "a queue's size must be a power of two up to 65536",
  "queue.node": "a queue's NUMA node must exist",
  "queue.flags": "a queue's flags must be 0",
  "queue.wakeup_ninfo": "a queue has at most two wake-up targets",
  "queue.wakeup_cpu": "a queue's wake-up target must be a CPU of the enclave",
  "queue.default_known": "the default queue must be a queue of the enclave",
  "queue.overflow": "a full ring counts and drops",
  "queue.wake": "a message wakes the queue's agent",
  "queue.barrier_inc": "a message increments the agent barrier of the queue's agent",
  "assoc.bad_queue": "association with an unknown queue is EBADF",
  "assoc.unknown_task": "association of an unknown task is ENOENT",
  "assoc.stale": "association with a task barrier that moved on is ESTALE",
  "assoc.already": "association with the same queue reports ALREADY",
  "sw.free_bad_index": "freeing an unknown status word is ENOENT",
  "sw.free_in_use": "freeing a status word that is in use is EINVAL",
  "sw.info_bad_cpu": "status word of a CPU out of range is an error",
  "sw.info_unknown_task": "status word of an unknown task is ENOENT",
  "become.cpu_in_enclave": "an agent for a CPU outside the enclave is ENODEV",
  "become.busy": "a second agent for a CPU is EBUSY",
  "become.bad_queue": "an agent with an unknown queue is EBADF",
  "become.no_default": "an agent without queue and default queue is ENXIO",
  "online.single": "a second writer of agent_online is EBUSY",
  "join.unknown": "joining an unknown thread is ESRCH",
  "join.twice": "joining a thread that is in ghOSt is EPERM",
  "join.no_default": "joining without default queue is ENXIO",
  "join.dying": "joining a destroyed enclave is EXDEV",
  "cpus.taken": "a CPU of another enclave is EBUSY",
  "cpus.has_agent": "removing a CPU that has an agent is EEXIST",
  "cpus.offline": "a CPU that is not there is ENODEV",
  "enclave.abi": "an enclave of an ABI the kernel does not speak is ESRCH",
  "enclave.unknown": "attaching to an unknown enclave is ENOENT",
  "tunable.unknown": "an unknown tunable is ENOENT",
  "tunable.value": "a negative tunable is EINVAL",
  "tunable.boolean": "a boolean tunable reads back as 0 or 1",
  "cpu_time.unknown": "the runtime of an unknown task is ESRCH",
  "destroy.fallback": "threads of a destroyed enclave run on under the default class",
  "timeout.destroy": "runnable_timeout destroys the enclave",
  "message.new_first": "TASK_NEW comes before any other message of a task",
  "message.seqnum": "the sequence number of a task's messages grows",
  "message.preempt": "a task that loses its CPU to the default class is PREEMPT",
  "message.affinity": "a change of affinity is TASK_AFFINITY_CHANGED",
  "message.priority": "a change of nice is TASK_PRIORITY_CHANGED",
  "message.gated": "messages of a rejoined task wait until its old status word is freed",
  "message.ticks_off": "ticks are sent only when deliver_ticks is set",
  "message.availability_off": "CPU availability is sent only when asked for",
} as const;

/** Name of a rule. */
export type RuleName = keyof typeof RULES;

/** Names of all rules. */
export const RULE_NAMES: readonly RuleName[] = Object.keys(RULES) as RuleName[];

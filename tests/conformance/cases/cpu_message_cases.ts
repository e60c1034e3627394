/**
 * Messages about CPUs and agents: ticks, timers, idle edges, availability, blocking agents
 * (reference sections 1.1, 1.3, 1.4 and 2.3).
 *
 * @module
 */
import {
  ALLOW_TASK_ONCPU,
  COMMIT_AT_TXN_COMMIT,
  GHOST_SW_BOOST_PRIO,
  GHOST_TXN_COMPLETE,
  MSG_CPU_AGENT_BLOCKED,
  MSG_CPU_AGENT_WAKEUP,
  MSG_CPU_AVAILABLE,
  MSG_CPU_BUSY,
  MSG_CPU_NOT_IDLE,
  MSG_CPU_TICK,
  MSG_CPU_TIMER_EXPIRED,
  MSG_TASK_PREEMPT,
  NEED_CPU_NOT_IDLE,
} from "../../../ffi/abi/constants.ts";
import { ARM_TIMER, NOTHING, SLEEP } from "../agent_commands.ts";
import type { LoggedMessage } from "../case_memory.ts";
import type { ContractCase } from "../contract.ts";
import { expect, expectBetween, expectEqual } from "../expect.ts";
import { Lab } from "../lab.ts";
import { expectFields, fieldsOf, gtidNumber } from "../payloads.ts";

const ALL_ABIS = [69, 84, 90, 91] as const;
const MODERN_ABIS = [84, 90, 91] as const;
/** A timer that is to be disarmed before it expires. */
const LATER_NS = 500_000_000;
/** Longer than a few ticks. */
const TICKS_NS = 20_000_000;
/** Long enough that a real machine tells of the sleep while it lasts. */
const ASLEEP_NS = 300_000_000;
/** What another thread of the host may take of a CPU. */
const MOMENT_NS = 5_000_000;
const IDLE_GTID: readonly [number, number] = [-2, -1];

async function messagesOfType(lab: Lab, type: number): Promise<LoggedMessage[]> {
  return (await lab.messages()).filter((message) => message.type === type);
}

const TICK_CASES: readonly ContractCase[] = [
  {
    name: "CPU_TICK: every CPU with an agent ticks, each into its agent's queue",
    requires: ["ticks"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const thread = lab.task();
      // A CPU that idles may not tick; and a tick makes the commit stale whose barrier it moves.
      await lab.hold(0);
      await lab.runOn(1, thread);
      expectEqual(lab.control.writeTunable("deliver_ticks", 1), 0, "deliver_ticks");
      const ticksOf = (cpu: number): LoggedMessage[] =>
        lab.log.filter((message) =>
          message.type === MSG_CPU_TICK && fieldsOf(version, message).cpu === cpu
        );
      const come = (cpu: number): boolean => {
        lab.takeMessages();
        return ticksOf(cpu).length >= 2;
      };
      for (const cpu of [0, 1]) await lab.until(() => come(cpu), `two ticks of CPU ${cpu}`);
      for (const cpu of [0, 1]) {
        const own = ticksOf(cpu);
        expect(own.every((tick) => tick.reader === cpu), "read by the CPU's own agent");
        expect(own[1].seqnum > own[0].seqnum, "sequence numbers grow");
        expect(own.at(-1)!.seqnum <= lab.agentBarrier(cpu), "they are barriers of the agent");
      }
    },
  },
  {
    name: "CPU_TICK: from ABI 90 on it says whether the agent had the CPU",
    requires: ["ticks"],
    abi_versions: [90, 91],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      await lab.hold(0);
      const thread = lab.task();
      await lab.runOn(1, thread);
      expectEqual(lab.control.writeTunable("deliver_ticks", 1), 0, "deliver_ticks");
      const first = async (cpu: number): Promise<number> => {
        const find = (): LoggedMessage | undefined => {
          lab.takeMessages();
          return lab.log.find((message) =>
            message.type === MSG_CPU_TICK && message.payload[0] === cpu
          );
        };
        await lab.until(() => find() !== undefined, `a tick of CPU ${cpu}`, TICKS_NS);
        return fieldsOf(version, find() as LoggedMessage).is_agent;
      };
      expectEqual(await first(0), 1, "is_agent of a CPU whose agent spins");
      expectEqual(await first(1), 0, "is_agent of a CPU that runs a task");
    },
  },
  {
    name: "CPU_TICK: there is none once deliver_ticks is off",
    rule: "message.ticks_off",
    negative: true,
    requires: ["ticks"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(lab.control.writeTunable("deliver_ticks", 1), 0, "on");
      expectEqual(lab.control.writeTunable("deliver_ticks", 0), 0, "off");
      await host.sleep(TICKS_NS);
      expectEqual((await messagesOfType(lab, MSG_CPU_TICK)).length, 0, "ticks");
    },
  },
];

const TIMER_CASES: readonly ContractCase[] = [
  {
    name: "CPU_TIMER_EXPIRED: in time, with the type and the cookie that were given",
    requires: ["timers"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const start_ns = host.nowNs();
      expectEqual(await lab.call(1, ARM_TIMER, 500_000, 17, 0x12345678), 0, "arm");
      const message = await lab.message(MSG_CPU_TIMER_EXPIRED);
      expectBetween(host.nowNs() - start_ns, 500_000, 1_000_000_000, "ns until it expired");
      expectFields(host.kernel.abi.version, message, { cpu: 1, type: 17, cookie: 0x12345678 });
      expectEqual(message.reader, 1, "reader");
    },
  },
  {
    name: "CPU_TIMER_EXPIRED: a timer that was disarmed does not expire",
    rule: "timer.disarm",
    negative: true,
    requires: ["timers"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      expectEqual(await lab.call(0, ARM_TIMER, LATER_NS, 1, 1), 0, "arm");
      expectEqual(await lab.call(0, ARM_TIMER, 0, 0, 0), 0, "disarm");
      await host.sleep(2 * LATER_NS);
      expectEqual((await messagesOfType(lab, MSG_CPU_TIMER_EXPIRED)).length, 0, "messages");
    },
  },
  {
    name: "CPU_TIMER_EXPIRED: a timer that was armed anew does not expire at its old time",
    rule: "timer.disarm",
    negative: true,
    requires: ["timers"],
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      await lab.call(0, ARM_TIMER, LATER_NS, 1, 1);
      await lab.call(0, ARM_TIMER, 2 * LATER_NS, 2, 2);
      await host.sleep(3 * LATER_NS);
      const types = (await messagesOfType(lab, MSG_CPU_TIMER_EXPIRED))
        .map((message) => fieldsOf(host.kernel.abi.version, message).type);
      expectEqual(types, [2], "types of the timers that expired");
    },
  },
];

/** An agent on each CPU, of which CPU 1 idles by a transaction with NEED_CPU_NOT_IDLE or not. */
async function idleCpu(lab: Lab, run_flags: number): Promise<void> {
  // The CPU idles already, as far as some kernels are concerned.
  const commit_flags = COMMIT_AT_TXN_COMMIT | ALLOW_TASK_ONCPU;
  const state = await lab.commit(0, 1, { gtid: IDLE_GTID, run_flags, commit_flags });
  expectEqual(state, GHOST_TXN_COMPLETE, "state of the idle transaction");
}

/** Uses CPU 1, which idles by a transaction; adds who was told of, and returns who it was. */
async function occupyIdle(lab: Lab, seen: number[]): Promise<number> {
  const { host } = lab;
  await idleCpu(lab, NEED_CPU_NOT_IDLE);
  const thread = host.occupy(1);
  const told = (): number[] => {
    lab.takeMessages();
    return lab.log.filter(({ type }) => type === MSG_CPU_NOT_IDLE)
      .map((message) => fieldsOf(host.kernel.abi.version, message).next_gtid);
  };
  const before = seen.length;
  await lab.until(() => told().length > before, "message 130");
  seen.splice(0, before, ...told());
  host.kill(thread);
  await lab.until(() => host.hasExited(thread), "the thread ends");
  return gtidNumber(thread);
}

const TRY_COUNT = 8;

const IDLE_CASES: readonly ContractCase[] = [
  {
    name: "CPU_NOT_IDLE: a thread of the default class on an idle CPU is told, by gtid",
    requires: ["cpu_not_idle"],
    abi_versions: ALL_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const seen: number[] = [];
      for (let wanted = 0; !seen.includes(wanted); wanted = await occupyIdle(lab, seen)) {
        // A kernel's own threads may be quicker than the case's.
        expect(seen.length < TRY_COUNT, `told of ${seen}`);
      }
      const message = await lab.message(MSG_CPU_NOT_IDLE);
      expectFields(version, message, { cpu: 1 });
    },
  },
  {
    name: "CPU_NOT_IDLE: there is none once a task was committed to the CPU",
    requires: ["cpu_not_idle"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const thread = lab.task();
      await idleCpu(lab, NEED_CPU_NOT_IDLE);
      const next = await lab.commit(0, 1, { thread });
      expectEqual(next, GHOST_TXN_COMPLETE, "state of the next");
      await lab.until(() => lab.isOnCpu(thread), "the task runs");
      host.occupy(1);
      await lab.message(MSG_TASK_PREEMPT, thread);
      expectEqual((await messagesOfType(lab, MSG_CPU_NOT_IDLE)).length, 0, "messages");
    },
  },
  {
    name: "CPU_NOT_IDLE: one request does not give two messages",
    rule: "message.not_idle_once",
    negative: true,
    requires: ["cpu_not_idle"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "polled" });
      await idleCpu(lab, NEED_CPU_NOT_IDLE);
      for (let count = 0; count < 2; count++) {
        const occupant = await lab.occupy(1);
        await host.sleep(50_000);
        host.kill(occupant);
        await host.sleep(50_000);
      }
      expectEqual((await messagesOfType(lab, MSG_CPU_NOT_IDLE)).length, 1, "messages");
    },
  },
  {
    name: "CPU_NOT_IDLE: there is none unless NEED_CPU_NOT_IDLE asked for it",
    rule: "run.need_not_idle",
    negative: true,
    requires: ["cpu_not_idle"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      await idleCpu(lab, 0);
      await lab.occupy(1);
      await host.sleep(50_000);
      expectEqual((await messagesOfType(lab, MSG_CPU_NOT_IDLE)).length, 0, "messages");
    },
  },
];

const AVAILABILITY_CASES: readonly ContractCase[] = [
  {
    name: "CPU_BUSY and CPU_AVAILABLE: each edge is told once, if asked for",
    requires: ["cpu_availability"],
    abi_versions: MODERN_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const { version } = host.kernel.abi;
      const tunable = "deliver_cpu_availability";
      expectEqual(lab.control.writeTunable(tunable, 1), 0, tunable);
      // Other threads of a real host come and go, too, on either CPU.
      const edges = (): number[] => {
        lab.takeMessages();
        const types = [MSG_CPU_BUSY, MSG_CPU_AVAILABLE];
        return lab.log.filter((message) => types.includes(message.type))
          .filter((message) => fieldsOf(version, message).cpu === 1).map(({ type }) => type);
      };
      const occupant = await lab.occupy(1);
      await lab.until(() => edges().at(-1) === MSG_CPU_BUSY, "CPU_BUSY");
      host.kill(occupant);
      await lab.until(() => edges().at(-1) === MSG_CPU_AVAILABLE, "CPU_AVAILABLE");
      await lab.messages();
      const wanted = edges().map((_, at) => at % 2 === 0 ? MSG_CPU_BUSY : MSG_CPU_AVAILABLE);
      expectEqual(edges(), wanted, "edges in turn");
      if (host.patience === 1) expectEqual(wanted.length, 2, "edges where no other thread is");
    },
  },
  {
    name: "CPU_BUSY and CPU_AVAILABLE: there are none unless asked for",
    rule: "message.availability_off",
    negative: true,
    requires: ["cpu_availability"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const occupant = await lab.occupy(1);
      await host.sleep(50_000);
      host.kill(occupant);
      await host.sleep(50_000);
      expectEqual((await messagesOfType(lab, MSG_CPU_BUSY)).length, 0, "CPU_BUSY");
      expectEqual((await messagesOfType(lab, MSG_CPU_AVAILABLE)).length, 0, "CPU_AVAILABLE");
    },
  },
  {
    name:
      "BOOST_PRIO: an agent that is in the way of the default class sees it, and no longer after",
    cpu_count: 1,
    run: async (host) => {
      const lab = await Lab.open(host);
      const isBoosted = (): boolean => (lab.agentFlags(0) & GHOST_SW_BOOST_PRIO) !== 0;
      await lab.hold(0);
      // Of a real CPU other threads want a moment now and then.
      const try_count = host.patience === 1 ? 0 : TRY_COUNT;
      for (let tries = 0; tries < try_count && isBoosted(); tries++) {
        await lab.release(0);
        await host.sleep(MOMENT_NS);
        await lab.hold(0);
      }
      expect(!isBoosted(), "not at first");
      const occupant = host.occupy(0);
      await lab.until(isBoosted, "boosted");
      await lab.release(0);
      host.kill(occupant);
      await lab.until(() => host.hasExited(occupant), "the other thread ends");
      // What the flag says while the agent sleeps is nobody's business: a kernel sets it when the
      // agent gets its CPU.
      await lab.call(0, NOTHING);
      for (let tries = 0; tries < try_count && isBoosted(); tries++) await lab.call(0, NOTHING);
      expect(!isBoosted(), "not when it has the CPU next");
    },
  },
];

const BLOCKING_CASES: readonly ContractCase[] = [
  {
    name: "AGENT_BLOCKED and AGENT_WAKEUP: an agent that sleeps is told, if asked for",
    requires: ["agent_runnability"],
    abi_versions: MODERN_ABIS,
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      const tunable = "deliver_agent_runnability";
      expectEqual(lab.control.writeTunable(tunable, 1), 0, tunable);
      lab.request(1, SLEEP, ASLEEP_NS);
      const { version } = host.kernel.abi;
      expectFields(version, await lab.message(MSG_CPU_AGENT_BLOCKED), { cpu: 1 });
      lab.takeMessages();
      expect(!lab.log.some((m) => m.type === MSG_CPU_AGENT_WAKEUP), "it still sleeps");
      await host.sleep(ASLEEP_NS);
      expectFields(version, await lab.message(MSG_CPU_AGENT_WAKEUP), { cpu: 1 });
    },
  },
  {
    name: "AGENT_BLOCKED and AGENT_WAKEUP: a yield is no blocking",
    requires: ["agent_runnability"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host);
      const tunable = "deliver_agent_runnability";
      expectEqual(lab.control.writeTunable(tunable, 1), 0, tunable);
      await lab.call(1, NOTHING);
      await lab.idle(1);
      const types = (await lab.messages()).map((message) => message.type);
      expect(!types.includes(MSG_CPU_AGENT_BLOCKED), "no AGENT_BLOCKED");
    },
  },
  {
    name: "AGENT_BLOCKED and AGENT_WAKEUP: there are none unless asked for",
    rule: "message.runnability_off",
    negative: true,
    requires: ["agent_runnability"],
    cpu_count: 2,
    run: async (host) => {
      const lab = await Lab.open(host, { queues: "one" });
      await lab.call(1, SLEEP, 100_000);
      await host.sleep(500_000);
      const types = (await lab.messages()).map((message) => message.type);
      expect(!types.includes(MSG_CPU_AGENT_BLOCKED), "no AGENT_BLOCKED");
      expect(!types.includes(MSG_CPU_AGENT_WAKEUP), "no AGENT_WAKEUP");
    },
  },
];

/** Messages about CPUs and agents. */
export const CPU_MESSAGE_CASES: readonly ContractCase[] = [
  ...TICK_CASES,
  ...TIMER_CASES,
  ...IDLE_CASES,
  ...AVAILABILITY_CASES,
  ...BLOCKING_CASES,
];

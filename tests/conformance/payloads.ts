/**
 * Payloads of messages as the reference writes them down, per ABI version: sizes and byte offsets,
 * kept apart from the tables in ffi/abi/ so that a mistake there is seen here.
 * Source: reference sections 1.3 and 1.7.
 *
 * @module
 */
import * as c from "../../ffi/abi/constants.ts";
import type { LoggedMessage } from "./case_memory.ts";
import { expect, expectEqual } from "./expect.ts";

/** Bytes of the header in front of each payload. */
const HEADER_BYTES = 8;

/** A payload: its size in bytes, and `name@offset:bytes` for each field. */
interface Payload {
  readonly type: number;
  readonly abi_versions: readonly number[];
  readonly size: number;
  readonly fields: string;
}

const ALL = [69, 84, 90, 91];
const MODERN = [84, 90, 91];
const NEWEST = [90, 91];
const OLD = [69, 84];
const OFF_CPU = "gtid@0:8 runtime@8:8 cpu_seqnum@16:8";

function payload(
  type: number,
  abi_versions: readonly number[],
  size: number,
  fields: string,
): Payload {
  return { type, abi_versions, size, fields };
}

const PAYLOADS: readonly Payload[] = [
  payload(c.MSG_TASK_NEW, [69], 32, "gtid@0:8 runtime@8:8 runnable@16:2 sw_id@20:4 sw_index@24:4"),
  payload(
    c.MSG_TASK_NEW,
    [84],
    40,
    "gtid@0:8 parent_gtid@8:8 runtime@16:8 runnable@24:2 nice@28:4 sw_id@32:4 sw_index@36:4",
  ),
  payload(
    c.MSG_TASK_NEW,
    NEWEST,
    48,
    "gtid@0:8 parent_gtid@8:8 runtime@16:8 runnable@24:2 nice@28:4 sw_id@32:4 sw_index@36:4 " +
      "agent_data@40:8",
  ),
  payload(c.MSG_TASK_DEAD, OLD, 8, "gtid@0:8"),
  payload(c.MSG_TASK_DEAD, NEWEST, 16, "gtid@0:8 cpu@8:4"),
  payload(c.MSG_TASK_BLOCKED, ALL, 32, `${OFF_CPU} cpu@24:4 from_switchto@28:1`),
  payload(
    c.MSG_TASK_WAKEUP,
    ALL,
    32,
    "gtid@0:8 agent_data@8:8 deferrable@16:1 last_ran_cpu@20:4 wake_up_cpu@24:4 waker_cpu@28:4",
  ),
  payload(
    c.MSG_TASK_PREEMPT,
    ALL,
    40,
    `${OFF_CPU} agent_data@24:8 cpu@32:4 from_switchto@36:1 was_latched@37:1`,
  ),
  payload(c.MSG_TASK_YIELD, ALL, 40, `${OFF_CPU} agent_data@24:8 cpu@32:4 from_switchto@36:1`),
  payload(
    c.MSG_TASK_DEPARTED,
    ALL,
    24,
    "gtid@0:8 cpu_seqnum@8:8 cpu@16:4 from_switchto@20:1 was_current@21:1",
  ),
  payload(c.MSG_TASK_SWITCHTO, ALL, 32, `${OFF_CPU} cpu@24:4`),
  payload(c.MSG_TASK_AFFINITY_CHANGED, ALL, 8, "gtid@0:8"),
  payload(
    c.MSG_TASK_ON_CPU,
    [69],
    32,
    "gtid@0:8 commit_time@8:8 cpu_seqnum@16:8 cpu@24:4 latched_preempt@28:1",
  ),
  payload(c.MSG_TASK_ON_CPU, MODERN, 32, "gtid@0:8 commit_time@8:8 cpu_seqnum@16:8 cpu@24:4"),
  payload(c.MSG_TASK_PRIORITY_CHANGED, MODERN, 16, "gtid@0:8 nice@8:4"),
  payload(c.MSG_TASK_LATCH_FAILURE, MODERN, 16, "gtid@0:8 errno@8:4"),
  payload(c.MSG_CPU_TICK, OLD, 4, "cpu@0:4"),
  payload(c.MSG_CPU_TICK, NEWEST, 8, "cpu@0:4 is_agent@4:4"),
  payload(c.MSG_CPU_TIMER_EXPIRED, ALL, 24, "cpu@0:4 type@8:8 cookie@16:8"),
  payload(c.MSG_CPU_NOT_IDLE, ALL, 16, "cpu@0:4 next_gtid@8:8"),
  payload(c.MSG_CPU_AVAILABLE, MODERN, 4, "cpu@0:4"),
  payload(c.MSG_CPU_BUSY, MODERN, 4, "cpu@0:4"),
  payload(c.MSG_CPU_AGENT_BLOCKED, MODERN, 4, "cpu@0:4"),
  payload(c.MSG_CPU_AGENT_WAKEUP, MODERN, 4, "cpu@0:4"),
];

/** Values of a message's fields by name; 64-bit fields other than gtids as one number. */
export type MessageFields = Readonly<Record<string, number>>;

function readField(view: DataView, offset: number, bytes: number): number {
  if (bytes === 1) return view.getInt8(offset);
  if (bytes === 2) return view.getUint16(offset, true);
  if (bytes === 4) return view.getInt32(offset, true);
  return view.getUint32(offset, true) + view.getInt32(offset + 4, true) * 2 ** 32;
}

/**
 * Reads a message by the reference's table.
 *
 * @param abi_version Version that the kernel speaks.
 * @throws {ContractFailure} If the version has no such message, or its length is another.
 */
export function fieldsOf(abi_version: number, message: LoggedMessage): MessageFields {
  const layout = PAYLOADS.find(({ type, abi_versions }) =>
    type === message.type && abi_versions.includes(abi_version)
  );
  expect(layout !== undefined, `ABI ${abi_version} has no message ${message.type}`);
  expectEqual(message.length, HEADER_BYTES + layout.size, `length of message ${message.type}`);
  const { buffer, byteOffset, byteLength } = message.payload;
  const view = new DataView(buffer, byteOffset, byteLength);
  return Object.fromEntries(
    layout.fields.split(" ").map((field) => {
      const [name, place] = field.split("@");
      const [offset, bytes] = place.split(":").map(Number);
      return [name, readField(view, offset, bytes)];
    }),
  );
}

/** Fails unless a message has these values in these fields; others are not looked at. */
export function expectFields(
  abi_version: number,
  message: LoggedMessage,
  expected: MessageFields,
): void {
  const fields = fieldsOf(abi_version, message);
  for (const [name, value] of Object.entries(expected)) {
    expectEqual(fields[name], value, `field ${name} of message ${message.type}`);
  }
}

/** A gtid as one number, as fields have it; exact, since thread ids are small. */
export function gtidNumber(thread: { readonly gtid_lo: number; readonly gtid_hi: number }): number {
  return (thread.gtid_lo >>> 0) + thread.gtid_hi * 2 ** 32;
}

/**
 * Requests that only agents of tests answer: those of upstream's agent_test (reference section
 * 8.2).
 *
 * @module
 */
import { OK_STATUS, type RpcType, StatusOr, statusOrType } from "../../lib/status.ts";
import { type AgentRpc, countAllTasks } from "../../util/rpc/requests.ts";

/** Three numbers, as upstream's test has them. */
export interface ThreeNumbers {
  /** i32 */
  readonly one: number;
  /** i64 */
  readonly two: bigint;
  /** i32 */
  readonly three: number;
}

/** How they are laid out. */
export const THREE_NUMBERS: RpcType<ThreeNumbers> = {
  bytes: 24,
  align: 8,
  write: (view, at, { one, two, three }) => {
    view.setInt32(at, one, true);
    view.setBigInt64(at + 8, two, true);
    view.setInt32(at + 16, three, true);
  },
  read: (view, at) => ({
    one: view.getInt32(at, true),
    two: view.getBigInt64(at + 8, true),
    three: view.getInt32(at + 16, true),
  }),
};

/** An i32. */
export const NUMBER: RpcType<number> = {
  bytes: 4,
  align: 4,
  write: (view, at, value) => view.setInt32(at, value, true),
  read: (view, at) => view.getInt32(at, true),
};

/** Answers with {@linkcode THREE_NUMBERS}. */
export const ASK_STRUCT = 100;
/** Answers with the third of the three numbers in the arguments. */
export const ASK_THIRD = 101;
/** Answers with an OK status. */
export const ASK_STATUS = 102;
/** Answers with 42, or why there is none. */
export const ASK_STATUS_OR = 103;
/** Answers with the sum of both arguments. */
export const ASK_SUM = 104;
/** Throws. */
export const ASK_TO_THROW = 105;

/** What {@linkcode ASK_STRUCT} is answered with. */
export const STRUCT: ThreeNumbers = { one: 3, two: 5n, three: -(2 ** 31) };

/** The requests of the tests, and that of fifo_per_cpu_agent. */
export const testRequests: AgentRpc = (request, args, response, enclave) => {
  countAllTasks(request, args, response, enclave);
  switch (request) {
    case ASK_STRUCT:
      response.response_code = 0n;
      return void response.buffer.serialize(THREE_NUMBERS, STRUCT);
    case ASK_THIRD:
      response.response_code = BigInt(args.buffer.deserialize(THREE_NUMBERS).value().three);
      return;
    case ASK_STATUS:
      response.response_code = 0n;
      return void response.buffer.serializeStatus(OK_STATUS);
    case ASK_STATUS_OR:
      response.response_code = 0n;
      return void response.buffer.serialize(statusOrType(NUMBER), StatusOr.of(42));
    case ASK_SUM:
      response.response_code = args.arg0 + args.arg1;
      return;
    case ASK_TO_THROW:
      throw new RangeError("planted: no such thing");
  }
};

import { assertEquals, assertInstanceOf, assertNotEquals } from "@std/assert";
import { FIFO_PER_CPU } from "../schedulers/fifo/per_cpu/scheduler.ts";
import { UsageError } from "./errors.ts";
import {
  parseRecording,
  policyHash,
  Recorder,
  RecordingComparer,
  type RecordingHeader,
} from "./recording.ts";

const HEADER: RecordingHeader = {
  kernel: "ghost",
  abi: 90,
  seed: 0,
  policy: "fifo_per_cpu",
  policy_hash: "0123456789abcdef",
  config: { program: "fifo_per_cpu_agent", ghost_cpus: "0-1" },
};

/** A small run. */
function record(sink: { write(line: string): void }, seq: number): number {
  const recorder = new Recorder(sink, HEADER);
  recorder.message(100, 3, 67, "2199023255552001", seq, true);
  recorder.message(101, 3, 128, "0", 7, false);
  recorder.commit(110, 1, "2199023255552001", -2147483648);
  return recorder.end();
}

Deno.test("a recording is JSON lines: header, messages, decisions, end", () => {
  const lines: string[] = [];
  assertEquals(record({ write: (line) => lines.push(line) }, 5), 3);
  assertEquals(lines.slice(1, 4), [
    '["m",100,3,67,"2199023255552001",5]\n',
    '["m",101,3,128,"0",7,"lost"]\n',
    '["c",110,1,"2199023255552001",-2147483648]\n',
  ]);
  assertEquals(JSON.parse(lines[0]), { magic: "ghost-agents-recording", format: 1, ...HEADER });
  assertEquals(JSON.parse(lines[4]).slice(0, 2), ["end", 3]);
});

Deno.test("a recording is read as it was written, and any change is noticed", () => {
  let text = "";
  record({ write: (line) => text += line }, 5);
  const recording = parseRecording(text, "run");
  if (recording instanceof UsageError) throw recording;
  assertEquals(recording.header.config, HEADER.config);
  assertEquals(recording.lines.join(""), text);
  for (let position = 0; position < text.length; position++) {
    const digit = text[position] === "8" ? "9" : "8";
    const changed = text.slice(0, position) + digit + text.slice(position + 1);
    assertInstanceOf(parseRecording(changed, "run"), UsageError, `character ${position}`);
    assertInstanceOf(parseRecording(text.slice(0, position), "run"), UsageError);
  }
});

Deno.test("a comparer tells equal runs from unequal ones while they run", () => {
  let text = "";
  record({ write: (line) => text += line }, 5);
  const recording = parseRecording(text, "run");
  if (recording instanceof UsageError) throw recording;
  const equal = new RecordingComparer(recording);
  record(equal, 5);
  assertEquals(equal.verdict(), "identical: 3 records");
  const unequal = new RecordingComparer(recording);
  record(unequal, 6);
  assertEquals(unequal.difference?.record, 1);
  assertEquals(
    unequal.verdict(),
    'differs at record 1: recorded ["m",100,3,67,"2199023255552001",5], ' +
      'now ["m",100,3,67,"2199023255552001",6]',
  );
});

Deno.test("policies that declare other things have other hashes", () => {
  const hash = policyHash(FIFO_PER_CPU, 4);
  assertEquals(policyHash({ ...FIFO_PER_CPU }, 4), hash);
  assertNotEquals(policyHash({ ...FIFO_PER_CPU, name: "other" }, 4), hash);
  assertNotEquals(policyHash({ ...FIFO_PER_CPU, queues: "global" }, 4), hash);
  const layout = () => ({ task: { extra: "i32" as const }, cpu: {}, global: {} });
  assertNotEquals(policyHash({ ...FIFO_PER_CPU, layout }, 4), hash);
});

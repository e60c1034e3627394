import { assertEquals } from "@std/assert";
import { LATEST_ABI } from "../ffi/abi/abi.ts";
import { runCc } from "../ffi/build.ts";
import * as layout from "../kernels/scx/scx_layout.ts";

/** Structs of ghost_abi.h and their names in ffi/abi; fields of theirs that are told. */
const STRUCTS: [string, string, string[]][] = [
  ["ghost_status_word", "ghost_status_word", ["barrier", "flags", "gtid", "runtime"]],
  ["ghost_txn", "ghost_txn", ["state", "task_barrier", "commit_flags", "gtid", "commit_time"]],
  ["ghost_cpu_data", "ghost_cpu_data", ["txn"]],
  ["ghost_msg_blocked", "ghost_msg_payload_task_blocked", ["runtime", "cpu"]],
  ["ghost_msg_preempt", "ghost_msg_payload_task_preempt", ["runtime", "agent_data", "cpu"]],
  ["ghost_msg_preempt", "ghost_msg_payload_task_yield", ["runtime", "agent_data", "cpu"]],
  ["ghost_msg_wakeup", "ghost_msg_payload_task_wakeup", ["last_ran_cpu", "waker_cpu"]],
  ["ghost_msg_new", "ghost_msg_payload_task_new", ["runtime", "runnable", "nice", "agent_data"]],
  ["ghost_msg_departed", "ghost_msg_payload_task_departed", ["cpu"]],
  ["ghost_msg_dead", "ghost_msg_payload_task_dead", ["cpu"]],
  ["ghost_msg_affinity_changed", "ghost_msg_payload_task_affinity_changed", ["gtid"]],
  ["ghost_msg_latch_failure", "ghost_msg_payload_task_latch_failure", ["gtid"]],
  ["ghost_msg_on_cpu", "ghost_msg_payload_task_on_cpu", ["commit_time", "cpu"]],
  ["ghost_msg_priority_changed", "ghost_msg_payload_task_priority_changed", ["nice"]],
  ["ghost_msg_timer_expired", "ghost_msg_payload_timer", ["type", "cookie"]],
  ["ghost_msg_cpu_not_idle", "ghost_msg_payload_cpu_not_idle", ["next_gtid"]],
  ["ghost_msg_cpu", "ghost_msg_payload_cpu_busy", ["cpu"]],
];

/** What a C program says that includes ghost_abi.h, line by line. */
async function askCompiler(statements: string): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  const header = new URL("./ghost_abi.h", import.meta.url).pathname;
  const source = `#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "${header}"
int main(void) {
${statements}
}
`;
  try {
    await Deno.writeTextFile(`${folder}/a.c`, source);
    runCc(["-o", `${folder}/a`, `${folder}/a.c`]);
    const { stdout } = await new Deno.Command(`${folder}/a`).output();
    return new TextDecoder().decode(stdout).trim().split("\n");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const PRINTS = STRUCTS.map(([name, , fields]) =>
  [
    `printf("${name} %zu\\n", sizeof(struct ${name}));`,
    ...fields.map((field) =>
      `printf("${name}.${field} %zu\\n", offsetof(struct ${name}, ${field}));`
    ),
  ].join("\n")
);

const SIZES = `
printf("ring %zu %zu\\n", offsetof(struct ghost_queue, head), offsetof(struct ghost_queue, slots));
printf("words %zu\\n", offsetof(struct ghost_sw_region, words));
printf("queue pages %zu\\n", sizeof(struct ghost_queue) % 4096);
`;

Deno.test("the scx program's structs have the sizes and offsets of ABI 91", async () => {
  const expected = STRUCTS.flatMap(([name, upstream, fields]) => {
    const layout = LATEST_ABI.structs[upstream];
    return [
      `${name} ${layout.size}`,
      ...fields.map((field) => {
        const found = layout.fields.find((one) => one.name === field);
        return `${name}.${field} ${found?.offset}`;
      }),
    ];
  });
  // The ring follows the queue's header at 64, its slots follow three indexes.
  const rest = ["ring 64 76", "words 64", "queue pages 0"];
  assertEquals(await askCompiler(PRINTS.join("\n") + SIZES), [...expected, ...rest]);
});

Deno.test("this process and the scx program mean the same sizes and operations", async () => {
  const sizes: [string, number][] = [
    ["MAX_CPUS", layout.SCX_CPU_COUNT],
    ["ENCLAVE_COUNT", layout.SCX_ENCLAVE_COUNT],
    ["WORD_COUNT", layout.SCX_WORD_COUNT],
    ["QUEUE_COUNT_MAX", layout.SCX_QUEUE_COUNT_MAX],
    ["sizeof(struct ghost_queue)", layout.QUEUE_STRIDE_BYTES],
    ["sizeof(struct ghost_sw_region)", layout.SW_REGION_BYTES],
    ["sizeof(struct scx_turn)", layout.TURN_BYTES],
    ["sizeof(struct scx_report)", layout.REPORT_BYTES],
    ["sizeof(struct scx_exit_dump)", layout.EXIT_DUMP_BYTES],
    ["sizeof(struct scx_enclave)", layout.ENCLAVE_BYTES],
    ["SCX_TUNABLE_COUNT", layout.SCX_TUNABLES.length],
    ...Object.entries(layout.SCX_OP).map(([name, number]): [string, number] => [
      `SCX_OP_${name.toUpperCase()}`,
      number,
    ]),
  ];
  const prints = sizes.map(([name]) => `printf("${name} %ld\\n", (long)${name});`).join("\n");
  assertEquals(await askCompiler(prints), sizes.map(([name, value]) => `${name} ${value}`));
});

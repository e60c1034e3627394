import { assertEquals } from "@std/assert";
import { SCHED_BATCH, SCHED_FIFO, SCHED_OTHER, SCHED_RESET_ON_FORK } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { endHurry, hurry } from "./hurry.ts";

const { schedGetscheduler, schedSetscheduler } = loadShim();
const may_hurry = schedSetscheduler(0, SCHED_FIFO, 1, 1) >= 0;
schedSetscheduler(0, SCHED_OTHER, 0, 0);

Deno.test({
  name: "a thread that hurries is a real-time thread until it no longer does; " +
    "it needs CAP_SYS_NICE",
  ignore: !may_hurry,
  fn: () => {
    hurry();
    const hurried = schedGetscheduler(0);
    endHurry();
    assertEquals(
      [hurried, schedGetscheduler(0)],
      [SCHED_FIFO | SCHED_RESET_ON_FORK, SCHED_OTHER],
    );
  },
});

Deno.test("a thread that somebody gave a class of its own keeps it", () => {
  schedSetscheduler(0, SCHED_BATCH, 0, 0);
  try {
    hurry();
    const hurried = schedGetscheduler(0);
    endHurry();
    assertEquals([hurried, schedGetscheduler(0)], [SCHED_BATCH, SCHED_BATCH]);
  } finally {
    schedSetscheduler(0, SCHED_OTHER, 0, 0);
  }
});

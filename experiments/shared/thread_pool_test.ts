import { assert, assertEquals } from "@std/assert";
import { loadExperiments } from "../../ffi/experiments.ts";

const COUNTS = [1, 10, 100, 1000];

/** Waits until a condition holds; the machine may be busy. */
async function until(holds: () => boolean): Promise<void> {
  for (let waited_ms = 0; !holds(); waited_ms += 5) {
    assert(waited_ms < 60_000, "waited for a minute");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function withThreads(
  count: number,
  run: (handle: number, library: ReturnType<typeof loadExperiments>) => Promise<void> | void,
): Promise<void> {
  const library = loadExperiments();
  const handle = library.idleCreate(count);
  assert(handle > 0, `errno ${-handle}`);
  try {
    await run(handle, library);
  } finally {
    for (let sid = 0; sid < count; sid++) library.poolMarkExit(handle, sid);
    library.poolGo(handle);
    await library.poolFree(handle);
  }
}

Deno.test("thread_pool_test Launch: 1 to 1000 threads start, and end when they are told", async () => {
  for (const count of COUNTS) {
    await withThreads(count, async (handle, library) => {
      library.poolGo(handle);
      assertEquals(library.poolExited(handle), 0);
      for (let sid = 0; sid < count; sid++) library.poolMarkExit(handle, sid);
      await until(() => library.poolExited(handle) === count);
    });
  }
});

Deno.test("thread_pool_test Gtid: thread ids come in the order of the threads' numbers", async () => {
  for (const count of COUNTS) {
    await withThreads(count, (handle, library) => {
      const tids = new Set<number>();
      for (let sid = 0; sid < count; sid++) {
        const tid = library.poolTid(handle, sid);
        const name = Deno.readTextFileSync(`/proc/self/task/${tid}/comm`).trim();
        assertEquals(name, `idle-${sid}`);
        tids.add(tid);
      }
      assertEquals(tids.size, count);
      assertEquals(library.poolTid(handle, count), -22);
    });
  }
});

Deno.test("thread_pool_test Trigger: an end is triggered once, and wakes the thread that waits", async () => {
  await withThreads(2, async (handle, library) => {
    library.poolGo(handle);
    assertEquals(library.poolMarkExit(handle, 0), 1);
    assertEquals(library.poolMarkExit(handle, 0), 0);
    await until(() => library.poolExited(handle) === 1);
    const tid = library.poolTid(handle, 1);
    assert(Deno.statSync(`/proc/self/task/${tid}`).isDirectory, "the other one still waits");
  });
});

Deno.test("threads of a pool take no signals and are bound to no CPU of their creator", async () => {
  await withThreads(1, (handle, library) => {
    const status = Deno.readTextFileSync(
      `/proc/self/task/${library.poolTid(handle, 0)}/status`,
    );
    const blocked = BigInt(`0x${/^SigBlk:\s*(\w+)$/m.exec(status)![1]}`);
    for (const signal of [2, 10, 14, 15]) assert(blocked >> BigInt(signal - 1) & 1n, `${signal}`);
    const init = Deno.readTextFileSync("/proc/self/status");
    const allowed = (text: string): string => /^Cpus_allowed_list:\s*(\S+)$/m.exec(text)![1];
    assertEquals(allowed(status), allowed(init));
  });
});

Deno.test("threads that yield end when they have yielded", async () => {
  const library = loadExperiments();
  const handle = library.yieldCreate(4, 100);
  assertEquals(library.poolExited(handle), 0, "nothing runs before it is let go");
  library.poolGo(handle);
  await library.poolFree(handle);
});

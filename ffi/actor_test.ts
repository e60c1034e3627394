import { assert, assertEquals } from "@std/assert";
import { compileScript, cpuMaskBytes } from "../tests/conformance/actor_script.ts";
import type { ThreadAction } from "../tests/conformance/host.ts";
import { Actor, ACTOR_JOIN } from "./actor.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ } from "./linux.ts";
import { loadShim } from "./shim.ts";

const NAMES = {
  handleOf: () => -1,
  joinOperation: () => [ACTOR_JOIN, -1] as const,
};

function actorOf(script: readonly ThreadAction[], handleOf: () => number = NAMES.handleOf): Actor {
  return new Actor(compileScript([], script, { ...NAMES, handleOf }));
}

async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 5000 && !condition(); turn++) {
    await new Promise((done) => setTimeout(done, 2));
  }
  assert(condition(), condition.toString());
}

/** A field of /proc/TID/status. */
function status(tid: number, field: string): string {
  const text = Deno.readTextFileSync(`/proc/${tid}/status`);
  return text.match(new RegExp(`^${field}:\\s*(.*)$`, "m"))?.[1] ?? "";
}

function readTextLink(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch {
    return "";
  }
}

function end(...actors: readonly Actor[]): void {
  for (const actor of actors) {
    actor.kill();
    actor.reap();
  }
}

Deno.test("an actor blocks until it is woken, and a wake-up that came before counts", async () => {
  const [early, late] = [actorOf([{ op: "block" }]), actorOf([{ op: "block" }, { op: "block" }])];
  early.wake();
  await until(() => early.hasExited());
  late.wake();
  await until(() => status(late.tid, "State").startsWith("S"));
  assert(!late.hasExited());
  late.wake();
  await until(() => late.hasExited());
  end(early, late);
});

Deno.test("an actor is a child of this process and shares its files, not its memory", () => {
  const { mmap, munmap } = loadShim();
  const first = actorOf([{ op: "block" }]);
  const address = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const file = Deno.openSync("/dev/zero");
  const second = actorOf([{ op: "block" }]);
  try {
    const maps = (pid: number | string) => Deno.readTextFileSync(`/proc/${pid}/maps`);
    const ours = new RegExp(`^${address.toString(16)}-`, "m");
    assert(ours.test(maps("self")));
    for (const { tid } of [first, second]) {
      assertEquals(Number(status(tid, "PPid")), Deno.pid);
      assert(!ours.test(maps(tid)));
      // The descriptor that lists them is among them, and gone afterwards.
      const links = [...Deno.readDirSync(`/proc/${tid}/fd`)].map(({ name }) =>
        readTextLink(`/proc/${tid}/fd/${name}`)
      );
      assert(links.includes("/dev/zero"), `${links}`);
    }
  } finally {
    end(first, second);
    file.close();
    munmap(address, 4096);
  }
});

Deno.test("an actor is killed alone, wherever it is", async () => {
  const spinning = actorOf([{ op: "run", ns: 1e12 }]);
  const blocked = actorOf([{ op: "block" }]);
  const other = actorOf([{ op: "block" }]);
  spinning.kill();
  blocked.kill();
  await until(() => spinning.hasExited() && blocked.hasExited());
  assert(!other.hasExited());
  end(spinning, blocked, other);
});

Deno.test("an actor runs, sleeps, yields and repeats, then ends by itself", async () => {
  const { clockMonotonicNs } = loadShim();
  const start_ns = clockMonotonicNs();
  const actor = actorOf([{
    op: "repeat",
    count: 3,
    actions: [{ op: "run", ns: 1e6 }, { op: "sleep", ns: 2e6 }, { op: "yield" }],
  }]);
  await until(() => actor.hasExited());
  const took_ns = clockMonotonicNs() - start_ns;
  assert(took_ns >= 9e6, `3 times 1 ms of work and 2 ms of sleep took ${took_ns} ns`);
  end(actor);
});

Deno.test("an actor sets its CPUs and its nice value, wakes another one and forks", async () => {
  const sleeper = actorOf([{ op: "block" }]);
  const actor = actorOf([
    { op: "affinity", cpus: [0] },
    { op: "nice", nice: 5 },
    { op: "wake", tid: 0 },
    { op: "fork", script: [{ op: "block" }] },
    { op: "block" },
  ], () => sleeper.handle);
  await until(() => sleeper.hasExited());
  await until(() => status(actor.tid, "State").startsWith("S"));
  assertEquals(status(actor.tid, "Cpus_allowed_list"), "0");
  const fields = Deno.readTextFileSync(`/proc/${actor.tid}/stat`).split(") ")[1].split(" ");
  assertEquals(fields[16], "5");
  assert(!actor.hasExited());
  end(actor, sleeper);
});

Deno.test("a mask has a bit for each CPU", () => {
  assertEquals([...cpuMaskBytes([0, 9]).subarray(0, 2)], [1, 2]);
});

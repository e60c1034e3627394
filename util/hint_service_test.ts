import { assert, assertEquals, assertMatch } from "@std/assert";
import { HintReader } from "../shared/hint_reader.ts";
import { HintRegistry, makeHintRegistry, RegisteredHints } from "../shared/hint_registry.ts";
import { HINT_TABLE_COUNT, HintNews, NEWS_TABLE_GONE, NEWS_THREAD } from "../shared/hint_source.ts";
import { SCHED_ITEM_RUNNABLE, SchedItem, SharedMemoryError } from "../shared/prio_table.ts";
import { PrioTableClient } from "../shared/prio_table_client.ts";
import { Peer } from "../tests/peers/c_peer.ts";
import { type AttachedTable, HINT_HOST, type HintHost, HintService } from "./hint_service.ts";

/** gtid of a thread, as two words. */
function gtid(tid: number): [lo: number, hi: number] {
  return [1, tid << 9];
}

/** A host of made-up processes: tid to pid, and what attaching gives. */
class FakeHost implements HintHost {
  readonly pids = new Map<number, number>();
  readonly refusals = new Map<number, SharedMemoryError>();
  readonly closed: number[] = [];
  attach_count = 0;
  now = 0;
  readonly procfs = {
    prefix: "",
    read: (path: string) => {
      const pid = this.pids.get(Number(/^\/proc\/(\d+)\/status$/.exec(path)?.[1]));
      return pid === undefined ? undefined : `Name:\tx\nTgid:\t${pid}\n`;
    },
    readLink: () => undefined,
  };

  attach(pid: number): AttachedTable | SharedMemoryError {
    this.attach_count++;
    return this.refusals.get(pid) ??
      { handle: undefined, close: () => void this.closed.push(pid) };
  }

  hasThreads(pid: number): boolean {
    return [...this.pids.values()].includes(pid);
  }

  nowMs(): number {
    return this.now;
  }
}

interface Bench {
  readonly host: FakeHost;
  readonly said: string[];
  readonly agent: RegisteredHints;
  readonly service: HintService;
  /** News that the agent takes. */
  readonly news: () => [kind: number, table: number, tid: number][];
}

function bench(): Bench {
  const host = new FakeHost();
  const said: string[] = [];
  const registry = makeHintRegistry();
  const agent = new RegisteredHints(registry);
  const service = new HintService(registry, (text) => said.push(text), host);
  const news = () => {
    const taken: [number, number, number][] = [];
    const one = new HintNews();
    while (agent.takeNews(one)) taken.push([one.kind, one.table, one.gtid_hi >> 9]);
    return taken;
  };
  return { host, said, agent, service, news };
}

Deno.test("hints: threads of one process share a place, others have their own", () => {
  const { host, agent, service, news } = bench();
  for (const [tid, pid] of [[100, 100], [101, 100], [200, 200]]) host.pids.set(tid, pid);
  for (const tid of [100, 101, 200]) assertEquals(agent.indexOf(...gtid(tid)), -1);
  service.poll();
  assertEquals(news(), [[NEWS_THREAD, 0, 100], [NEWS_THREAD, 0, 101], [NEWS_THREAD, 1, 200]]);
  assertEquals(host.attach_count, 2);
});

Deno.test("hints: a process without a table is no fault; one with a bad table is told of once", () => {
  const { host, agent, service, news, said } = bench();
  for (const tid of [100, 101, 200]) host.pids.set(tid, tid - tid % 100);
  host.refusals.set(100, new SharedMemoryError("NO_REGION", "none", "make one"));
  host.refusals.set(200, new SharedMemoryError("WRONG_VERSION", "version 7 instead of 0", "build"));
  for (const tid of [100, 200]) agent.indexOf(...gtid(tid));
  service.poll();
  host.now = 1000;
  for (const tid of [101, 200]) agent.indexOf(...gtid(tid));
  service.poll();
  assertEquals(news(), []);
  assertEquals(said.length, 1);
  assertMatch(said[0], /^no hints from process 200: version 7 instead of 0; build; until then/);
});

Deno.test("hints: a refusing process is not asked again at once, and may have a table later", () => {
  const { host, agent, service, news } = bench();
  host.pids.set(100, 100);
  host.refusals.set(100, new SharedMemoryError("NO_REGION", "none", "make one"));
  for (let count = 0; count < 5; count++) agent.indexOf(...gtid(100));
  service.poll();
  assertEquals(host.attach_count, 1);
  host.refusals.clear();
  host.now = 200;
  agent.indexOf(...gtid(100));
  service.poll();
  assertEquals(news(), [[NEWS_THREAD, 0, 100]]);
});

Deno.test("hints: a table goes only when the agent knows that its process has ended", () => {
  const { host, agent, service, news } = bench();
  host.pids.set(100, 100);
  agent.indexOf(...gtid(100));
  service.poll();
  news();
  host.pids.clear();
  host.now = 1000;
  service.poll();
  service.poll();
  assertEquals(host.closed, []);
  assertEquals(news(), [[NEWS_TABLE_GONE, 0, 0]]);
  service.poll();
  assertEquals(host.closed, [100]);
});

Deno.test("hints: a table goes with the last thread that the agent schedules, and may come again", () => {
  const { host, agent, service, news } = bench();
  for (const tid of [100, 101]) host.pids.set(tid, 100);
  for (const tid of [100, 101]) agent.indexOf(...gtid(tid));
  service.poll();
  host.pids.delete(100);
  host.now = 1000;
  service.poll();
  assertEquals(news().map(([kind]) => kind), [NEWS_THREAD, NEWS_THREAD]);
  // The process goes on, but its last thread has left ghOSt.
  host.pids.clear();
  host.now = 2000;
  service.poll();
  assertEquals(news(), [[NEWS_TABLE_GONE, 0, 0]]);
  service.poll();
  assertEquals(host.closed, [100]);
  host.pids.set(102, 100);
  agent.indexOf(...gtid(102));
  service.poll();
  assertEquals(news(), [[NEWS_THREAD, 0, 102]]);
});

/** Descriptors and mappings of this process. */
function holdings(): { fd_count: number; table_count: number } {
  const maps = Deno.readTextFileSync("/proc/self/maps").split("\n");
  return {
    fd_count: [...Deno.readDirSync("/proc/self/fd")].length,
    table_count: maps.filter((line) => line.includes("ghost-shmem-priotable")).length,
  };
}

Deno.test("hints: of many processes that come and go no descriptor and no mapping is left", async () => {
  const host = Object.assign(new FakeHost(), { attach: HINT_HOST.attach });
  const said: string[] = [];
  const registry = makeHintRegistry();
  const agent = new RegisteredHints(registry);
  const service = new HintService(registry, (text) => said.push(text), host);
  const news = new HintNews();
  const before = holdings();
  const [batch_count, batch] = [5, HINT_TABLE_COUNT - 4];
  try {
    for (let n = 0; n < batch_count; n++) {
      const peers = Array.from(
        { length: batch },
        () => new Peer("prio_table_peer", "create", 10, 2, 19, 0),
      );
      await Promise.all(peers.map((peer) => peer.line()));
      for (const { pid } of peers) {
        host.pids.set(pid, pid);
        agent.indexOf(...gtid(pid));
      }
      service.poll();
      assertEquals(said, []);
      assert(holdings().table_count >= batch);
      await Promise.all(peers.map((peer) => peer.kill()));
      host.pids.clear();
      host.now += 1000;
      service.poll();
      while (agent.takeNews(news));
      service.poll();
      assertEquals(holdings(), before);
    }
  } finally {
    service.stop();
  }
});

Deno.test("hints: threads of the default class are none that an agent schedules", () => {
  assertEquals(HINT_HOST.hasThreads(Deno.pid), false);
  assertEquals(HINT_HOST.hasThreads(2 ** 30), false);
});

Deno.test("hints: processes beyond the places go without, and one of them is told of", () => {
  const { host, agent, service, news, said } = bench();
  for (let pid = 1; pid <= HINT_TABLE_COUNT + 1; pid++) {
    host.pids.set(pid, pid);
    agent.indexOf(...gtid(pid));
  }
  service.poll();
  assertEquals(news().length, HINT_TABLE_COUNT);
  assertEquals(said.length, 1);
});

Deno.test("hints: more questions than there is room for are left, and nothing breaks", () => {
  const { host, agent, service, news } = bench();
  host.pids.set(100, 100);
  for (let count = 0; count < 20_000; count++) agent.indexOf(...gtid(100));
  service.poll();
  assertEquals(news().length, 16_384);
});

Deno.test("hints: a real table of a process is read through the registry, and let go", () => {
  const client = PrioTableClient.create(10, 1);
  const buffer = makeHintRegistry();
  const agent = new RegisteredHints(buffer);
  const said: string[] = [];
  const service = new HintService(buffer, (text) => said.push(text), {
    ...HINT_HOST,
    hasThreads: () => true,
    procfs: { prefix: "", read: () => `Tgid:\t${Deno.pid}\n`, readLink: () => undefined },
  });
  try {
    agent.indexOf(...gtid(4711));
    service.poll();
    const news = new HintNews();
    assert(agent.takeNews(news), said.join());
    assertEquals([news.kind, news.table], [NEWS_THREAD, 0]);
    const item = new SchedItem();
    item.sid = 3;
    [item.gtid_lo, item.gtid_hi] = gtid(4711);
    item.flags = SCHED_ITEM_RUNNABLE;
    client.setSchedItem(3, item);
    const reader = new HintReader(agent);
    reader.begin();
    assert(reader.next());
    assertEquals([reader.table, reader.item.sid, reader.item.gtid_hi >> 9], [0, 3, 4711]);
    assertEquals(reader.next(), false);
    assert(reader.hasWork(0, 3));
    new HintRegistry(buffer).setTable(0, undefined);
    agent.takeNews(news);
    assertEquals(agent.tables[0].item_count, 0);
    assertEquals(reader.hasWork(0, 3), false);
  } finally {
    service.stop();
    client.table.close();
  }
});

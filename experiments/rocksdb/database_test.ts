import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { loadRocksdb } from "../../ffi/rocksdb.ts";
import { OperatingError, UsageError } from "../../lib/errors.ts";
import { Database, prepareFolder } from "./database.ts";
import { fakeRocksdb, HAS_ROCKSDB, testLibraries, withLibrary } from "./test_library.ts";

const ENTRY_COUNT = 20_000;

/** Checks a filled database of each library. */
async function check(t: Deno.TestContext, run: (database: Database) => void): Promise<void> {
  for (const library of testLibraries()) {
    await t.step(library.name, () =>
      withLibrary(library, async (folder) => {
        const database = await Database.open(folder, ENTRY_COUNT);
        assert(database instanceof Database, String(database));
        assertEquals(await database.prepare(), undefined);
        run(database);
        database.close();
      }));
  }
}

Deno.test("database_test GetNoEntry: an entry behind the last one is not found", (t) =>
  check(t, (database) => assertEquals(database.get(ENTRY_COUNT), undefined)));

Deno.test("database_test Get: an entry's value is found", (t) =>
  check(t, (database) => assertEquals(database.get(5), "value0000000000000005")));

Deno.test("database_test RangeNoStartEntry: a range behind the last entry is not found", (t) =>
  check(t, (database) => assertEquals(database.range(ENTRY_COUNT, 10), undefined)));

Deno.test("database_test RangeNoMiddleEntry: a range half behind the end is not found", (t) =>
  check(t, (database) => assertEquals(database.range(ENTRY_COUNT - 5, 10), undefined)));

Deno.test("database_test RangeNoEndEntry: a range one behind the end is not found", (t) =>
  check(t, (database) => {
    assertEquals(database.range(ENTRY_COUNT - 9, 10), undefined);
    assertEquals(database.range(ENTRY_COUNT - 10, 10)?.length, 10 * 22 - 1);
  }));

Deno.test("database_test RangeSizeOne: a range of one is a value", (t) =>
  check(t, (database) => assertEquals(database.range(5, 1), "value0000000000000005")));

Deno.test("database_test Range: values come with commas between them", (t) =>
  check(t, (database) => {
    const values = Array.from({ length: 10 }, (_, i) => `value${String(5 + i).padStart(16, "0")}`);
    assertEquals(database.range(5, 10), values.join(","));
  }));

Deno.test(
  HAS_ROCKSDB
    ? "rocksdb: a database of the real library is kept and not filled again"
    : "rocksdb: skipped with the real library, which is not installed; a stand-in's is kept",
  async () => {
    const library = testLibraries().at(-1)!;
    await withLibrary(library, async (folder) => {
      for (const want of ["filling", "reading"]) {
        const database = await Database.open(folder, ENTRY_COUNT);
        assert(database instanceof Database, String(database));
        const seen = new Set<string>();
        // Told at least when it takes longer than a moment; the answer decides, not the calls.
        assertEquals(await database.prepare((what) => seen.add(what)), undefined);
        if (want === "reading") assert(!seen.has("filling"));
        assertEquals(database.get(ENTRY_COUNT - 1), `value${"19999".padStart(16, "0")}`);
        database.close();
      }
    });
  },
);

async function withFake(run: (folder: string) => Promise<void>): Promise<void> {
  await withLibrary({ name: "fake", paths: [fakeRocksdb()] }, run);
}

Deno.test("rocksdb: a broken database is made again, one that is locked is not touched", () =>
  withFake(async (folder) => {
    Deno.writeTextFileSync(`${folder}/BROKEN`, "");
    const database = await Database.open(folder, ENTRY_COUNT);
    assert(database instanceof Database, String(database));
    database.close();
    Deno.writeTextFileSync(`${folder}/BROKEN`, "");
    Deno.writeTextFileSync(`${folder}/LOCKED`, "");
    const locked = await Database.open(folder, ENTRY_COUNT);
    assertInstanceOf(locked, OperatingError);
    assert(locked.message.includes("end the process that has it open"), locked.message);
    assert(Deno.statSync(`${folder}/BROKEN`).isFile, "nothing was destroyed");
  }));

Deno.test("rocksdb: a full file system and a wrong value are told in one line", () =>
  withFake(async (folder) => {
    Deno.writeTextFileSync(`${folder}/FULL`, "");
    const full = await Database.open(folder, ENTRY_COUNT);
    assert(full instanceof Database, String(full));
    const full_fault = await full.prepare();
    assert(full_fault?.message.includes("No space left on device"), full_fault?.message);
    full.close();
    Deno.removeSync(`${folder}/FULL`);
    Deno.writeTextFileSync(`${folder}/WRONG`, "");
    const wrong = await Database.open(folder, ENTRY_COUNT);
    assert(wrong instanceof Database, String(wrong));
    const wrong_fault = await wrong.prepare();
    assert(wrong_fault?.message.includes("19999 right entries of 20000"), wrong_fault?.message);
    assertEquals(wrong.get(7), undefined);
    assertEquals(wrong.range(5, 10), undefined);
    wrong.close();
  }));

Deno.test("rocksdb: a folder that cannot be written is a usage error, a missing one is made", () => {
  const folder = Deno.makeTempDirSync();
  try {
    assertEquals(prepareFolder(`${folder}/a/b`), undefined);
    assertEquals([...Deno.readDirSync(`${folder}/a/b`)], []);
    Deno.writeTextFileSync(`${folder}/file`, "");
    const fault = prepareFolder(`${folder}/file`);
    assertInstanceOf(fault, UsageError);
    assert(fault.message.startsWith(`cannot write the database folder ${folder}/file`));
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("rocksdb: a library that is missing or is not RocksDB is told with the cure", () => {
  const missing = loadRocksdb(["librocksdb.so.0"]);
  assert(missing?.message.includes("librocksdb.so.0"), missing?.message);
  assert(missing?.message.includes("apt install librocksdb7.8"));
  const other = loadRocksdb(["libc.so.6", "librocksdb.so.0"]);
  assert(other?.message.includes("rocksdb_options_create is missing"), other?.message);
});

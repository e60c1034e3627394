import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { UsageError } from "../lib/errors.ts";
import { OutputFile } from "./output_file.ts";

async function withFolder(test: (folder: string) => void): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "output_file_" });
  try {
    test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function open(path: string): OutputFile {
  const file = OutputFile.open(path);
  if (file instanceof UsageError) throw file;
  return file;
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name);
}

Deno.test("a file is in its place only when it is complete", () =>
  withFolder((folder) => {
    const path = `${folder}/trace.json`;
    const file = open(path);
    file.write("one ");
    file.write("two");
    assertEquals(names(folder).includes("trace.json"), false);
    file.commit();
    assertEquals(Deno.readTextFileSync(path), "one two");
    assertEquals(names(folder), ["trace.json"]);
  }));

Deno.test("a file that is abandoned leaves nothing, and what was there before stays", () =>
  withFolder((folder) => {
    const path = `${folder}/trace.json`;
    Deno.writeTextFileSync(path, "old");
    const file = open(path);
    file.write("new");
    file.abandon();
    assertEquals(names(folder), ["trace.json"]);
    assertEquals(Deno.readTextFileSync(path), "old");
  }));

Deno.test("commit and abandon after the end do nothing", () =>
  withFolder((folder) => {
    const path = `${folder}/a`;
    const file = open(path);
    file.commit();
    file.commit();
    file.abandon();
    assertEquals(Deno.readTextFileSync(path), "");
  }));

Deno.test("text of any length and script is written whole", () =>
  withFolder((folder) => {
    const text = "µs ☃ 🙂 " + "0123456789".repeat(5000);
    const file = open(`${folder}/a`);
    for (let count = 0; count < 3; count++) file.write(text);
    file.write("x".repeat(100_000));
    file.commit();
    assertEquals(Deno.readTextFileSync(`${folder}/a`), text.repeat(3) + "x".repeat(100_000));
  }));

Deno.test("a link stays a link, and the file it leads to is replaced", () =>
  withFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/real`, "old");
    Deno.symlinkSync(`${folder}/real`, `${folder}/link`);
    const file = open(`${folder}/link`);
    file.write("new");
    file.commit();
    assertEquals(Deno.readTextFileSync(`${folder}/real`), "new");
    assertEquals(Deno.lstatSync(`${folder}/link`).isSymlink, true);
  }));

Deno.test("a device is written to and not replaced", () => {
  const file = open("/dev/null");
  file.write("text");
  file.commit();
  assertEquals(Deno.statSync("/dev/null").isFile, false);
});

Deno.test("a path that cannot be written is a usage error and creates nothing", () =>
  withFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/file`, "");
    for (const path of ["", folder, `${folder}/none/a`, `${folder}/file/a`]) {
      const result = OutputFile.open(path);
      assertInstanceOf(result, UsageError, path);
      assertEquals(result.exit_status, 2);
      assertStringIncludes(result.message, path);
      assertEquals(result.message.includes("\n"), false);
    }
    assertEquals(names(folder), ["file"]);
  }));

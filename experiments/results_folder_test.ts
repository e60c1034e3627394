import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import { UsageError } from "../lib/errors.ts";
import { ResultsFolder } from "./results_folder.ts";

function withFolder(run: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    run(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("results: both files appear when they are complete, in a folder that is made", () => {
  withFolder((folder) => {
    const results = ResultsFolder.open(`${folder}/a/b`, "points");
    assert(results instanceof ResultsFolder);
    assertEquals(
      results.commit("x,y\n", "<p>"),
      `wrote ${folder}/a/b/points.csv and ${folder}/a/b/points.html`,
    );
    assertEquals(Deno.readTextFileSync(`${folder}/a/b/points.csv`), "x,y\n");
    assertEquals(Deno.readTextFileSync(`${folder}/a/b/points.html`), "<p>");
  });
});

Deno.test("results: an abandoned run and a folder that cannot be made leave nothing", () => {
  withFolder((folder) => {
    const results = ResultsFolder.open(folder, "points");
    assert(results instanceof ResultsFolder);
    results.abandon();
    assertEquals([...Deno.readDirSync(folder)], []);
    Deno.writeTextFileSync(`${folder}/file`, "");
    const fault = ResultsFolder.open(`${folder}/file/x`, "points");
    assertInstanceOf(fault, UsageError);
    assert(fault.message.startsWith(`cannot make the folder ${folder}/file/x`), fault.message);
    assertInstanceOf(ResultsFolder.open("", "points"), UsageError);
  });
});

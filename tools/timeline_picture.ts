/**
 * Makes docs/timeline.png, the picture in the README: runs the demo, then has Chromium photograph a
 * part of its page. Needs `chromium` (Debian: `apt-get install chromium`).
 *
 * Run as: `deno run -A tools/timeline_picture.ts`.
 *
 * @module
 */
import { rootPath } from "./std_source.ts";

/** Where starting the threads of SimpleExpMany ends and both CPUs belong to ghOSt, in ns. */
const WINDOW = "26250000-26370000";
const SIZE = "1200,430";
const PICTURE = "docs/timeline.png";

async function run(command: string, args: readonly string[]): Promise<boolean> {
  try {
    const { success } = await new Deno.Command(command, {
      args: [...args],
      cwd: rootPath(),
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function main(): Promise<number> {
  if (!await run(Deno.execPath(), ["task", "demo"])) {
    console.error("timeline_picture: the demo failed; run `deno task demo` to see why");
    return 1;
  }
  const made = await run("chromium", [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
    `--window-size=${SIZE}`,
    `--screenshot=${rootPath()}/${PICTURE}`,
    `file://${rootPath()}/out/simple_exp.html#${WINDOW}`,
  ]);
  if (!made) {
    console.error("timeline_picture: chromium is missing or failed; `apt-get install chromium`");
    return 1;
  }
  console.log(`wrote ${PICTURE}`);
  return 0;
}

if (import.meta.main) Deno.exit(await main());

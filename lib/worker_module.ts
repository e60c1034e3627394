/**
 * The module to start Workers from. One bundle is both main program and Worker, so in an
 * executable it is the bundle itself; from the sources it is util/main.ts, which a bundle is made
 * of. A Worker's first message is `{entry: NAME, ...}`, a name of util/programs.ts's table.
 *
 * @module
 */

/**
 * URL for `new Worker(url, { type: "module" })`.
 *
 * @param module_url This module's own URL; other values are for tests.
 */
export function workerModuleUrl(module_url: string = import.meta.url): string {
  if (!module_url.endsWith("/lib/worker_module.ts")) return module_url;
  return new URL("../util/main.ts", module_url).href;
}

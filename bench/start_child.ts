/**
 * Entry of the executable that start_bench.ts builds; as that of all programs (util/main.ts), it
 * loads what it is about to be.
 *
 * @module
 */
import type { WorkerMessage } from "../util/programs.ts";

async function runWorker(message: WorkerMessage): Promise<void> {
  const { workerMain } = await import("../util/agent_worker.ts");
  await workerMain(message);
}

if ("WorkerGlobalScope" in globalThis) {
  globalThis.addEventListener(
    "message",
    (event) => void runWorker((event as MessageEvent<WorkerMessage>).data),
    { once: true },
  );
} else if (import.meta.main) {
  const { main } = await import("./start_agent.ts");
  Deno.exit(await main(Deno.args));
}

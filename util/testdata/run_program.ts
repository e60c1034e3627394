/**
 * `ghostctl run` with an enclave for tests, as a process of its own: it becomes its command.
 *
 * @module
 */
import { main } from "../run.ts";
import { batchEnclave, toolHost } from "../test_enclave.ts";

// "refuse" as first argument: the enclave takes no thread.
const [first, ...rest] = Deno.args;
const enclave = first === "refuse" ? batchEnclave({ join: () => -1 }) : batchEnclave();
const host = toolHost([enclave], { stderr: (text) => console.error(text) });
Deno.exit(await main(first === "refuse" ? rest : Deno.args, host));

/**
 * Loads the scx program and unloads it again, over and over; for the VM's jobs. The argument says
 * how often.
 *
 * @module
 */
import { ScxKernel } from "../../kernels/scx/scx_kernel.ts";
import { OperatingError } from "../../lib/errors.ts";

async function main(count: number): Promise<number> {
  for (let cycle = 0; cycle < count; cycle++) {
    const kernel = await ScxKernel.open();
    if (kernel instanceof OperatingError) {
      console.error(kernel.message);
      return 1;
    }
    const enclave = kernel.createEnclave([1, 2], kernel.abi.version);
    if (typeof enclave === "number") return 1;
    kernel.close();
    console.log(`cycle ${cycle + 1} after ${(performance.now() / 1000).toFixed(1)} s`);
  }
  console.log(`cycles ${count}`);
  return 0;
}

if (import.meta.main) Deno.exit(await main(Number(Deno.args[0])));

/**
 * Prints what the scx program that is loaded has counted, as JSON; for the VM's jobs.
 *
 * @module
 */
import { scxReport } from "../../kernels/scx/scx_view.ts";

if (import.meta.main) console.log(`report ${JSON.stringify(scxReport() ?? null)}`);

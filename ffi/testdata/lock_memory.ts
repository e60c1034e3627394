/**
 * A child of the shim's tests: locks memory, then grows the heap and starts a Worker. With the
 * argument "unprivileged" it gives its capabilities away first.
 */
import { check } from "../errors.ts";
import { MAP_ANONYMOUS, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../linux.ts";
import { loadShim } from "../shim.ts";

const shim = loadShim();

function lockedKib(): number {
  const line = Deno.readTextFileSync("/proc/self/status").split("\n")
    .find((text) => text.startsWith("VmLck:"));
  return Number(line?.split(/\s+/)[1]);
}

/** capset(2) with empty sets: root without CAP_IPC_LOCK and CAP_SYS_RESOURCE. */
function dropCapabilities(): void {
  const header = Int32Array.of(0x20080522, 0);
  const sets = new Int32Array(6);
  const number = Deno.build.arch === "x86_64" ? 126 : 91;
  const { syscall, bufferAddress } = shim;
  check("capset", syscall(number, bufferAddress(header), bufferAddress(sets), 0, 0, 0, 0));
}

if (Deno.args[0] === "unprivileged") dropCapabilities();
const limit_bytes = shim.raiseMemlockLimit();
const region = shim.mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
const region_results = [shim.lockRegion(region, 65536), shim.unlockRegion(region, 65536)];
shim.munmap(region, 65536);
region_results.push(shim.lockRegion(region, 65536));

const before_kib = lockedKib();
const locked = new Float64Array(3);
const result = shim.lockFileMappings(locked);
const after_kib = lockedKib();

const kept: number[][] = [];
for (let n = 0; n < 100; n++) kept.push(new Array(1e5).fill(n));
const heap_mib = Deno.memoryUsage().heapUsed / 2 ** 20;

const url = URL.createObjectURL(new Blob(["postMessage('alive')"], { type: "text/javascript" }));
const worker = await new Promise((resolve) => {
  new Worker(url, { type: "module" }).onmessage = (event: MessageEvent) => resolve(event.data);
});
console.log(JSON.stringify({
  limit_bytes,
  result,
  locked: Array.from(locked),
  vmlck_kib: [before_kib, after_kib],
  region: region_results,
  heap_mib,
  worker,
  kept: kept.length,
}));
Deno.exit(0);

import { assert, assertEquals } from "@std/assert";

const CODE = `
import { loadShim } from "./ffi/shim.ts";
import { leaveCpus } from "./util/spare_cpus.ts";
const list = (tid) => Deno.readTextFileSync("/proc/self/task/" + tid + "/status")
  .match(/^Cpus_allowed_list:\\s*(\\S+)$/m)[1];
const mask = new Uint8Array(128);
loadShim().schedGetaffinity(0, mask, mask.length);
const cpus = [...mask].flatMap((byte, at) =>
  [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte >> bit & 1).map((bit) => at * 8 + bit));
const tids = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => Number(name));
const agent = tids.at(-1);
const moved = leaveCpus([cpus[0]], [agent]);
const others = tids.filter((tid) => tid !== agent).map(list);
console.log(JSON.stringify({
  cpu_count: cpus.length,
  moved: moved >= tids.length - 1,
  on_it: others.filter((text) => text.split(/[-,]/)[0] === String(cpus[0])).length,
  agent_stays: list(agent).split(/[-,]/)[0] === String(cpus[0]),
  nothing_left: leaveCpus(cpus, []),
}));
`;

Deno.test("threads that are no agents leave the enclave's CPUs, unless no other CPU is left", async () => {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", CODE],
    cwd: decodeURIComponent(new URL("..", import.meta.url).pathname),
  }).output();
  const text = new TextDecoder();
  const said = JSON.parse(
    text.decode(stdout) || `{"error":${JSON.stringify(text.decode(stderr))}}`,
  );
  if (said.cpu_count === 1) return assertEquals(said.moved, false);
  assert(said.cpu_count > 1, said.error);
  assertEquals(said, {
    cpu_count: said.cpu_count,
    moved: true,
    on_it: 0,
    agent_stays: true,
    nothing_left: 0,
  });
});

/**
 * `deno task experiment NAME`: runs one experiment of the literature, on the simulated kernel or,
 * as `rocksdb` does, on this host.
 *
 * @module
 */
import { main as global_scalability_peer } from "./global_scalability/peer_sweep.ts";
import { main as global_scalability } from "./global_scalability/sweep.ts";
import { main as rocksdb } from "./rocksdb/sweep.ts";
import { main as shinjuku } from "./shinjuku/main.ts";
import { main as simple_edf } from "./simple_edf/sweep.ts";
import { main as shinjuku_shenango } from "./shinjuku/shenango.ts";

type Experiment = (args: string[]) => number | Promise<number>;

const EXPERIMENTS: Readonly<Record<string, Experiment>> = {
  global_scalability,
  global_scalability_peer,
  rocksdb,
  shinjuku,
  shinjuku_shenango,
  simple_edf,
};

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  const experiment = Object.hasOwn(EXPERIMENTS, name ?? "") ? EXPERIMENTS[name] : undefined;
  if (experiment !== undefined) return await experiment(rest);
  const known = Object.keys(EXPERIMENTS).join(", ");
  const what = name === undefined ? "no experiment named" : `unknown experiment "${name}"`;
  console.error(`experiment: ${what}; give one of: ${known}`);
  return 2;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

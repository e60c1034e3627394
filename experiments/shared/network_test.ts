import { assert, assertEquals } from "@std/assert";
import { loadExperiments, REQUEST_BYTES, REQUEST_RANGE } from "../../ffi/experiments.ts";

const SEED = 11;
const TOLERANCE = 0.01;
/** Any time: that of a machine that has run for twelve days. */
const BEGIN_NS = 1e15;

/** What has arrived on a simulated clock. */
interface Arrivals {
  readonly count: number;
  readonly range_count: number;
  /** Requests per second between the first and the last arrival. */
  readonly throughput_rps: number;
  readonly is_ascending: boolean;
  readonly first_generated_ns: number;
  readonly max_entry: number;
  readonly max_range_entry: number;
}

function arrivalsOf(throughput_rps: number, ratio: number, seconds: number, seed = SEED): Arrivals {
  const { networkCreate, networkStart, networkPoll, networkFree } = loadExperiments();
  const network = networkCreate(throughput_rps, ratio, seed);
  const request = new Float64Array(REQUEST_BYTES / 8);
  const words = new Uint32Array(request.buffer);
  let [count, range_count, max_entry, max_range_entry] = [0, 0, 0, 0];
  let [first_ns, last_ns, is_ascending] = [0, 0, true];
  networkStart(network, BEGIN_NS);
  const now_ns = BEGIN_NS + seconds * 1e9;
  while (networkPoll(network, now_ns, request) === 1) {
    if (count++ === 0) first_ns = request[0];
    is_ascending &&= request[0] >= last_ns && request[0] <= now_ns && request[1] === now_ns;
    last_ns = request[0];
    if (words[10] === REQUEST_RANGE) {
      range_count++;
      max_range_entry = Math.max(max_range_entry, words[11]);
    } else max_entry = Math.max(max_entry, words[11]);
  }
  networkFree(network);
  return {
    count,
    range_count,
    throughput_rps: count / ((last_ns - first_ns) / 1e9),
    is_ascending,
    first_generated_ns: first_ns,
    max_entry,
    max_range_entry,
  };
}

function check(throughput_rps: number, ratio: number, seconds: number): Arrivals {
  const arrivals = arrivalsOf(throughput_rps, ratio, seconds);
  assert(arrivals.is_ascending, "arrivals in order, received when polled");
  const error = Math.abs(arrivals.throughput_rps / throughput_rps - 1);
  assert(error <= TOLERANCE, `${arrivals.throughput_rps} instead of ${throughput_rps} req/s`);
  const share = arrivals.range_count / arrivals.count;
  assert(Math.abs(share - ratio) <= ratio * TOLERANCE, `${share} range queries, not ${ratio}`);
  return arrivals;
}

Deno.test("synthetic_network_test IngressLowThroughput: 100 req/s", () => {
  check(100, 0, 1000);
});

Deno.test("synthetic_network_test IngressMediumThroughput: 500,000 req/s", () => {
  check(500_000, 0, 1);
});

Deno.test("synthetic_network_test IngressHighThroughput: 70,000,000 req/s", () => {
  // A tenth of a second has as many arrivals as the tolerance needs; upstream takes ten seconds.
  check(70_000_000, 0, 0.1);
});

Deno.test("synthetic_network_test LowThroughput: 100 req/s, no range query", () => {
  assertEquals(check(100, 0, 1000).range_count, 0);
});

Deno.test("synthetic_network_test MediumThroughput: 500,000 req/s of entries from all", () => {
  const { max_entry } = check(500_000, 0, 4);
  assert(max_entry > 999_000 && max_entry < 1_000_000, `${max_entry}`);
});

Deno.test("synthetic_network_test HighThroughput: 5,000,000 req/s", () => {
  check(5_000_000, 0, 0.5);
});

Deno.test("synthetic_network_test MediumThroughputLowRangeQueries: 0.5 % range queries", () => {
  check(500_000, 0.005, 10);
});

Deno.test("synthetic_network_test MediumThroughputHighRangeQueries: no range past the end", () => {
  const { max_range_entry } = check(500_000, 0.75, 2);
  assert(max_range_entry > 994_000 && max_range_entry <= 995_000, `${max_range_entry}`);
});

Deno.test("a network without throughput, or before its start, has no arrivals", () => {
  assertEquals(arrivalsOf(0, 0, 1000).count, 0);
  const { networkCreate, networkPoll, networkFree } = loadExperiments();
  const network = networkCreate(1000, 0, SEED);
  assertEquals(networkPoll(network, BEGIN_NS, new Float64Array(REQUEST_BYTES / 8)), 0);
  networkFree(network);
});

Deno.test("the same seed gives the same arrivals, another seed others", () => {
  const first = arrivalsOf(1000, 0.5, 1);
  assertEquals(arrivalsOf(1000, 0.5, 1), first);
  assert(arrivalsOf(1000, 0.5, 1, SEED + 1).first_generated_ns !== first.first_generated_ns);
});

Deno.test("gaps between arrivals are exponential: a share of e^-1 is longer than the mean", () => {
  const { networkCreate, networkStart, networkPoll, networkFree } = loadExperiments();
  const network = networkCreate(1_000_000, 0, SEED);
  const request = new Float64Array(REQUEST_BYTES / 8);
  networkStart(network, BEGIN_NS);
  let [last_ns, count, long_count, longer_count] = [BEGIN_NS, 0, 0, 0];
  while (networkPoll(network, BEGIN_NS + 1e9, request) === 1) {
    if (request[0] - last_ns > 1000) long_count++;
    if (request[0] - last_ns > 2000) longer_count++;
    last_ns = request[0];
    count++;
  }
  networkFree(network);
  assert(Math.abs(long_count / count - Math.exp(-1)) < 0.003, `${long_count / count}`);
  assert(Math.abs(longer_count / count - Math.exp(-2)) < 0.003, `${longer_count / count}`);
});

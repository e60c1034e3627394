/**
 * Runs rocksdb or antagonist with an enclave that is none: its threads are those of SCHED_BATCH.
 *
 * @module
 */
import { batchEnclave, toolHost } from "../../../util/test_enclave.ts";
import { main as antagonist } from "../../antagonist/main.ts";
import { main as rocksdb } from "../../rocksdb/main.ts";

const [name, ...args] = Deno.args;
const program = name === "rocksdb" ? rocksdb : antagonist;
// A thread that is refused shows what then becomes of the others.
const changes = Deno.env.has("REFUSE_JOIN") ? { join: () => -18 } : {};
Deno.exit(await program(args, toolHost([batchEnclave(changes)])));

/**
 * Runs the C programs of this folder: other processes, which know nothing of our TypeScript.
 *
 * @module
 */
import { CC_FLAGS, isStale, runCc } from "../../ffi/build.ts";

const HERE = decodeURIComponent(new URL(".", import.meta.url).pathname);
const BUILD_DIR = decodeURIComponent(new URL("../../native/build", import.meta.url).pathname);

/** Compiles a peer if that is needed. Returns its path. */
function buildPeer(program: string): string {
  const out = `${BUILD_DIR}/${program}`;
  const source = `${program}.c`;
  if (!isStale({ source_dir: HERE, sources: [source], out })) return out;
  Deno.mkdirSync(BUILD_DIR, { recursive: true });
  const partial = `${out}.${crypto.randomUUID()}`;
  runCc([...CC_FLAGS, "-o", partial, `${HERE}${source}`]);
  Deno.renameSync(partial, out);
  return out;
}

/** A running peer. */
export class Peer {
  readonly #process: Deno.ChildProcess;
  readonly #lines: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  #text = "";

  /**
   * Starts the peer.
   *
   * @param program Name of its source without ".c".
   * @param args What it does; its source says more.
   */
  constructor(program: string, ...args: readonly (string | number)[]) {
    this.#process = new Deno.Command(buildPeer(program), {
      args: args.map(String),
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#lines = this.#process.stdout.getReader();
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Waits for its next line. */
  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error(`the peer ended after "${this.#text}"`);
      this.#text += new TextDecoder().decode(value);
    }
    const end = this.#text.indexOf("\n");
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  /** Ends it by the end of its input. Returns the lines it has still to say. */
  async finish(): Promise<string[]> {
    await this.#process.stdin.close();
    for (;;) {
      const { value, done } = await this.#lines.read();
      if (done) break;
      this.#text += new TextDecoder().decode(value);
    }
    const { code } = await this.#process.status;
    if (code !== 0) throw new Error(`the peer ended with status ${code}`);
    return this.#text.trimEnd().split("\n");
  }

  /** Kills it and waits for its end. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.stdin.close().catch(() => {});
    await this.#lines.cancel();
    await this.#process.status;
  }
}

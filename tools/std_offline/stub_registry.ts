/**
 * A registry on this machine that speaks JSR's protocol and offers the adapters as `@std/...`:
 * tests use it for the way over JSR, `check` for what deno does only with a registry.
 *
 * @module
 */

/** One package of the stub: its version, the files it holds and what it exports. */
interface StubPackage {
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

const PACKAGES: Readonly<Record<string, StubPackage>> = {
  "@std/assert": {
    version: "1.99.0",
    exports: { ".": "./assert.ts" },
    files: ["assert.ts", "equal.ts"],
  },
  "@std/cli": {
    version: "1.99.0",
    exports: { ".": "./cli.ts", "./parse-args": "./cli.ts" },
    files: ["cli.ts"],
  },
  "@std/testing": {
    version: "1.99.0",
    exports: { "./bdd": "./testing.ts" },
    files: ["testing.ts"],
  },
};

/** A running stub registry. */
export interface StubRegistry {
  /** Base URL with a trailing slash, for JSR_URL. */
  readonly url: string;
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
  /** Stops the server. */
  close(): Promise<void>;
}

async function checksumOf(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${digest.toHex()}`;
}

/** Every document of the registry by path. */
async function documents(): Promise<Map<string, string>> {
  const by_path = new Map<string, string>();
  for (const [name, { version, exports, files }] of Object.entries(PACKAGES)) {
    const [scope, short_name] = name.slice(1).split("/");
    const manifest: Record<string, { size: number; checksum: string }> = {};
    for (const file of files) {
      const bytes = await Deno.readFile(new URL(file, import.meta.url));
      manifest[`/${file}`] = { size: bytes.length, checksum: await checksumOf(bytes) };
      by_path.set(`/${name}/${version}/${file}`, new TextDecoder().decode(bytes));
    }
    const meta = { scope, name: short_name, latest: version, versions: { [version]: {} } };
    by_path.set(`/${name}/meta.json`, JSON.stringify(meta));
    by_path.set(`/${name}/${version}_meta.json`, JSON.stringify({ manifest, exports }));
  }
  return by_path;
}

/**
 * Starts the stub on a free port of the loopback interface.
 *
 * @returns The registry; close it when done.
 */
export async function startStubRegistry(): Promise<StubRegistry> {
  const by_path = await documents();
  const requests: string[] = [];
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  const server = Deno.serve(options, (request) => {
    const { pathname } = new URL(request.url);
    requests.push(pathname);
    const text = by_path.get(pathname);
    if (text === undefined) return new Response("not found", { status: 404 });
    const type = pathname.endsWith(".json") ? "application/json" : "application/typescript";
    return new Response(text, { headers: { "content-type": type } });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    requests,
    close: () => server.shutdown(),
  };
}

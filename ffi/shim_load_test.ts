import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  buildLibrary,
  buildShim,
  isStale,
  SHIM_FILE,
  SHIM_HEADERS,
  SHIM_SOURCES,
} from "./build.ts";
import { check, ShimError } from "./errors.ts";
import { MFD_CLOEXEC } from "./linux.ts";
import { fetchShim } from "./remote_shim.ts";
import { loadShim, prepareShim } from "./shim.ts";
import { shimLocation } from "./shim_location.ts";
import { cString, SHIM_VERSION } from "./symbols.ts";

const NATIVE_DIR = decodeURIComponent(new URL("../native", import.meta.url).pathname);
const REPOSITORY_DIR = decodeURIComponent(new URL("..", import.meta.url).pathname);

function withDirectory(body: (directory: string) => void): void {
  const directory = Deno.makeTempDirSync({ prefix: "shim_load_test_" });
  try {
    body(directory);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

function copySources(directory: string): void {
  for (const name of [...SHIM_SOURCES, ...SHIM_HEADERS]) {
    Deno.copyFileSync(`${NATIVE_DIR}/${name}`, `${directory}/${name}`);
  }
}

Deno.test("the module's URL says where the shim is", () => {
  assertEquals(shimLocation("file:///home/u/a%20b/ffi/shim.ts"), {
    kind: "clone",
    source_dir: "/home/u/a b/native",
  });
  const packed = (fd: number) => shimLocation(`file:///proc/self/fd/${fd}`);
  assertEquals(packed(100), { kind: "file", path: "/proc/self/fd/101" });
  assertEquals(packed(102), { kind: "file", path: "/proc/self/fd/103" });
  assertEquals(shimLocation("file:///opt/agent/bundle.js"), {
    kind: "file",
    path: `/opt/agent/${SHIM_FILE}`,
  });
  assertEquals(shimLocation("https://jsr.io/@ghost/agents/0.1.0/ffi/shim.ts"), {
    kind: "remote",
    native_url: "https://jsr.io/@ghost/agents/0.1.0/native/",
  });
});

Deno.test("a named library goes before everything else", () => {
  const named = { kind: "file", path: "/tmp/x.so" } as const;
  assertEquals(shimLocation("file:///proc/self/fd/100", "/tmp/x.so"), named);
  assertEquals(shimLocation("https://jsr.io/ffi/shim.ts", "/tmp/x.so"), named);
});

Deno.test("a module of another kind has no shim, and the error says so", () => {
  const error = assertThrows(() => shimLocation("data:text/javascript,1"), ShimError) as ShimError;
  assertStringIncludes(error.message, "a module at data:");
  assertStringIncludes(error.message, "loadShim(path)");
});

Deno.test("the library is built once, and again when a source is newer", () => {
  withDirectory((directory) => {
    copySources(directory);
    const out = buildShim(directory);
    assertEquals(out, `${directory}/build/${SHIM_FILE}`);
    const options = { source_dir: directory, sources: SHIM_SOURCES, headers: SHIM_HEADERS, out };
    const first = Deno.statSync(out).ino;
    assertEquals(isStale(options), false);
    buildShim(directory);
    assertEquals(Deno.statSync(out).ino, first);
    const future = new Date(Date.now() + 10_000);
    Deno.utimeSync(`${directory}/${SHIM_HEADERS[0]}`, future, future);
    assertEquals(isStale(options), true);
    buildShim(directory);
    assertNotEquals(Deno.statSync(out).ino, first);
    assertEquals(Array.from(Deno.readDirSync(`${directory}/build`)).length, 1);
  });
});

Deno.test("without a compiler the build fails and says what to install", () => {
  withDirectory((directory) => {
    copySources(directory);
    const error = assertThrows(
      () => buildShim(directory, undefined, "no-such-cc"),
      ShimError,
    ) as ShimError;
    assertStringIncludes(error.message, `no "no-such-cc" on PATH: install a C compiler`);
    assertStringIncludes(error.message, "--kernel=sim");
  });
});

Deno.test("a compiler that cannot be run is named", () => {
  withDirectory((directory) => {
    copySources(directory);
    const error = assertThrows(
      () => buildShim(directory, undefined, `${directory}/shim.c`),
      ShimError,
    ) as ShimError;
    assertStringIncludes(error.message, "cannot be run");
  });
});

Deno.test("a source with an error or a warning leaves no library behind", () => {
  withDirectory((directory) => {
    const build = (source: string) => {
      Deno.writeTextFileSync(`${directory}/bad.c`, source);
      return assertThrows(
        () =>
          buildLibrary({ source_dir: directory, sources: ["bad.c"], out: `${directory}/b/x.so` }),
        ShimError,
      ) as ShimError;
    };
    assertStringIncludes(build("int broken(").message, "bad.c:1");
    assertStringIncludes(build("int f(int unused) { return 0; }\n").message, "unused");
    assertEquals(Array.from(Deno.readDirSync(`${directory}/b`)), []);
  });
});

Deno.test("a missing source is named", () => {
  withDirectory((directory) => {
    const error = assertThrows(() => buildShim(directory), ShimError) as ShimError;
    assertStringIncludes(error.message, `${directory}/shim.c is missing: check out the whole`);
  });
});

/** Runs code in a fresh process, since a process loads the shim once. */
async function evaluate(code: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["eval", ...args, code],
    cwd: REPOSITORY_DIR,
  }).output();
  const text = new TextDecoder();
  return text.decode(output.success ? output.stdout : output.stderr).trim();
}

const IMPORT_SHIM = `const { loadShim, prepareShim } = await import("./ffi/shim.ts");`;
const SHOW_ERROR = `catch (error) { console.log(error.name, error.message); }`;

Deno.test("a library in a memfd is loaded by its path under /proc/self/fd", async () => {
  const shim = loadShim();
  const fd = check("memfd_create", shim.memfdCreate(cString("packed_shim"), MFD_CLOEXEC));
  const bytes = Deno.readFileSync(buildShim(NATIVE_DIR));
  for (let at = 0; at < bytes.length;) {
    at += check("write", shim.write(fd, bytes.subarray(at), bytes.length - at));
  }
  // Another process reaches our descriptor through /proc; its own would be /proc/self/fd/101.
  const path = `/proc/${Deno.pid}/fd/${fd}`;
  const code = `${IMPORT_SHIM} console.log(loadShim("${path}").version());
    console.log(Deno.readTextFileSync("/proc/self/maps").includes("memfd:packed_shim"));`;
  assertEquals(await evaluate(code), `${SHIM_VERSION}\ntrue`);
  shim.close(fd);
});

Deno.test("a library that is none, is missing, or is of another version is refused", async () => {
  const code = (path: string) => `${IMPORT_SHIM} try { loadShim("${path}"); } ${SHOW_ERROR}`;
  assertStringIncludes(await evaluate(code("/no/such.so")), "ShimError cannot load /no/such.so");
  assertStringIncludes(await evaluate(code(`${NATIVE_DIR}/shim.c`)), "ShimError cannot load");
  const directory = Deno.makeTempDirSync({ prefix: "shim_load_test_" });
  try {
    copySources(directory);
    const header = `${directory}/shim.h`;
    const text = Deno.readTextFileSync(header).replace(/SHIM_VERSION \d+/, "SHIM_VERSION 999");
    Deno.writeTextFileSync(header, text);
    const message = await evaluate(code(buildShim(directory)));
    assertStringIncludes(
      message,
      `has version 999 instead of ${SHIM_VERSION}: remove native/build/`,
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("prepareShim is loadShim for modules that are on this machine", async () => {
  assertEquals(await prepareShim(), loadShim());
});

Deno.test("every isolate loads its own functions of the one library", async () => {
  const code = `${IMPORT_SHIM} loadShim();
    const url = URL.createObjectURL(new Blob([\`
      const { loadShim } = await import("${new URL("./shim.ts", import.meta.url)}");
      postMessage(loadShim().version());\`], { type: "text/javascript" }));
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = (event) => { console.log(event.data); Deno.exit(0); };`;
  assertEquals(await evaluate(code), `${SHIM_VERSION}`);
});

/** A web server over the repository's files, as JSR is one; `files` replaces or hides some. */
async function withServer(
  files: Readonly<Record<string, Uint8Array<ArrayBuffer> | number>>,
  body: (origin: string, requests: string[]) => Promise<void>,
): Promise<void> {
  const requests: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const path = new URL(request.url).pathname;
    requests.push(path);
    const file = files[path];
    if (typeof file === "number") return new Response("no", { status: file });
    if (file !== undefined) return new Response(file);
    try {
      const bytes = await Deno.readFile(`${REPOSITORY_DIR}${path}`);
      const type = path.endsWith(".ts") ? "application/typescript" : "text/plain";
      return new Response(bytes, { headers: { "content-type": type } });
    } catch {
      return new Response("not found", { status: 404 });
    }
  });
  try {
    await body(`http://127.0.0.1:${server.addr.port}`, requests);
  } finally {
    await server.shutdown();
  }
}

async function withCache(body: (cache_root: string) => Promise<void>): Promise<void> {
  const cache_root = await Deno.makeTempDir({ prefix: "shim_cache_" });
  try {
    await body(cache_root);
  } finally {
    await Deno.remove(cache_root, { recursive: true });
  }
}

Deno.test("modules from a web server load the shim from the sources beside them", async () => {
  await withCache(async (cache_root) => {
    await withServer({}, async (origin) => {
      const code = `const shim = await import("${origin}/ffi/shim.ts");
        try { shim.loadShim(); } ${SHOW_ERROR}
        console.log((await shim.prepareShim()).version(), shim.loadShim().gettid() === Deno.pid);
        console.log(Deno.readTextFileSync("/proc/self/maps").includes("${cache_root}"));`;
      const output = await new Deno.Command(Deno.execPath(), {
        args: ["eval", "--reload", "--no-lock", code],
        env: { XDG_CACHE_HOME: cache_root, NO_PROXY: "127.0.0.1" },
      }).output();
      const text = new TextDecoder();
      assert(output.success, text.decode(output.stderr));
      const lines = text.decode(output.stdout).trim().split("\n");
      assertEquals(lines[0], "ShimError the shim is not fetched yet: await prepareShim() first");
      assertEquals(lines.slice(1), [`${SHIM_VERSION} true`, "true"]);
    });
  });
});

Deno.test("a prebuilt library is taken as it is, and only once", async () => {
  const library = Deno.readFileSync(buildShim(NATIVE_DIR));
  const path = `/native/prebuilt/${Deno.build.arch}/${SHIM_FILE}`;
  await withCache(async (cache_root) => {
    await withServer({ [path]: library }, async (origin, requests) => {
      const options = { cache_root, cc: "no-such-cc" };
      const file = await fetchShim(`${origin}/native/`, options);
      assertEquals(Deno.readFileSync(file), library);
      assertEquals(await fetchShim(`${origin}/native/`, options), file);
      assertEquals(requests, [path]);
    });
  });
});

Deno.test("what cannot be fetched, or is no library, is refused with the address", async () => {
  const prebuilt = `/native/prebuilt/${Deno.build.arch}/${SHIM_FILE}`;
  const refusal = async (files: Record<string, Uint8Array<ArrayBuffer> | number>, cc?: string) => {
    let message = "";
    await withCache(async (cache_root) => {
      await withServer(files, async (origin) => {
        const error = await assertRejects(
          () => fetchShim(`${origin}/native/`, { cache_root, cc }),
          ShimError,
        );
        message = (error as ShimError).message.replace(origin, "");
      });
    });
    return message;
  };
  const html = new TextEncoder().encode("<html>moved</html>");
  assertStringIncludes(await refusal({ [prebuilt]: html }), `${prebuilt} is not a library`);
  assertStringIncludes(await refusal({ [prebuilt]: 500 }), `${prebuilt} (status 500)`);
  assertStringIncludes(await refusal({ "/native/memory.c": 404 }), "/native/memory.c is missing");
  assertStringIncludes(await refusal({}, "no-such-cc"), `no "no-such-cc" on PATH`);
});

Deno.test("no server is an error that names the address", async () => {
  await withCache(async (cache_root) => {
    const error = await assertRejects(
      () => fetchShim("http://127.0.0.1:1/native/", { cache_root }),
      ShimError,
    );
    assertStringIncludes((error as ShimError).message, "cannot fetch http://127.0.0.1:1/native/");
  });
});

Deno.test("a cache directory that others can write is not used", async () => {
  const library = Deno.readFileSync(buildShim(NATIVE_DIR));
  const path = `/native/prebuilt/${Deno.build.arch}/${SHIM_FILE}`;
  await withCache(async (cache_root) => {
    await withServer({ [path]: library }, async (origin) => {
      const first = await fetchShim(`${origin}/native/`, { cache_root });
      assert(first.startsWith(cache_root));
      const directory = first.slice(0, first.lastIndexOf("/"));
      await Deno.chmod(directory, 0o777);
      await Deno.writeTextFile(first, "not what was fetched");
      const second = await fetchShim(`${origin}/native/`, { cache_root });
      assertEquals(second.startsWith(cache_root), false);
      assertEquals(Deno.readFileSync(second), library);
      await Deno.remove(second.slice(0, second.lastIndexOf("/")), { recursive: true });
    });
  });
});

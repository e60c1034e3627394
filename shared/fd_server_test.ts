import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import * as errno from "../ffi/errno.ts";
import { check } from "../ffi/errors.ts";
import { loadShim, type Shim } from "../ffi/shim.ts";
import { AsyncFdServer, FdServer, FdServerError, getSharedFd } from "./fd_server.ts";

const shim = loadShim();
const NONCE = "some_nonce";
const SYS_PIPE2 = Deno.build.arch === "x86_64" ? 293 : 59;
const SYS_SENDMSG = Deno.build.arch === "x86_64" ? 46 : 211;

/** The reading end of a pipe that holds one "x" and whose writing end is closed. */
function pipeWithX(): number {
  const ends = new Int32Array(2);
  check("pipe2", shim.syscall(SYS_PIPE2, shim.bufferAddress(ends), 0, 0, 0, 0, 0));
  assertEquals(shim.write(ends[1], new TextEncoder().encode("x"), 1), 1);
  shim.close(ends[1]);
  return ends[0];
}

/** Makes a server of such a pipe and closes our own end, once the server has its own. */
function serving(timeout_ms: number): [AsyncFdServer, string] {
  const fd = pipeWithX();
  const server = new AsyncFdServer(fd, NONCE, { timeout_ms });
  const path = server.initAndServe();
  shim.close(fd);
  return [server, path];
}

/** Reads the "x" out of a descriptor and closes it. */
function checkX(fd: number): void {
  const bytes = new Uint8Array(4);
  assertEquals(shim.read(fd, bytes, bytes.length), 1);
  assertEquals(bytes[0], "x".charCodeAt(0));
  shim.close(fd);
}

/** The error that a promise rejects with. */
async function errorOf(work: Promise<unknown>): Promise<FdServerError> {
  return await assertRejects(() => work, FdServerError) as FdServerError;
}

function openFileCount(): number {
  return [...Deno.readDirSync("/proc/self/fd")].length;
}

Deno.test("fd_server_test SyncPassFd: a client gets the descriptor that is served", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE, { timeout_ms: Infinity });
  const path = server.init();
  shim.close(fd);
  assertMatch(path, /^@[0-9a-f]{5}$/);
  const client = getSharedFd(path, NONCE);
  await server.serve();
  checkX(await client);
  server.close();
});

Deno.test("fd_server_test AsyncPassFd: the same with the server in the background", async () => {
  const [server, path] = serving(Infinity);
  checkX(await getSharedFd(path, NONCE));
  await server.done;
});

/** A client with this nonce gets nothing, and the server goes on for the right one. */
async function checkRefused(nonce: string, fault: string): Promise<void> {
  const [server, path] = serving(Infinity);
  assertEquals((await errorOf(getSharedFd(path, nonce))).fault, fault);
  checkX(await getSharedFd(path, NONCE));
  await server.done;
}

Deno.test("fd_server_test BadNonce: a client with another nonce gets nothing", async () => {
  await checkRefused("bad_nonce", "recvmsg no fd");
});

Deno.test("fd_server_test BadSubsetNonce: nor does one with the nonce's beginning", async () => {
  await checkRefused("some_non", "recvmsg no fd");
});

Deno.test("fd_server_test BadEmptyNonce: nor does one without a nonce", async () => {
  await checkRefused("", "sendmsg empty write: maybe no nonce");
});

Deno.test("fd_server_test EmptyNonce: a server without a nonce does not start", () => {
  const fd = pipeWithX();
  const error = assertThrows(() => new FdServer(fd, "").init(), FdServerError) as FdServerError;
  assertEquals([error.code, error.fault], ["INVALID_ARGUMENT", "nonce must not be empty"]);
  shim.close(fd);
});

Deno.test("fd_server_test TimeoutDoesntFire: one second is enough for a client", async () => {
  const [server, path] = serving(1000);
  checkX(await getSharedFd(path, NONCE));
  await server.done;
});

Deno.test("fd_server_test TimeoutFires: a client that comes too late gets nothing", async () => {
  const [server, path] = serving(0.001);
  await new Promise((done) => setTimeout(done, 100));
  await server.done;
  const error = await errorOf(getSharedFd(path, NONCE));
  assertEquals([error.code, error.fault], ["SYSTEM", "connect"]);
  assertMatch(error.message, /^connect \(ECONNREFUSED\); /);
});

Deno.test("fd_server_test WaitTimeout: a server without a client ends after its time", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE, { timeout_ms: 100 });
  server.init();
  shim.close(fd);
  const begin_ms = performance.now();
  const error = await errorOf(server.serve());
  assertEquals([error.code, error.fault], ["DEADLINE_EXCEEDED", "epoll timeout"]);
  assert(performance.now() - begin_ms >= 100);
  server.close();
});

Deno.test("a longer nonce that begins right, and one with 4096 bytes, are compared whole", async () => {
  await checkRefused(`${NONCE}s`, "recvmsg no fd");
  const fd = pipeWithX();
  const nonce = "n".repeat(4096);
  const server = new AsyncFdServer(fd, nonce);
  const path = server.initAndServe();
  shim.close(fd);
  checkX(await getSharedFd(path, nonce));
  await server.done;
});

Deno.test("a server that serves for ever serves one client after the other", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE, { timeout_ms: 0, serve_forever: true });
  const path = server.init();
  const ended = errorOf(server.serve());
  const fds = await Promise.all(Array.from({ length: 5 }, () => getSharedFd(path, NONCE)));
  for (const got of fds) shim.close(got);
  server.close();
  assertEquals((await ended).code, "CANCELLED");
  shim.close(fd);
});

Deno.test("close ends a wait for a client that is connected and silent", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE, { timeout_ms: 0 });
  const path = server.init();
  const ended = errorOf(server.serve());
  const silent = check("socket", shim.unixSocket());
  const name = new TextEncoder().encode(path);
  name[0] = 0;
  assertEquals(shim.unixConnect(silent, name, name.length), 0);
  await new Promise((done) => setTimeout(done, 10));
  server.close();
  assertEquals((await ended).code, "CANCELLED");
  for (const open of [fd, silent]) shim.close(open);
});

Deno.test("the limit is one of each wait: a silent client uses it up", async () => {
  const [server, path] = serving(50);
  const silent = check("socket", shim.unixSocket());
  const name = new TextEncoder().encode(path);
  name[0] = 0;
  assertEquals(shim.unixConnect(silent, name, name.length), 0);
  const begin_ms = performance.now();
  await server.done;
  assert(performance.now() - begin_ms >= 49);
  shim.close(silent);
});

Deno.test("a client's own limit ends its wait for a server that does not answer", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE);
  const path = server.init();
  const error = await errorOf(getSharedFd(path, NONCE, { timeout_ms: 30 }));
  assertEquals([error.code, error.fault], ["DEADLINE_EXCEEDED", "epoll timeout"]);
  server.close();
  shim.close(fd);
});

Deno.test("a server that ends after it took the connection is a short read", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE);
  const path = server.init();
  const client = errorOf(getSharedFd(path, NONCE));
  server.close();
  const { fault, cure } = await client;
  assertMatch(`${fault}; ${cure}`, /^(recvmsg short read|recvmsg|sendmsg|connect); /);
  shim.close(fd);
});

Deno.test("wrong use of a server is an error in upstream's words", async () => {
  const fd = pipeWithX();
  const server = new FdServer(fd, NONCE);
  assertEquals((await errorOf(server.serve())).fault, "server was not initialized");
  server.init();
  const again = assertThrows(() => server.init(), FdServerError) as FdServerError;
  assertEquals([again.code, again.fault], ["INVALID_ARGUMENT", "do not reinitialize FdServer"]);
  server.close();
  assertEquals((await errorOf(server.serve())).fault, "server was not initialized");
  assertEquals((await errorOf(getSharedFd("p".repeat(109), NONCE))).fault, "sock_path too big");
  for (const timeout_ms of [-1, NaN]) {
    assertThrows(() => new FdServer(fd, NONCE, { timeout_ms }), FdServerError);
  }
  shim.close(fd);
  const bad = assertThrows(() => new FdServer(fd, NONCE).init(), FdServerError) as FdServerError;
  assertEquals([bad.code, bad.fault, bad.message.slice(0, 12)], ["SYSTEM", "dup", "dup (EBADF);"]);
});

Deno.test("another process gets the descriptor", async () => {
  const [server, path] = serving(10_000);
  const module = new URL("./fd_server.ts", import.meta.url).href;
  const shim_module = new URL("../ffi/shim.ts", import.meta.url).href;
  const script = `
    const { getSharedFd } = await import(${JSON.stringify(module)});
    const { loadShim } = await import(${JSON.stringify(shim_module)});
    const bytes = new Uint8Array(2);
    const length = loadShim().read(await getSharedFd("${path}", "${NONCE}"), bytes, 2);
    console.log(length, bytes[0]);`;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["eval", script] }).output();
  assertEquals(new TextDecoder().decode(stdout), "1 120\n");
  await server.done;
});

/** The shim with one call replaced. */
function shimWith(changes: Partial<Shim>): Shim {
  return { ...shim, ...changes };
}

Deno.test("each call that fails is named as upstream names it, and nothing is left open", () => {
  const fd = pipeWithX();
  const before = openFileCount();
  const failures: [Partial<Shim>, string][] = [
    [{ unixSocket: () => -errno.EMFILE }, "socket"],
    [{ unixAutobind: () => -errno.ENOMEM }, "bind"],
    [{ listen: () => -errno.EINVAL }, "listen"],
    [{ unixName: () => -errno.EBADF }, "getsockname"],
    [{ unixName: () => 109 }, "getsockname truncation"],
    [
      { fcntl: (at, command, value) => command === 3 ? -1 : shim.fcntl(at, command, value) },
      "f_getfl",
    ],
    [
      { fcntl: (at, command, value) => command === 4 ? -1 : shim.fcntl(at, command, value) },
      "f_setfl",
    ],
  ];
  for (const [changes, fault] of failures) {
    const server = new FdServer(fd, NONCE, { shim: shimWith(changes) });
    const error = assertThrows(() => server.init(), FdServerError) as FdServerError;
    assertEquals(error.fault, fault);
    assertEquals(openFileCount(), before, fault);
  }
  shim.close(fd);
});

Deno.test("calls that fail while serving are named as upstream names them", async () => {
  const failures: [Partial<Shim>, string][] = [
    [{ accept: () => -errno.EMFILE }, "cmd error"],
    [{ recvWithFd: () => -errno.ENOMEM }, "cmd error"],
    [{ sendWithFd: () => 3 }, "sendmsg FD"],
    [{ sendWithFd: () => -errno.EBADF }, "sendmsg FD"],
  ];
  for (const [changes, fault] of failures) {
    const fd = pipeWithX();
    const server = new FdServer(fd, NONCE, { shim: shimWith(changes) });
    const path = server.init();
    const client = getSharedFd(path, NONCE, { timeout_ms: 1000 });
    const client_done = client.then((got) => shim.close(got), () => -1);
    assertEquals((await errorOf(server.serve())).fault, fault);
    server.close();
    await client_done;
    shim.close(fd);
  }
});

Deno.test("a wait that fails is an error too", async () => {
  const fd = pipeWithX();
  const broken = shimWith({ pollAsync: () => Promise.resolve(-errno.EBADF) });
  const server = new FdServer(fd, NONCE, { shim: broken });
  server.init();
  assertEquals((await errorOf(server.serve())).fault, "epoll wait");
  server.close();
  shim.close(fd);
});

Deno.test("a failure in the background is a line on stderr, the end of the time is not", async () => {
  const said: string[] = [];
  const error = console.error;
  console.error = (text: string) => said.push(text);
  try {
    const fd = pipeWithX();
    const broken = new AsyncFdServer(fd, NONCE, {
      shim: shimWith({ accept: () => -errno.EMFILE }),
    });
    broken.initAndServe();
    await broken.done;
    const idle = new AsyncFdServer(fd, NONCE, { timeout_ms: 1 });
    idle.initAndServe();
    await idle.done;
    shim.close(fd);
  } finally {
    console.error = error;
  }
  assertEquals(said.length, 1);
  assertMatch(said[0], /^AsyncFdServer thread failure: cmd error \(EMFILE\); /);
});

Deno.test("there are at most 42 servers in the background at a time", async () => {
  const fd = pipeWithX();
  const make = () => new AsyncFdServer(fd, NONCE, { timeout_ms: 0 });
  const servers = Array.from({ length: 42 }, make);
  for (const server of servers) server.initAndServe();
  const error = assertThrows(() => make().initAndServe(), FdServerError) as FdServerError;
  assertEquals([error.code, error.fault], ["RESOURCE_EXHAUSTED", "too many threads"]);
  for (const server of servers) server.close();
  await Promise.all(servers.map((server) => server.done));
  const after = make();
  after.initAndServe();
  after.close();
  await after.done;
  shim.close(fd);
});

/** Sends two descriptors in one message, which no honest peer does. */
function sendTwoFds(socket_fd: number, fd: number): number {
  const text = new TextEncoder().encode("GOOD NONCE\0");
  const [part, control] = [new BigUint64Array(2), new DataView(new ArrayBuffer(24))];
  part[0] = BigInt(shim.bufferAddress(text));
  part[1] = BigInt(text.length);
  control.setUint32(0, 24, true); // cmsg_len: the head's 16 bytes and two ints
  control.setInt32(8, 1, true); // SOL_SOCKET
  control.setInt32(12, 1, true); // SCM_RIGHTS
  control.setInt32(16, fd, true);
  control.setInt32(20, fd, true);
  const message = new BigUint64Array(7);
  message[2] = BigInt(shim.bufferAddress(part));
  message[3] = 1n;
  message[4] = BigInt(shim.bufferAddress(control.buffer as ArrayBuffer));
  message[5] = 24n;
  return shim.syscall(SYS_SENDMSG, socket_fd, shim.bufferAddress(message), 0, 0, 0, 0);
}

Deno.test("a server that sends two descriptors leaves none open in the client", async () => {
  const server = check("socket", shim.unixSocket());
  assertEquals(shim.unixAutobind(server), 0);
  assertEquals(shim.listen(server, 0), 0);
  const name = new Uint8Array(108);
  const length = shim.unixName(server, name, name.length);
  const path = `@${new TextDecoder().decode(name.subarray(1, length))}`;
  const client = errorOf(getSharedFd(path, NONCE));
  const connection = check("accept", shim.accept(server));
  const before = openFileCount();
  assertEquals(sendTwoFds(connection, server), 11);
  assertEquals((await client).fault, "recvmsg no fd");
  assertEquals(openFileCount(), before - 1, "only the client's socket has gone");
  for (const fd of [connection, server]) shim.close(fd);
});

Deno.test("a descriptor that a client sends to the server is closed", async () => {
  const [server, path] = serving(1000);
  const socket_fd = check("socket", shim.unixSocket());
  const name = new TextEncoder().encode(path);
  name[0] = 0;
  assertEquals(shim.unixConnect(socket_fd, name, name.length), 0);
  const before = openFileCount();
  const nonce = new TextEncoder().encode(NONCE);
  assertEquals(shim.sendWithFd(socket_fd, nonce, nonce.length, socket_fd), nonce.length);
  await server.done;
  assertEquals(openFileCount(), before - 2, "the server's socket and its copy of the pipe");
  shim.close(socket_fd);
});

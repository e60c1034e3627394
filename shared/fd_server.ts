/**
 * Hands a file descriptor to another process over a Unix socket with an abstract name. Whoever
 * knows the name and a nonce gets it. The protocol and the texts are those of ghost-userspace
 * (reference section 5.3): the client sends the nonce, the server answers "GOOD NONCE" with the
 * descriptor, or "BAD NONCE" and goes on serving.
 *
 * Waiting is done on a thread of Deno's pool, so that the event loop goes on.
 *
 * @module
 */
import { EAGAIN, errnoName } from "../ffi/errno.ts";
import { cureOf } from "../ffi/errors.ts";
import { F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, O_NONBLOCK, POLLIN } from "../ffi/linux.ts";
import { loadShim } from "../ffi/shim.ts";
import { cString, type Shim } from "../ffi/symbols.ts";

/** What is wrong, for code that decides by it. */
export type FdServerCode =
  | "INVALID_ARGUMENT"
  | "UNAUTHENTICATED"
  | "DEADLINE_EXCEEDED"
  | "RESOURCE_EXHAUSTED"
  | "CANCELLED"
  | "SYSTEM";

/** A descriptor could not be handed over. */
export class FdServerError extends Error {
  /** See {@linkcode Error.name}. */
  override readonly name = "FdServerError";
  /** What is wrong, for code. */
  readonly code: FdServerCode;
  /** What is wrong, in upstream's words; for a failed call its name. */
  readonly fault: string;
  /** What to do about it. */
  readonly cure: string;

  /**
   * An error with the message "fault; cure".
   *
   * @param code What is wrong, for code.
   * @param fault What is wrong, for a reader.
   * @param cure What to do about it.
   * @param errno_name For a failed call, for example "EBADF".
   */
  constructor(code: FdServerCode, fault: string, cure: string, errno_name?: string) {
    super(`${fault}${errno_name === undefined ? "" : ` (${errno_name})`}; ${cure}`);
    this.code = code;
    this.fault = fault;
    this.cure = cure;
  }
}

/** Options of a server. */
export interface FdServerOptions {
  /** Longest time of each wait, in milliseconds; 0 or Infinity: no limit. 1000 if not said. */
  readonly timeout_ms?: number;
  /** Hand the descriptor to any number of clients, one after the other. */
  readonly serve_forever?: boolean;
  /** The native calls; tests pass their own. */
  readonly shim?: Shim;
}

/** Bytes of the longest nonce that is received whole. */
const NONCE_BYTES_MAX = 4096;
/** Bytes of the longest name of a Unix socket. */
const NAME_BYTES_MAX = 108;
const GOOD_NONCE = cString("GOOD NONCE");
const BAD_NONCE = cString("BAD NONCE");
/** Servers of {@linkcode AsyncFdServer} at the same time. */
const ASYNC_SERVERS_MAX = 42;
const DEFAULT_TIMEOUT_MS = 1000;
const NS_PER_MS = 1e6;
/** Time between two tries to connect to a server that has a client already. */
const CONNECT_RETRY_MS = 1;

/** A failed call: its name in upstream's words, and the errno. */
function callError(fault: string, result: number): FdServerError {
  return new FdServerError("SYSTEM", fault, cureOf(fault, -result), errnoName(-result));
}

function checkCall(fault: string, result: number): number {
  if (result < 0) throw callError(fault, result);
  return result;
}

/** The limit of each wait in nanoseconds; −1: none. */
function timeoutNs(timeout_ms: number): number {
  if (!(timeout_ms >= 0)) {
    throw new FdServerError(
      "INVALID_ARGUMENT",
      `a timeout of ${timeout_ms} ms`,
      "use 0 or Infinity for none",
    );
  }
  if (timeout_ms === 0 || timeout_ms === Infinity) return -1;
  return Math.max(1, Math.trunc(timeout_ms)) * NS_PER_MS;
}

/** Makes a socket that does not block. */
function openSocket(shim: Shim): number {
  const fd = checkCall("socket", shim.unixSocket());
  try {
    const flags = checkCall("f_getfl", shim.fcntl(fd, F_GETFL, 0));
    checkCall("f_setfl", shim.fcntl(fd, F_SETFL, flags | O_NONBLOCK));
    return fd;
  } catch (error) {
    shim.close(fd);
    throw error;
  }
}

/** Calls until the answer is not EAGAIN, and waits for the descriptor in between. */
async function waitFor(
  shim: Shim,
  fd: number,
  timeout_ns: number,
  call: () => number,
): Promise<number> {
  for (;;) {
    const result = call();
    if (result !== -EAGAIN) return result;
    const events = checkCall("epoll wait", await shim.pollAsync(fd, POLLIN, timeout_ns));
    if (events === 0) {
      throw new FdServerError(
        "DEADLINE_EXCEEDED",
        "epoll timeout",
        "see whether the other process still runs, or allow more time",
      );
    }
  }
}

/** True if the two are equal; takes as long for every difference. */
function equalBytes(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let index = 0; index < one.length; index++) difference |= one[index] ^ other[index];
  return difference === 0;
}

/** Hands out one descriptor. */
export class FdServer {
  readonly #fd_to_share: number;
  readonly #nonce: Uint8Array;
  readonly #timeout_ns: number;
  readonly #serve_forever: boolean;
  readonly #given_shim: Shim | undefined;
  #dup_fd = -1;
  #sock_fd = -1;
  #connection_fd = -1;
  #is_serving = false;
  #is_closed = false;

  /**
   * A server that is not yet reachable.
   *
   * @param fd The descriptor; the caller may close it after {@linkcode FdServer.init}.
   * @param nonce What a client must know, 1 to 4096 bytes.
   * @param options Time limit and number of clients.
   * @throws {FdServerError} If the time limit is negative.
   */
  constructor(fd: number, nonce: string, options: FdServerOptions = {}) {
    this.#fd_to_share = fd;
    this.#nonce = new TextEncoder().encode(nonce);
    this.#timeout_ns = timeoutNs(options.timeout_ms ?? DEFAULT_TIMEOUT_MS);
    this.#serve_forever = options.serve_forever ?? false;
    this.#given_shim = options.shim;
  }

  /**
   * Opens the socket; clients can connect.
   *
   * @returns Its name for {@linkcode getSharedFd}: "@" and five hexadecimal digits.
   * @throws {FdServerError} If the nonce is empty, if it was called before, or if a call fails;
   * nothing is left open then.
   */
  init(): string {
    if (this.#nonce.length === 0) {
      throw new FdServerError("INVALID_ARGUMENT", "nonce must not be empty", "choose a nonce");
    }
    if (this.#sock_fd !== -1 || this.#is_closed) {
      throw new FdServerError(
        "INVALID_ARGUMENT",
        "do not reinitialize FdServer",
        "make another one",
      );
    }
    try {
      return this.#listen();
    } catch (error) {
      this.#closeAll();
      throw error;
    }
  }

  /**
   * Serves until one client has the descriptor, or for ever if so asked. A client with a wrong
   * nonce is turned away.
   *
   * @throws {FdServerError} If a wait takes too long, if a call fails or if it was not initialized.
   */
  async serve(): Promise<void> {
    if (this.#sock_fd === -1) {
      throw new FdServerError(
        "INVALID_ARGUMENT",
        "server was not initialized",
        "call init, and do not call close before",
      );
    }
    this.#is_serving = true;
    try {
      while (!await this.#serveOne() || this.#serve_forever);
    } finally {
      this.#is_serving = false;
      if (this.#is_closed) this.#closeAll();
    }
  }

  /** Ends {@linkcode FdServer.serve}, which then fails with CANCELLED, and frees everything. */
  close(): void {
    this.#is_closed = true;
    if (!this.#is_serving) return this.#closeAll();
    this.#shim.shutdown(this.#sock_fd);
    if (this.#connection_fd !== -1) this.#shim.shutdown(this.#connection_fd);
  }

  get #shim(): Shim {
    return this.#given_shim ?? loadShim();
  }

  #listen(): string {
    const shim = this.#shim;
    this.#dup_fd = checkCall("dup", shim.fcntl(this.#fd_to_share, F_DUPFD_CLOEXEC, 0));
    this.#sock_fd = openSocket(shim);
    checkCall("bind", shim.unixAutobind(this.#sock_fd));
    checkCall("listen", shim.listen(this.#sock_fd, 0));
    const name = new Uint8Array(NAME_BYTES_MAX);
    const length = checkCall("getsockname", shim.unixName(this.#sock_fd, name, name.length));
    if (length > name.length) {
      throw new FdServerError("INVALID_ARGUMENT", "getsockname truncation", "try again");
    }
    return `@${new TextDecoder().decode(name.subarray(1, length))}`;
  }

  /** Serves one client. Returns whether it has the descriptor. */
  async #serveOne(): Promise<boolean> {
    const shim = this.#shim;
    const wait = (fd: number, call: () => number): Promise<number> =>
      waitFor(shim, fd, this.#timeout_ns, () => {
        if (!this.#is_closed) return call();
        throw new FdServerError("CANCELLED", "server was closed", "make another one");
      });
    this.#connection_fd = checkCall(
      "cmd error",
      await wait(this.#sock_fd, () => shim.accept(this.#sock_fd)),
    );
    try {
      return await this.#handleConnection(this.#connection_fd, wait);
    } finally {
      shim.close(this.#connection_fd);
      this.#connection_fd = -1;
    }
  }

  async #handleConnection(
    fd: number,
    wait: (fd: number, call: () => number) => Promise<number>,
  ): Promise<boolean> {
    const shim = this.#shim;
    const query = new Uint8Array(NONCE_BYTES_MAX);
    const unwanted_fd = new Int32Array(1);
    const length = checkCall(
      "cmd error",
      await wait(fd, () => shim.recvWithFd(fd, query, query.length, unwanted_fd)),
    );
    if (unwanted_fd[0] >= 0) shim.close(unwanted_fd[0]);
    if (!equalBytes(query.subarray(0, length), this.#nonce)) {
      shim.sendWithFd(fd, BAD_NONCE, BAD_NONCE.length, -1); // it may have gone: all the same
      return false;
    }
    const sent = shim.sendWithFd(fd, GOOD_NONCE, GOOD_NONCE.length, this.#dup_fd);
    if (sent !== GOOD_NONCE.length) throw callError("sendmsg FD", sent < 0 ? sent : -EAGAIN);
    return true;
  }

  #closeAll(): void {
    if (this.#sock_fd !== -1) this.#shim.close(this.#sock_fd);
    if (this.#dup_fd !== -1) this.#shim.close(this.#dup_fd);
    this.#sock_fd = this.#dup_fd = -1;
  }
}

/** Hands out one descriptor in the background, to one client. */
export class AsyncFdServer {
  static #server_count = 0;
  readonly #server: FdServer;
  #done: Promise<void> = Promise.resolve();

  /**
   * A server that is not yet reachable.
   *
   * @param fd The descriptor; the caller may close it after
   * {@linkcode AsyncFdServer.initAndServe}.
   * @param nonce What the client must know, 1 to 4096 bytes.
   * @param options Time limit; `serve_forever` is not used.
   * @throws {FdServerError} If the time limit is negative.
   */
  constructor(fd: number, nonce: string, options: FdServerOptions = {}) {
    this.#server = new FdServer(fd, nonce, { ...options, serve_forever: false });
  }

  /**
   * Opens the socket and serves it in the background. A failure there, but for the end of the
   * time, is a line on stderr. Without a time limit the process does not end before a client has
   * come or {@linkcode AsyncFdServer.close} was called.
   *
   * @returns The socket's name for {@linkcode getSharedFd}.
   * @throws {FdServerError} As {@linkcode FdServer.init}, or if there are 42 such servers already.
   */
  initAndServe(): string {
    if (AsyncFdServer.#server_count >= ASYNC_SERVERS_MAX) {
      throw new FdServerError(
        "RESOURCE_EXHAUSTED",
        "too many threads",
        `let some of the ${ASYNC_SERVERS_MAX} servers finish, or close them`,
      );
    }
    const path = this.#server.init();
    AsyncFdServer.#server_count++;
    this.#done = this.#serve();
    return path;
  }

  /** Resolves when the server has ended, for whatever reason. */
  get done(): Promise<void> {
    return this.#done;
  }

  /** Ends the server. */
  close(): void {
    this.#server.close();
  }

  async #serve(): Promise<void> {
    try {
      await this.#server.serve();
    } catch (error) {
      const code = error instanceof FdServerError ? error.code : "SYSTEM";
      if (code !== "DEADLINE_EXCEEDED" && code !== "CANCELLED") {
        console.error(`AsyncFdServer thread failure: ${(error as Error).message}`);
      }
    } finally {
      this.#server.close();
      AsyncFdServer.#server_count--;
    }
  }
}

/** Connects; waits while the server's queue is full. */
async function connect(
  shim: Shim,
  fd: number,
  name: Uint8Array<ArrayBuffer>,
  timeout_ns: number,
): Promise<void> {
  const begin_ns = shim.clockMonotonicNs();
  for (;;) {
    const result = shim.unixConnect(fd, name, name.length);
    const waited_ns = shim.clockMonotonicNs() - begin_ns;
    const may_wait = timeout_ns < 0 || waited_ns < timeout_ns;
    if (result !== -EAGAIN || !may_wait) {
      checkCall("connect", result);
      return;
    }
    await new Promise((done) => setTimeout(done, CONNECT_RETRY_MS));
  }
}

/** Sends the nonce and receives the descriptor on a connected socket. */
async function exchange(
  shim: Shim,
  fd: number,
  nonce: Uint8Array<ArrayBuffer>,
  timeout_ns: number,
): Promise<number> {
  const refuse = (fault: string, cure: string): FdServerError =>
    new FdServerError("INVALID_ARGUMENT", fault, cure);
  const sent = checkCall("sendmsg", shim.sendWithFd(fd, nonce, nonce.length, -1));
  if (sent === 0) throw refuse("sendmsg empty write: maybe no nonce", "pass the server's nonce");
  if (sent !== nonce.length) throw refuse("sendmsg short write", "use a shorter nonce");
  const answer = new Uint8Array(NONCE_BYTES_MAX);
  const shared_fd = new Int32Array(1);
  const length = checkCall(
    "recvmsg",
    await waitFor(
      shim,
      fd,
      timeout_ns,
      () => shim.recvWithFd(fd, answer, answer.length, shared_fd),
    ),
  );
  if (length === 0) throw refuse("recvmsg short read", "the server has ended; start it again");
  if (shared_fd[0] < 0) throw refuse("recvmsg no fd", "pass the server's own nonce");
  return shared_fd[0];
}

/**
 * Gets the descriptor that an {@linkcode FdServer} hands out.
 *
 * @param sock_path The server's name, with "@" for an abstract one.
 * @param nonce The server's nonce.
 * @param options `timeout_ms` is the limit of each wait; none unless said, as upstream.
 * @returns The descriptor; unlike upstream's it is closed on exec, so that no child keeps it.
 * @throws {FdServerError} If there is no server, or it does not give the descriptor.
 */
export async function getSharedFd(
  sock_path: string,
  nonce: string,
  options: Pick<FdServerOptions, "timeout_ms" | "shim"> = {},
): Promise<number> {
  const timeout_ns = timeoutNs(options.timeout_ms ?? 0);
  const name = new TextEncoder().encode(sock_path);
  if (name.length > NAME_BYTES_MAX) {
    throw new FdServerError("INVALID_ARGUMENT", "sock_path too big", "use 108 bytes or less");
  }
  if (sock_path.startsWith("@")) name[0] = 0;
  const shim = options.shim ?? loadShim();
  const fd = openSocket(shim);
  try {
    await connect(shim, fd, name, timeout_ns);
    return await exchange(shim, fd, new TextEncoder().encode(nonce), timeout_ns);
  } finally {
    shim.close(fd);
  }
}

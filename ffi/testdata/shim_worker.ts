/** A Worker of the shim's tests: does on its own thread what a message asks for. */
import { loadShim } from "../shim.ts";
import { cString } from "../symbols.ts";

const shim = loadShim();
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent) => void;
  postMessage: (message: unknown) => void;
};

/** Field of the calling thread's status file. */
function statusField(name: string): string {
  const line = Deno.readTextFileSync("/proc/thread-self/status").split("\n")
    .find((text) => text.startsWith(`${name}:`));
  return line?.split(/\s+/)[1] ?? "";
}

function threadName(): string {
  const name = new Uint8Array(16);
  shim.getThreadName(name);
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
}

scope.onmessage = ({ data }) => {
  switch (data.ask) {
    case "tid":
      return scope.postMessage([shim.gettid()]);
    case "wait":
      return scope.postMessage([shim.futexWait(data.address, 0, 5e9)]);
    case "timeouts": {
      const begin_ns = shim.clockMonotonicNs();
      const futex = shim.futexWait(data.address, 0, data.timeout_ns);
      const fd = shim.eventfd(0, 0);
      const poll = shim.poll(fd, 1, data.timeout_ns);
      shim.close(fd);
      return scope.postMessage([futex, poll, shim.clockMonotonicNs() - begin_ns]);
    }
    case "name": {
      const results = data.names.map((name: string) => shim.setThreadName(cString(name)));
      return scope.postMessage([results, threadName(), statusField("Name")]);
    }
    case "block": {
      const before = statusField("SigBlk");
      return scope.postMessage([before, shim.blockSignals(), statusField("SigBlk")]);
    }
  }
};

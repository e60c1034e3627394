/**
 * What runs inside the guest: the init of the initramfs, the runner of jobs, and the lines by which
 * the runner tells the host how far it is.
 *
 * @module
 */

/** A command to run in the guest. */
export interface GuestJob {
  /** Name: a word of letters, digits and underscores. */
  readonly name: string;
  /** Shell script. The host's files are there, under the host's paths. */
  readonly script: string;
  /** Time it may take in the guest, in seconds. */
  readonly timeout_s: number;
}

/** How a job ended. */
export interface JobResult {
  /** The job. */
  readonly name: string;
  /** Exit status; undefined if the guest ended before the job did. */
  readonly status: number | undefined;
  /** Whether it ran out of time. */
  readonly is_timed_out: boolean;
  /** Time from start to end as the host saw it, in milliseconds. */
  readonly elapsed_ms: number;
  /** Its stdout. */
  readonly stdout: string;
  /** Its stderr. */
  readonly stderr: string;
}

/** What the runner says on the serial line. */
export type GuestLine =
  | { readonly kind: "up" }
  | { readonly kind: "start"; readonly name: string }
  | { readonly kind: "end"; readonly name: string; readonly status: number }
  | { readonly kind: "done" }
  | { readonly kind: "fail"; readonly reason: string };

/** Sets the runner's lines off from the kernel's. */
const MARK = "@vm";
/** What timeout(1) says of a job that ran out of time, by SIGTERM and by SIGKILL. */
const TIMED_OUT_STATUSES: readonly number[] = [124, 137];
/** Folder of the run, in the guest. */
export const GUEST_OUT = "/out";
/** Tag of the host's root file system. */
export const HOST_TAG = "host";
/** Tag of the run's folder. */
export const OUT_TAG = "out";

/**
 * Reads a line of the serial console.
 *
 * @param line The line.
 * @returns What the runner said; undefined if it is another's line, or none that was ever sent.
 */
export function parseGuestLine(line: string): GuestLine | undefined {
  // The kernel may have begun a line of its own before.
  const match = line.match(/@vm (\w+)(?: (.*?))?\s*$/);
  if (match === null) return undefined;
  const [, kind, rest = ""] = match;
  if (kind === "up" || kind === "done") return { kind };
  if (kind === "fail") return { kind, reason: rest };
  if (kind === "start" && /^\w+$/.test(rest)) return { kind, name: rest };
  const end = rest.match(/^(\w+) (\d+)$/);
  if (kind === "end" && end !== null) return { kind, name: end[1], status: Number(end[2]) };
  return undefined;
}

/** Whether a job of that exit status ran out of time. */
export function isTimedOut(status: number | undefined): boolean {
  return status !== undefined && TIMED_OUT_STATUSES.includes(status);
}

/** Lets the serial line drain, then ends the guest at once; with -no-reboot QEMU ends too. */
const POWER_OFF = "sleep 1; echo b > /proc/sysrq-trigger";

/**
 * The init of the initramfs: the host's root, read-only under an overlay in memory, becomes the
 * root; then the runner takes over.
 *
 * @returns A script for busybox.
 */
export function initScript(): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
fail() { echo "${MARK} fail $*"; ${POWER_OFF}; sleep 60; }
mount -t tmpfs -o size=60% tmpfs /mnt/rw || fail "no tmpfs"
mkdir -p /mnt/rw/upper /mnt/rw/work
grep -qw virtiofs /proc/filesystems || fail "the kernel has no virtiofs built in"
mount -t virtiofs -o ro ${HOST_TAG} /mnt/host || fail "the host's files cannot be mounted"
grep -qw overlay /proc/filesystems || insmod /lib/overlay.ko ||
  fail "the kernel has no overlayfs built in, and takes no module of another version"
mount -t overlay -o lowerdir=/mnt/host,upperdir=/mnt/rw/upper,workdir=/mnt/rw/work overlay \\
  /mnt/root || fail "the overlay cannot be mounted"
cd /mnt/root
mkdir -p proc sys dev run tmp out
for name in proc sys dev; do mount --move /$name /mnt/root/$name; done
mount -t tmpfs tmpfs run
mkdir -p dev/shm dev/pts
mount -t tmpfs tmpfs dev/shm
mount -t devpts devpts dev/pts
mount -t bpf bpf sys/fs/bpf 2>/dev/null
mount -t cgroup2 cgroup2 sys/fs/cgroup 2>/dev/null
mount -t tracefs tracefs sys/kernel/tracing 2>/dev/null
mount -t debugfs debugfs sys/kernel/debug 2>/dev/null
mount -t ghost ghost sys/fs/ghost 2>/dev/null
mount -t virtiofs ${OUT_TAG} out || fail "the run's folder cannot be mounted"
ip link set lo up
exec switch_root /mnt/root /bin/sh ${GUEST_OUT}/runner.sh
`;
}

/** A text as one word of a shell. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/**
 * The runner: every job in turn, each under its own time limit, with its output in files.
 *
 * @param jobs The jobs.
 * @param cwd Folder that they run in.
 * @returns A script for sh.
 */
export function runnerScript(jobs: readonly GuestJob[], cwd: string): string {
  const calls = jobs.map(({ name, timeout_s }) => `run ${name} ${Math.ceil(timeout_s)}`);
  return `echo "${MARK} up"
export HOME=/tmp LC_ALL=C NO_COLOR=1 DENO_NO_UPDATE_CHECK=1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
run() {
  echo "${MARK} start $1"
  cd ${shellWord(cwd)}
  timeout -k 5 "$2" sh ${GUEST_OUT}/$1/script.sh >${GUEST_OUT}/$1/stdout \\
    2>${GUEST_OUT}/$1/stderr </dev/null
  echo "${MARK} end $1 $?"
}
${calls.join("\n")}
dmesg >${GUEST_OUT}/dmesg
sync
echo "${MARK} done"
${POWER_OFF}
sleep 60
`;
}

/**
 * Lines of the kernel's log that say that the kernel itself went wrong.
 *
 * @param dmesg The log.
 * @returns The lines.
 */
export function kernelFaults(dmesg: string): string[] {
  return dmesg.split("\n").filter((line) =>
    /\b(WARNING: |BUG: |Oops\b|Kernel panic|general protection|soft lockup|hung_task)/.test(line) &&
    !/\b(taint|mitigations?)\b/i.test(line)
  );
}

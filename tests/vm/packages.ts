/**
 * Fetches the kernel, QEMU, its virtiofs daemon and busybox as Debian packages and unpacks them in
 * a cache folder. Installs nothing and changes nothing of the host's apt.
 *
 * @module
 */

import { OperatingError } from "../../lib/errors.ts";
import {
  aptConfText,
  hostSources,
  preferencesText,
  privateSources,
  sourcesText,
} from "./apt_sources.ts";
import { runProcess } from "./process.ts";
import {
  CACHE_FORMAT,
  compareVersions,
  type FetchedPackage,
  KERNEL_MIN,
  LIBBPF_MIN,
  majorVersion,
  megabytes,
  parseCandidate,
  parseMadison,
  parseVersions,
  pickKernel,
  QEMU_MIN_MAJOR,
  type Versions,
} from "./versions.ts";

const LOOKUP_TIMEOUT_S = 60;
const UPDATE_TIMEOUT_S = 300;
const FETCH_TIMEOUT_S = 1200;
/** Packages with the archives that the scx program's loader is linked with, beside libbpf. */
const LOADER_ARCHIVES = ["libelf-dev", "zlib1g-dev", "libzstd-dev"];
const UNPACK_TIMEOUT_S = 120;

/** Where to put things, and whom to tell. */
export interface FetchOptions {
  /** The cache folder, absolute. */
  readonly cache: string;
  /** Gets a line when something happens. */
  readonly progress: (line: string) => void;
  /** Fetches again what is there. */
  readonly is_update?: boolean;
  /** Ends it early. */
  readonly signal?: AbortSignal;
}

/** Debian's name for the host's release. */
function hostCodename(): string {
  let text = "";
  try {
    text = Deno.readTextFileSync("/etc/os-release");
  } catch { /* no Debian then */ }
  const codename = text.match(/^VERSION_CODENAME="?(\w+)/m)?.[1];
  if (!/^ID=debian$/m.test(text) || codename === undefined || Deno.build.arch !== "x86_64") {
    throw new OperatingError(
      "the VM bench takes its packages from Debian's archive, and this is no Debian on x86-64",
      "run it on Debian 12 or 13, or in a container of it",
    );
  }
  return codename;
}

/** Whether the host has a program. */
function isOnPath(name: string): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Apt with the private configuration. */
class PrivateApt {
  readonly #env: Readonly<Record<string, string>>;
  readonly #signal: AbortSignal | undefined;

  constructor(conf_path: string, signal: AbortSignal | undefined) {
    this.#env = { APT_CONFIG: conf_path, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
    this.#signal = signal;
  }

  /** Runs a command of apt; its failure is an error that names the last line it said. */
  async run(
    command: readonly string[],
    timeout_s: number,
    more: { cwd?: string; on_line?: (line: string) => void } = {},
  ): Promise<string> {
    const result = await runProcess({
      command,
      timeout_s,
      env: this.#env,
      signal: this.#signal,
      ...more,
    });
    if (result.code === 0) return result.stdout;
    const said = result.stderr.trim().split("\n").find((line) => line.startsWith("E:")) ??
      `status ${result.code}`;
    const why = result.is_timed_out ? `took more than ${timeout_s} s` : said.replace(/^E:\s*/, "");
    throw new OperatingError(
      `${command.slice(0, 2).join(" ")} failed (${why})`,
      "see that `apt-get update` works on this host, then try again",
    );
  }

  /** Version that would be installed; undefined if none. */
  async candidate(name: string): Promise<string | undefined> {
    return parseCandidate(await this.run(["apt-cache", "policy", name], LOOKUP_TIMEOUT_S));
  }
}

/** Writes the private configuration. */
async function configureApt(folder: string, codename: string): Promise<string> {
  const sources = privateSources(hostSources(), codename);
  if (sources === undefined) {
    throw new OperatingError(
      `no source of "${codename} main" in /etc/apt`,
      "add Debian's archive to /etc/apt/sources.list.d, as a fresh Debian has it",
    );
  }
  for (const name of ["sources", "lists/partial", "cache/archives/partial"]) {
    await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  }
  const dump = await runProcess({ command: ["apt-config", "dump"], timeout_s: LOOKUP_TIMEOUT_S });
  if (dump.code !== 0) {
    throw new OperatingError("apt-config cannot be run", "install apt, as a fresh Debian has it");
  }
  const conf_path = `${folder}/apt.conf`;
  await Deno.writeTextFile(`${folder}/sources/vm.sources`, sourcesText(sources));
  await Deno.writeTextFile(`${folder}/preferences`, preferencesText(codename));
  // Proxies may carry passwords.
  await Deno.writeTextFile(conf_path, aptConfText(folder, dump.stdout), { mode: 0o600 });
  return conf_path;
}

/** A progress line from what apt says: "Get:3 ADDRESS SUITE ARCH NAME ... [SIZE]". */
export function fetchedLine(line: string): string | undefined {
  const match = line.match(/^Get:\d+ \S+ .*? (\S+) \w+ \S+ \[([^\]]+)\]$/);
  return match === null ? undefined : `fetch ${match[1]} (${match[2]})`;
}

/** What is fetched: the tools and their libraries, the daemon's package if separate, the kernel. */
interface Plan {
  readonly kernel_release: string;
  readonly kernel: readonly string[];
  readonly tools: readonly string[];
  /** Suite that the tools come from, if not the host's own. */
  readonly tools_suite: string | undefined;
  /** Package with the daemon alone, as NAME=VERSION. */
  readonly virtiofsd: string | undefined;
  /** Package with libbpf's archive and headers, as NAME=VERSION. */
  readonly libbpf: string;
}

async function planKernel(apt: PrivateApt) {
  const names = await apt.run(["apt-cache", "pkgnames", "linux-"], LOOKUP_TIMEOUT_S);
  const kernel = pickKernel(names.split("\n"));
  if (kernel !== undefined) return kernel;
  throw new OperatingError(
    `the archive has no cloud kernel of ${KERNEL_MIN} or later`,
    "boot one of your own with --kernel-image",
  );
}

async function planTools(apt: PrivateApt, codename: string): Promise<Partial<Plan>> {
  const own = await apt.candidate("qemu-system-x86");
  const has_new_qemu = majorVersion(own ?? "") >= QEMU_MIN_MAJOR;
  const tools = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"];
  tools.push("busybox-static", "stress-ng");
  if (!isOnPath("clang")) tools.push("clang");
  const tools_suite = has_new_qemu ? undefined : `${codename}-backports`;
  if (await apt.candidate("virtiofsd") !== undefined) {
    return { tools: [...tools, "virtiofsd"], tools_suite, virtiofsd: undefined };
  }
  // Until QEMU 8 the daemon was part of QEMU.
  const madison = await apt.run(["apt-cache", "madison", "qemu-system-common"], LOOKUP_TIMEOUT_S);
  const old = parseMadison(madison).find(({ version }) => majorVersion(version) < 8);
  if (old === undefined) {
    throw new OperatingError(
      `Debian ${codename} has neither virtiofsd nor QEMU before 8`,
      "run the bench on Debian 12 or 13",
    );
  }
  return { tools, tools_suite, virtiofsd: `${old.name}=${old.version}` };
}

/** The scx program's loader needs libbpf 1.2 or later, which links struct_ops. */
async function planLibbpf(apt: PrivateApt): Promise<string> {
  const madison = await apt.run(["apt-cache", "madison", "libbpf-dev"], LOOKUP_TIMEOUT_S);
  const upstream = (version: string) => version.replace(/^\d+:/, "");
  const known = parseMadison(madison)
    .filter(({ version }) => compareVersions(upstream(version), LIBBPF_MIN) >= 0)
    .sort((a, b) => compareVersions(upstream(a.version), upstream(b.version)));
  if (known.length > 0) return `${known[0].name}=${known[0].version}`;
  throw new OperatingError(
    `the archive has no libbpf-dev of ${LIBBPF_MIN} or later`,
    "see that /etc/apt has the main archive of Debian",
  );
}

/** Downloads into folders of their own: the tools, the kernel, the daemon, libbpf. */
async function download(apt: PrivateApt, plan: Plan, folder: string, on_line: (l: string) => void) {
  const suite = plan.tools_suite === undefined ? [] : ["-t", plan.tools_suite];
  // What the host has installed is fetched all the same: it may have it in another version.
  const install = ["apt-get", "install", "-q", "-y", "--download-only", "--reinstall", ...suite];
  await apt.run([...install, ...plan.tools], FETCH_TIMEOUT_S, { on_line });
  const fetch = async (name: string, packages: readonly string[]) => {
    const cwd = `${folder}/${name}`;
    await Deno.mkdir(cwd, { recursive: true });
    if (packages.length === 0) return;
    await apt.run(["apt-get", "download", "-q", ...packages], FETCH_TIMEOUT_S, { cwd, on_line });
  };
  await fetch("kernel", plan.kernel);
  // Not from backports, whose libelf.a lacks a part of itself.
  await fetch("libbpf", [plan.libbpf, ...LOADER_ARCHIVES]);
  await fetch("daemon", plan.virtiofsd === undefined ? [] : [plan.virtiofsd]);
}

function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Unpacks every package of a folder; returns what they were. */
async function unpack(from: string, to: string, signal?: AbortSignal): Promise<FetchedPackage[]> {
  const packages: FetchedPackage[] = [];
  await Deno.mkdir(to, { recursive: true });
  const names = [...Deno.readDirSync(from)].map(({ name }) => name).sort();
  for (const file of names.filter((name) => name.endsWith(".deb"))) {
    const command = ["dpkg", "-x", `${from}/${file}`, to];
    const { code, stderr } = await runProcess({ command, timeout_s: UNPACK_TIMEOUT_S, signal });
    if (code !== 0) {
      throw new OperatingError(
        `dpkg cannot unpack ${file} (${stderr.trim()})`,
        "remove the cache folder .cache/vm, see that the disk has 300 MB free, then try again",
      );
    }
    const bytes = await Deno.readFile(`${from}/${file}`);
    const [name, version] = file.replace(/_\w+\.deb$/, "").split("_");
    const sha256 = hex(await crypto.subtle.digest("SHA-256", bytes));
    packages.push({ name, version: decodeURIComponent(version), bytes: bytes.length, sha256 });
  }
  return packages;
}

/** First of some paths that is there, from a folder. */
function firstPresent(folder: string, paths: readonly string[], what: string): string {
  const found = paths.find((path) => {
    try {
      return Deno.statSync(`${folder}/${path}`).isFile;
    } catch {
      return false;
    }
  });
  if (found !== undefined) return found;
  throw new OperatingError(
    `the packages hold no ${what} where this bench looks for it`,
    "report it with .cache/vm/versions.json; --kernel-image boots another kernel",
  );
}

/** Fetches and unpacks all; returns the record. */
async function fetchAll(codename: string, options: FetchOptions): Promise<Versions> {
  const { cache, progress, signal } = options;
  progress(
    `fetch lists of packages (about 20 MB) with a private apt configuration in ${cache}/apt`,
  );
  const apt_folder = `${cache}/apt`;
  const apt = new PrivateApt(await configureApt(apt_folder, codename), signal);
  await apt.run(["apt-get", "update", "-q"], UPDATE_TIMEOUT_S);
  const kernel = await planKernel(apt);
  const plan = {
    kernel_release: kernel.release,
    kernel: kernel.names,
    ...await planTools(apt, codename),
    libbpf: await planLibbpf(apt),
  } as Plan;
  const on_line = (line: string) => {
    const text = fetchedLine(line);
    if (text !== undefined) progress(text);
  };
  await download(apt, plan, apt_folder, on_line);
  progress("unpack");
  const packages = [
    ...await unpack(`${apt_folder}/cache/archives`, `${cache}/tools`, signal),
    ...await unpack(`${apt_folder}/daemon`, `${cache}/daemon`, signal),
    ...await unpack(`${apt_folder}/libbpf`, `${cache}/libbpf`, signal),
    ...await unpack(`${apt_folder}/kernel`, `${cache}/kernel`, signal),
  ];
  await Deno.remove(apt_folder, { recursive: true });
  const bytes = packages.reduce((sum, one) => sum + one.bytes, 0);
  progress(`${packages.length} packages, ${megabytes(bytes)}`);
  const modules = `kernel/usr/lib/modules/${plan.kernel_release}`;
  return {
    format: CACHE_FORMAT,
    codename,
    kernel_release: plan.kernel_release,
    kernel_image: firstPresent(cache, [
      `${modules}/vmlinuz`,
      `${modules}/vmlinuz.unsigned`,
      `kernel/boot/vmlinuz-${plan.kernel_release}`,
    ], "kernel image"),
    virtiofsd: firstPresent(cache, [
      "tools/usr/libexec/virtiofsd",
      "tools/usr/lib/qemu/virtiofsd",
      "daemon/usr/lib/qemu/virtiofsd",
    ], "virtiofs daemon"),
    packages,
  };
}

/**
 * Makes sure that the packages are there.
 *
 * @param options Where, and whether to fetch them anew.
 * @returns What is there.
 * @throws {OperatingError} If something cannot be had, with the cure.
 */
export async function ensurePackages(options: FetchOptions): Promise<Versions> {
  const codename = hostCodename();
  const { cache } = options;
  await Deno.mkdir(cache, { recursive: true });
  using lock = await Deno.open(`${cache}/lock`, { create: true, write: true });
  await lock.lock(true);
  const record_path = `${cache}/versions.json`;
  const text = await Deno.readTextFile(record_path).catch(() => "");
  const known = options.is_update ? undefined : parseVersions(text, codename);
  if (known !== undefined) return known;
  for (const name of ["versions.json", "apt", "tools", "daemon", "libbpf", "kernel"]) {
    await Deno.remove(`${cache}/${name}`, { recursive: true }).catch(() => {});
  }
  const versions = await fetchAll(codename, options);
  await Deno.writeTextFile(record_path, `${JSON.stringify(versions, null, 2)}\n`);
  return versions;
}

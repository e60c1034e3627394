/**
 * Which package to take, and the record of what was taken.
 *
 * @module
 */

/** The first kernel that has every kfunc the scx kernel needs; 7.2 lacks some. */
export const KERNEL_MIN = "7.3";
/** The first QEMU whose multi-threaded TCG survives the kernel patching its own code. */
export const QEMU_MIN_MAJOR = 10;

/** The first libbpf that links struct_ops with the loader's life and takes Debian 7.3's kfuncs. */
export const LIBBPF_MIN = "1.5";

/** A version of one package in one suite, from `apt-cache madison`. */
export interface Candidate {
  /** The package. */
  readonly name: string;
  /** Its version. */
  readonly version: string;
}

/**
 * Compares dotted version numbers; what follows the numbers does not count.
 *
 * @param a One version.
 * @param b The other.
 * @returns Negative, zero or positive, as for Array.sort.
 */
export function compareVersions(a: string, b: string): number {
  const numbers = (text: string) => (text.match(/^[\d.]+/)?.[0] ?? "").split(".").map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Major version of an upstream version, without Debian's epoch.
 *
 * @param version Debian's version, such as "1:10.0.2+ds-2".
 * @returns The number; NaN if there is none.
 */
export function majorVersion(version: string): number {
  return Number(version.replace(/^\d+:/, "").match(/^\d+/)?.[0] ?? NaN);
}

/** The packages of one kernel: its image and its modules. */
export interface KernelPackages {
  /** Release as `uname -r` says it. */
  readonly release: string;
  /** Names of the packages. */
  readonly names: readonly string[];
}

/**
 * Picks the newest cloud kernel of {@linkcode KERNEL_MIN} or later that has both its packages.
 *
 * @param names Package names that the archive has.
 * @returns The kernel, or undefined if there is none.
 */
export function pickKernel(names: readonly string[]): KernelPackages | undefined {
  const known = new Set(names);
  const releases = names.flatMap((name) => {
    const match = name.match(/^linux-binary-unsigned-(\d+\.\d+(?:\.\d+)?[+~]\w+-cloud-amd64)$/);
    return match === null ? [] : [match[1]];
  }).filter((release) =>
    compareVersions(release, KERNEL_MIN) >= 0 && known.has(`linux-modules-${release}`)
  );
  const release = releases.sort(compareVersions).at(-1);
  if (release === undefined) return undefined;
  return { release, names: [`linux-binary-unsigned-${release}`, `linux-modules-${release}`] };
}

/**
 * Reads `apt-cache madison`.
 *
 * @param text What it printed.
 * @returns Every version, in the order printed.
 */
export function parseMadison(text: string): Candidate[] {
  return text.split("\n").flatMap((line) => {
    const [name, version] = line.split("|").map((field) => field.trim());
    return name && version ? [{ name, version }] : [];
  });
}

/** Candidate of a package from `apt-cache policy`; undefined if apt would take none. */
export function parseCandidate(text: string): string | undefined {
  const version = text.match(/^\s*Candidate:\s*(\S+)/m)?.[1];
  return version === undefined || version === "(none)" ? undefined : version;
}

/** A package that was unpacked. */
export interface FetchedPackage extends Candidate {
  /** Size of the file, in bytes. */
  readonly bytes: number;
  /** SHA-256 of the file, in hexadecimal. */
  readonly sha256: string;
}

/** Contents of versions.json. */
export interface Versions {
  /** Layout of the cache folder; another number means it is to be made again. */
  readonly format: number;
  /** The host's release that the tools were taken for. */
  readonly codename: string;
  /** The kernel, as `uname -r` says it. */
  readonly kernel_release: string;
  /** The kernel's image, from the cache folder. */
  readonly kernel_image: string;
  /** The virtiofs daemon, from the cache folder. */
  readonly virtiofsd: string;
  /** What was unpacked. */
  readonly packages: readonly FetchedPackage[];
}

/** {@linkcode Versions.format} of this version. */
export const CACHE_FORMAT = 3;

/**
 * Reads versions.json.
 *
 * @param text Its text.
 * @param codename The host's release.
 * @returns The record, or undefined if the packages are to be fetched again.
 */
export function parseVersions(text: string, codename: string): Versions | undefined {
  try {
    const versions: Versions = JSON.parse(text);
    const is_ours = versions.format === CACHE_FORMAT && versions.codename === codename;
    return is_ours ? versions : undefined;
  } catch {
    return undefined; // a record that was cut short: fetch again
  }
}

/** A size as people read it. */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

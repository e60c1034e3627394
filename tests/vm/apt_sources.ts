/**
 * Reads the host's apt sources, and writes a private apt configuration from them: the same mirror
 * and keyring, further suites, and nothing of it in /etc/apt. Format: sources.list(5).
 *
 * @module
 */

/** One archive with one or more suites, as apt knows it. */
export interface AptSource {
  /** Addresses of the archive. */
  readonly uris: readonly string[];
  /** Suites, such as "bookworm" or "bookworm-updates". */
  readonly suites: readonly string[];
  /** Components, such as "main". */
  readonly components: readonly string[];
  /** Keyring file or key block that signs it; undefined where apt's own keyrings do. */
  readonly signed_by: string | undefined;
}

/** Fields of one deb822 stanza; the lines that continue a field keep their line breaks. */
function stanzaFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let name = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const field = line.match(/^([A-Za-z-]+):\s*(.*)$/);
    if (field !== null) {
      name = field[1].toLowerCase();
      fields.set(name, field[2].trim());
    } else if (name !== "") {
      fields.set(name, `${fields.get(name)}\n${line}`);
    }
  }
  return fields;
}

function words(text: string | undefined): string[] {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}

/**
 * Reads a `.sources` file.
 *
 * @param text Its text.
 * @returns The enabled archives of binary packages.
 */
export function parseDeb822(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const stanza of text.split(/\n\s*\n/)) {
    const fields = stanzaFields(stanza);
    if (/^(no|false|0|off)$/i.test(fields.get("enabled") ?? "yes")) continue;
    if (!words(fields.get("types")).includes("deb")) continue;
    sources.push({
      uris: words(fields.get("uris")),
      suites: words(fields.get("suites")),
      components: words(fields.get("components")),
      signed_by: fields.get("signed-by"),
    });
  }
  return sources;
}

/**
 * Reads a `.list` file, one archive a line.
 *
 * @param text Its text.
 * @returns The archives of binary packages.
 */
export function parseOneLine(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const match = line.replace(/#.*/, "").match(/^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)(.*)$/);
    if (match === null) return [];
    const [, options = "", uri, suite, components] = match;
    const signed_by = options.match(/(?:^|\s)signed-by=(\S+)/)?.[1];
    return [{ uris: [uri], suites: [suite], components: words(components), signed_by }];
  });
}

/**
 * Reads all of the host's sources.
 *
 * @param etc_apt Folder of the host's configuration.
 * @returns The archives, in apt's order of files.
 */
export function hostSources(etc_apt = "/etc/apt"): AptSource[] {
  const files: string[] = [`${etc_apt}/sources.list`];
  try {
    const names = [...Deno.readDirSync(`${etc_apt}/sources.list.d`)].map(({ name }) => name);
    files.push(...names.sort().map((name) => `${etc_apt}/sources.list.d/${name}`));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files.flatMap((path) => {
    if (!/\.(list|sources)$/.test(path)) return [];
    try {
      const text = Deno.readTextFileSync(path);
      return path.endsWith(".list") ? parseOneLine(text) : parseDeb822(text);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  });
}

/** Suites to add: the kernel's, and those of QEMU for a host that is a release behind. */
export function addedSuites(codename: string): string[] {
  const added = ["trixie", "trixie-backports"];
  if (codename === "bookworm") added.push("bookworm-backports");
  return added;
}

function isSuiteOf(codename: string, suite: string): boolean {
  return suite === codename || suite.startsWith(`${codename}-`);
}

/**
 * The private sources: what the host has of its own release, and the added suites from the archive
 * that has the release itself.
 *
 * @param host The host's sources.
 * @param codename The host's release, such as "bookworm".
 * @returns The sources; undefined if none of the host's has the release.
 */
export function privateSources(
  host: readonly AptSource[],
  codename: string,
): AptSource[] | undefined {
  const own = host.filter(({ components }) => components.includes("main"))
    .map((source) => ({
      ...source,
      suites: source.suites.filter((suite) => isSuiteOf(codename, suite)),
      components: ["main"],
    }))
    .filter(({ suites }) => suites.length > 0);
  const release = own.find(({ suites }) => suites.includes(codename));
  if (release === undefined) return undefined;
  const present = new Set(own.flatMap(({ suites }) => suites));
  const suites = addedSuites(codename).filter((suite) => !present.has(suite));
  return suites.length === 0 ? own : [...own, { ...release, suites }];
}

/**
 * Text of a `.sources` file.
 *
 * @param sources The archives.
 * @returns The text.
 */
export function sourcesText(sources: readonly AptSource[]): string {
  return sources.map(({ uris, suites, components, signed_by }) =>
    [
      "Types: deb",
      `URIs: ${uris.join(" ")}`,
      `Suites: ${suites.join(" ")}`,
      `Components: ${components.join(" ")}`,
      ...(signed_by === undefined ? [] : [`Signed-By: ${signed_by}`]),
    ].join("\n") + "\n"
  ).join("\n");
}

/**
 * Text of a preferences file: of the added suites apt may take kernels alone, so that the tools
 * come with libraries of the host's own release.
 *
 * @param codename The host's release.
 * @returns The text.
 */
export function preferencesText(codename: string): string {
  const pin = (name: string, suite: string, priority: number) =>
    `Package: ${name}\nPin: release n=${suite}\nPin-Priority: ${priority}\n`;
  return addedSuites(codename)
    .filter((suite) => !isSuiteOf(codename, suite))
    .flatMap((suite) => [pin("linux-*", suite, 1), pin("*", suite, -1)])
    .join("\n");
}

/**
 * Text of the private apt.conf. Of the host's own settings only those about fetching (proxies,
 * time limits) hold; its hooks and folders do not.
 *
 * @param folder Folder of the private configuration, absolute.
 * @param host_dump What `apt-config dump` says on the host.
 * @returns The text.
 */
export function aptConfText(folder: string, host_dump: string): string {
  const fetching = host_dump.split("\n").filter((line) =>
    line.startsWith("Acquire::") && !line.startsWith("Acquire::IndexTargets") &&
    !line.startsWith("Acquire::Languages")
  );
  return [
    ...fetching,
    'Acquire::Languages "none";',
    'Dir::Etc::main "/dev/null";',
    'Dir::Etc::parts "/dev/null";',
    'Dir::Etc::sourcelist "/dev/null";',
    `Dir::Etc::sourceparts "${folder}/sources";`,
    `Dir::Etc::preferences "${folder}/preferences";`,
    'Dir::Etc::preferencesparts "/dev/null";',
    `Dir::State::lists "${folder}/lists";`,
    `Dir::Cache "${folder}/cache";`,
    'Debug::NoLocking "1";', // the locks are dpkg's; nothing is installed
    'APT::Sandbox::User "root";', // _apt may not be able to reach this folder
    'APT::Install-Recommends "0";',
  ].join("\n") + "\n";
}

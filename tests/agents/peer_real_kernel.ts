/**
 * The native peer as a kernel of the host: for tests of everything between an agent's command line
 * and its threads, where no kernel is at hand.
 *
 * @module
 */
import {
  PEER_OPENER,
  type PeerEnclave,
  PeerKernel,
  type PeerOptions,
} from "../../kernels/peer/peer_kernel.ts";
import type { PortOpener } from "../../kernels/agent_spec.ts";
import type { RealKernel } from "../../kernels/real_kernel.ts";

/** Where the enclaves of a peer would be. */
export const PEER_DIR = "/peer/enclave_";

/** A peer that can be opened like a kernel of the host. */
export class PeerRealKernel extends PeerKernel implements RealKernel {
  /** See {@linkcode RealKernel.opener}. */
  readonly opener: PortOpener = PEER_OPENER;
  /** How many agents still have it open. */
  open_count = 1;
  readonly #cpus: readonly number[];
  readonly #ctl: string | undefined;

  /**
   * @param options What it plays.
   * @param ctl A file that stands for the enclave's control file.
   */
  constructor(options: PeerOptions, ctl?: string) {
    super(options);
    this.#cpus = this.cpuRows().map(({ cpu }) => cpu);
    this.#ctl = ctl;
  }

  /** A peer ends with its process: who follows one that died finds the enclave new. */
  override attachEnclave(id: number): PeerEnclave | number {
    const there = super.attachEnclave(id);
    if (typeof there !== "number" || this.#ctl === undefined) return there;
    return this.createEnclave(this.#cpus, this.abi.version);
  }

  /** A kernel outlives the processes that have opened it. */
  override close(): void {
    if (--this.open_count === 0) super.close();
  }

  /** See {@linkcode RealKernel.destroyActions}. */
  destroyActions(): readonly (readonly [path: string, text: string])[] {
    return this.#ctl === undefined ? [] : [[this.#ctl, "destroy"]];
  }

  /** See {@linkcode RealKernel.enclaveIdOf}. */
  enclaveIdOf(path: string): number | undefined {
    return path.startsWith(PEER_DIR) ? Number(path.slice(PEER_DIR.length)) : undefined;
  }

  /** See {@linkcode RealKernel.enclavePath}. */
  enclavePath(id: number): string {
    return `${PEER_DIR}${id}`;
  }
}

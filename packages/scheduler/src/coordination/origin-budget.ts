import type { SchedulingCore } from '../core/core.ts'
import type { Session } from './session.ts'

/** A node's session, as far as it is told its share. */
type Told = Pick<Session, 'tell'>

/** Bytes a second. With less, a piece would take so long that others take the node for broken. */
export const LEAST_SHARE = 64 * 1024
/** Nodes that may fetch on their own at once before they are more than the cluster may: few ever have reason to. */
const NODES_ALONE = 8
/** A node hears of a higher share only when it is higher by so much. */
const WORTH_TELLING = 1.1

/**
 * Shares what the cluster may fetch from origins: the nodes that fetch for all have it, each by its leases; every other
 * node, and one that has no scheduler, an eighth of it for the blobs that it must fetch on its own.
 */
export class OriginBudget {
  readonly #bytesPerSecond: number
  readonly #told = new WeakMap<Told, number>()
  /** Nodes with leases, by index. */
  readonly #lessees = new Set<number>()

  /** @param bytesPerSecond at least `LEAST_SHARE`; 0: there is no limit, and nodes are told nothing */
  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Tells a new node its share. */
  greet(session: Told): void {
    if (this.#bytesPerSecond > 0) this.#tell(session, this.#aloneShare)
  }

  /**
   * Tells each node whose share has changed, before it hears of the leases.
   * @param changed nodes of which a lease began or ended, also such as are gone
   */
  share(core: SchedulingCore, changed: ReadonlySet<number>, find: (node: number) => Told | undefined): void {
    if (this.#bytesPerSecond === 0 || changed.size === 0) return
    for (const index of changed) {
      const session = find(index)
      if (session !== undefined && core.node(index).leases > 0) {
        this.#lessees.add(index)
        continue
      }
      this.#lessees.delete(index)
      if (session !== undefined) this.#tell(session, this.#aloneShare)
    }
    for (const index of this.#lessees) {
      const share = Math.floor((this.#bytesPerSecond * core.node(index).leases) / core.leases.granted)
      const session = find(index)
      if (session !== undefined) this.#tell(session, Math.max(LEAST_SHARE, share))
    }
  }

  #tell(session: Told, bytesPerSecond: number): void {
    const told = this.#told.get(session)
    if (told !== undefined && bytesPerSecond >= told && bytesPerSecond < told * WORTH_TELLING) return
    this.#told.set(session, bytesPerSecond)
    session.tell({ $case: 'originBudget', value: { bytesPerSecond, aloneBytesPerSecond: this.#aloneShare } })
  }

  get #aloneShare(): number {
    return Math.max(LEAST_SHARE, Math.floor(this.#bytesPerSecond / NODES_ALONE))
  }
}

import { NodeRole, type Parent } from '@shoal/proto'
import type { ParentNode } from './events.ts'

/** Addresses of a parent that are kept, however many come. */
const MOST_MULTIADDRS = 4

/** A blob as a stream numbers it. */
export interface NamedSwarm {
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
}

/** The numbers that one stream has for swarms and parents. */
export class StreamNames {
  readonly #swarms = new Map<number, NamedSwarm>()
  readonly #numbers = new Map<string, number>()
  readonly #parents = new Map<number, ParentNode>()
  /** The same by peer id. */
  readonly #parentOf = new Map<string, ParentNode>()

  nameSwarm(number: number, swarm: NamedSwarm): void {
    this.#swarms.set(number, swarm)
    this.#numbers.set(swarm.digest, number)
  }

  /** The swarm is the one that is meant by its digest from now on: there may be others, of other sizes. */
  turnTo(number: number): void {
    const swarm = this.#swarms.get(number)
    if (swarm !== undefined) this.#numbers.set(swarm.digest, number)
  }

  nameParent({ parent: number, peerId, laneHost: host, lanePort: port, role, multiaddrs }: Parent): void {
    const parent: ParentNode = {
      number,
      peerId,
      host,
      port,
      role: role === NodeRole.SEED ? 'seed' : 'peer',
      multiaddrs: multiaddrs.slice(0, MOST_MULTIADDRS),
    }
    this.#parents.set(number, parent)
    this.#parentOf.set(peerId, parent)
  }

  swarm(number: number): NamedSwarm | undefined {
    return this.#swarms.get(number)
  }

  numberOf(digest: string): number | undefined {
    return this.#numbers.get(digest)
  }

  parent(number: number): ParentNode | undefined {
    return this.#parents.get(number)
  }

  /** The parent as it was introduced last; undefined: it was not. */
  parentOf(peerId: string): ParentNode | undefined {
    return this.#parentOf.get(peerId)
  }

  /** Whether this stream introduced the parent: another may have given the same number to another node. */
  hasIntroduced(parent: ParentNode): boolean {
    return this.#parents.get(parent.number) === parent
  }
}

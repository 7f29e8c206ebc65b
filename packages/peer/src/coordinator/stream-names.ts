import { NodeRole, type Parent } from '@shoal/proto'
import type { ParentNode } from './events.ts'

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

  nameSwarm(number: number, swarm: NamedSwarm): void {
    this.#swarms.set(number, swarm)
    this.#numbers.set(swarm.digest, number)
  }

  nameParent({ parent: number, peerId, laneHost: host, lanePort: port, role }: Parent): void {
    this.#parents.set(number, { number, peerId, host, port, role: role === NodeRole.SEED ? 'seed' : 'peer' })
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

  /** Whether this stream introduced the parent: another may have given the same number to another node. */
  hasIntroduced(parent: ParentNode): boolean {
    return this.#parents.get(parent.number) === parent
  }
}

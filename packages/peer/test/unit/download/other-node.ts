import { createHash } from 'node:crypto'
import { HaveSet } from '@shoal/core'
import type { Wanted } from '../../../src/swarm/holders.ts'
import { content, digest, layout, source, type World } from './world.ts'

/** What a node that is to fetch the blob for others is told, when it is to begin at the front. */
export const wanted: Wanted = { size: content.byteLength, ...source, firstPiece: 0 }

/** Another node of the network, scripted. */
export class Other {
  readonly peerId: string
  readonly held = new Set<number>()
  readonly wanted: Wanted[] = []
  isFetching = false
  isDownloading = false
  /** Whom it has chosen to fetch in its place. */
  fetcher: string | undefined
  /** Called when it is asked to fetch from the origin. */
  fetch = () => {}
  readonly #world: World

  /** Joins the network of `world`, as a provider of the blob when it holds some of it. */
  constructor(world: World, peerId: string, held: Iterable<number>) {
    this.#world = world
    this.peerId = peerId
    world.parents.set(peerId, content)
    const finder = world.network.join(peerId, {
      holdings: async () => {
        const hasNothing = this.held.size === 0 && !this.isFetching && this.fetcher === undefined
        return hasNothing ? undefined : this.#holdings()
      },
      fetchForOthers: async (_digest, what) => {
        this.wanted.push(what)
        this.fetch()
      },
    })
    this.hold(held)
    if (this.held.size > 0) finder.provide(digest)
  }

  hold(pieces: Iterable<number>): void {
    for (const piece of pieces) this.held.add(piece)
  }

  /** How often this node was asked for pieces. */
  get sent(): number {
    return this.#world.pieceRequests.filter((one) => one.endsWith(` ${this.peerId}`)).length
  }

  #holdings() {
    const have = new HaveSet(layout.count)
    const sha256s = new Uint8Array(layout.count * 32)
    for (const piece of this.held) {
      have.add(piece)
      const bytes = content.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece))
      sha256s.set(createHash('sha256').update(bytes).digest(), piece * 32)
    }
    const { isFetching, isDownloading, fetcher } = this
    const prospects = { isFetching, isDownloading, ...(fetcher === undefined ? {} : { fetcher }) }
    return { size: content.byteLength, have, sha256s, ...prospects }
  }
}

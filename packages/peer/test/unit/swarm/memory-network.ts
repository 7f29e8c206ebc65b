import { contentIdOf } from '../../../src/swarm/content-id.ts'
import { nearestTo, placeOf } from '../../../src/swarm/distance.ts'
import type { Holder, HolderFinder, HoldingsSource, NamedNode, Wanted } from '../../../src/swarm/holders.ts'
import { encodeAnswer, encodeQuestion, parseAnswer, parseQuestion } from '../../../src/swarm/holdings-messages.ts'

/** A libp2p network in memory: nodes that find and ask each other, over the messages that go over the wire. */
export class MemoryNetwork {
  readonly nodes = new Map<string, MemoryFinder>()
  readonly providers = new Map<string, Set<string>>()
  /** Peer ids of nodes that do not answer. */
  readonly silent = new Set<string>()
  /** Peer ids in the order in which they are nearest to every digest; empty: by the DHT's distance. */
  nearest: readonly string[] = []

  /** @param host where its lane is said to be */
  join(peerId: string, source: HoldingsSource, host = 'h'): MemoryFinder {
    const node = new MemoryFinder(this, peerId, source, host)
    this.nodes.set(peerId, node)
    return node
  }
}

/** One node of a MemoryNetwork. */
export class MemoryFinder implements HolderFinder {
  readonly peerId: string
  /** Ids of the nodes that were asked, with ` wanted FIRST` when they were to fetch. */
  readonly asked: string[] = []
  readonly #network: MemoryNetwork
  readonly #source: HoldingsSource
  readonly #host: string

  constructor(network: MemoryNetwork, peerId: string, source: HoldingsSource, host: string) {
    this.#network = network
    this.peerId = peerId
    this.#source = source
    this.#host = host
  }

  provide(digest: string): void {
    const providers = this.#network.providers.get(digest) ?? new Set()
    this.#network.providers.set(digest, providers.add(this.peerId))
  }

  async *find(digest: string, signal: AbortSignal): AsyncGenerator<string> {
    for (const peerId of this.#network.providers.get(digest) ?? []) {
      signal.throwIfAborted()
      if (peerId !== this.peerId) yield peerId
    }
  }

  async nearest(digest: string, count: number): Promise<readonly string[]> {
    if (this.#network.nearest.length > 0) return this.#network.nearest.slice(0, count)
    const candidates = [...this.#network.nodes.keys()].map((peerId) => ({
      peerId,
      place: placeOf(Buffer.from(peerId)),
    }))
    return nearestTo(placeOf(contentIdOf(digest).multihash.bytes), candidates, count).map(({ peerId }) => peerId)
  }

  async ask(
    { peerId }: NamedNode,
    { digest, size }: { readonly digest: string; readonly size: number },
    wanted: Wanted | undefined,
  ): Promise<Holder | undefined> {
    this.asked.push(wanted === undefined ? peerId : `${peerId} wanted ${wanted.firstPiece}`)
    const node = this.#network.nodes.get(peerId)
    if (node === undefined || this.#network.silent.has(peerId)) throw new Error(`${peerId} does not answer`)
    const bytes = await node.#answer(
      encodeQuestion(wanted === undefined ? { digest } : { digest, wanted }),
      this.peerId,
    )
    const answer = parseAnswer(bytes, size)
    if (answer === undefined) return undefined
    return { ...answer.holdings, peerId, host: answer.host, port: answer.port }
  }

  async #answer(bytes: Uint8Array, asker: string): Promise<Uint8Array> {
    const question = parseQuestion(bytes)
    if (question === undefined) throw new Error('not a question')
    if (question.wanted !== undefined) await this.#source.fetchForOthers(question.digest, question.wanted, asker)
    const holdings = await this.#source.holdings(question.digest)
    return encodeAnswer(holdings === undefined ? undefined : { holdings, host: this.#host, port: 1 })
  }
}

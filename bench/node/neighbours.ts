/** A process of nodes that take from another what a swarm takes from each of its nodes, over the lane, and drop it. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { PieceLayout } from '@shoal/core'
import { ClientConnection, type ClientContext, LaneError, type LaneParent } from '@shoal/peer'
import { DroppedPiece, laneContext } from '../kit/lane-client.ts'
import { answerParent } from '../kit/talk.ts'

/** What the process is started with. */
export interface NeighboursPlan {
  readonly folder: string
  readonly neighbours: number
  /** From whom they take. */
  readonly parent: LaneParent
}

/** A blob that the parent gets: each neighbour takes its share of the pieces, each as soon as it is there. */
export interface SharedBlob {
  readonly digest: string
  readonly sizeBytes: number
}

const READ_BYTES = 64 * 1024
/** Pieces that one asks for at once. */
const IN_FLIGHT = 2
/** Before a piece is asked for again that the parent does not hold yet. */
const AGAIN_MS = 10

/** One of them. */
class Neighbour {
  readonly #parent: LaneParent
  readonly #context: ClientContext
  /** Its number, and one more than the highest. */
  readonly #place: { readonly number: number; readonly of: number }

  constructor(parent: LaneParent, context: ClientContext, place: { number: number; of: number }) {
    this.#parent = parent
    this.#context = context
    this.#place = place
  }

  /** Resolves to the bytes that came, when its share of the blob has. */
  async take({ digest, sizeBytes }: SharedBlob): Promise<number> {
    const layout = new PieceLayout(sizeBytes)
    const connection = new ClientConnection(this.#parent, this.#context, {
      ready: () => {},
      cutOff: () => {},
      closed: () => {},
    })
    let next = this.#place.number
    let bytes = 0
    const loop = async () => {
      for (let piece = next; piece < layout.count; piece = next) {
        next += this.#place.of
        await this.#takePiece(connection, layout, digest, piece)
        bytes += layout.length(piece)
      }
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
    connection.destroy(new LaneError('aborted', 'all is there'))
    return bytes
  }

  async #takePiece(connection: ClientConnection, layout: PieceLayout, digest: string, piece: number): Promise<void> {
    const [offset, length] = [layout.offset(piece), layout.length(piece)]
    const sha256 = new Uint8Array(0)
    for (;;) {
      const fetch = new DroppedPiece({ digest, piece, offset, length, sha256, file: '/dev/null', parent: this.#parent })
      connection.request(fetch)
      try {
        await fetch.dropped
        return
      } catch (error) {
        if (!(error instanceof LaneError) || (error.code !== 'notHeld' && error.code !== 'busy')) throw error
        await delay(AGAIN_MS)
      }
    }
  }
}

async function start({ folder, neighbours, parent }: NeighboursPlan): Promise<Neighbour[]> {
  const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)
  return Promise.all(
    Array.from({ length: neighbours }, async (_, number) => {
      const { context } = await laneContext(join(folder, `neighbour-${number}.key`), readBuffer)
      return new Neighbour(parent, context, { number, of: neighbours })
    }),
  )
}

let all: Neighbour[] | undefined

answerParent(async (message) => {
  if (all === undefined) {
    all = await start(message as NeighboursPlan)
    return 'ready'
  }
  const taken = await Promise.all(all.map((neighbour) => neighbour.take(message as SharedBlob)))
  return taken.reduce((sum, bytes) => sum + bytes, 0)
})

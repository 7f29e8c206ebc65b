import { PIECE_RULE } from '@shoal/core'
import {
  ConnectRequest,
  ConnectResponse,
  type NodeEvent,
  NodeRole,
  Priority,
  SchedulerServiceService,
} from '@shoal/proto'
import type { Call, GrpcConnection } from './grpc-connection.ts'
import { peerIdOf } from './peer-id.ts'
import type { BenchBlob, NodesPlan } from './talk.ts'

const NOTHING = Buffer.alloc(0)
const ORIGIN = { registry: 'registry.example', repository: 'bench/scheduler' }
const SEED_SLOTS = 64
const PEER_SLOTS = 16
const DURATION_US = 1000

/** What the nodes of a process share. */
export interface Surroundings {
  readonly plan: NodesPlan
  /** Some sha256 for a piece, the same wherever it is asked for. */
  readonly sha256: (piece: number) => Buffer
  readonly welcomed: () => void
  /** The node has all pieces of the blob it wanted. */
  readonly finished: () => void
  readonly failed: (error: Error) => void
}

/** A node that has every piece it is to fetch at once. Node 0 of a run is the seed. */
export class SimulatedNode {
  readonly #shared: Surroundings
  readonly #call: Call
  #events: NodeEvent[] = []
  /** Pieces it has of the blob it wants; some come twice, as the scheduler hedges. */
  readonly #has: Uint8Array
  #left = 0
  sent = 0
  received = 0

  constructor(connection: GrpcConnection, number: number, shared: Surroundings) {
    this.#shared = shared
    this.#has = new Uint8Array(shared.plan.pieces)
    this.#call = connection.call(SchedulerServiceService.connect.path, {
      message: (bytes) => this.#hear(ConnectResponse.decode(bytes)),
      failed: shared.failed,
    })
    const isSeed = number === 0
    this.#events.push({
      event: {
        $case: 'hello',
        value: {
          peerId: peerIdOf(number),
          name: `node-${number}`,
          role: isSeed ? NodeRole.SEED : NodeRole.PEER,
          laneHost: `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`,
          lanePort: 7411,
          multiaddrs: [`/ip4/10.0.0.1/tcp/7412`],
          uploadSlots: isSeed ? SEED_SLOTS : PEER_SLOTS,
          downloadSlots: PEER_SLOTS,
          labels: {},
          version: 'bench',
          readsBatches: true,
          pieceRule: PIECE_RULE,
        },
      },
    })
    this.flush()
  }

  /** Wants the blob, of which nobody has anything. */
  join({ digest, sizeBytes: size }: BenchBlob): void {
    this.#has.fill(0)
    this.#left = this.#has.length
    const value = { digest, size, origin: ORIGIN, have: NOTHING, priority: Priority.INTERACTIVE }
    this.#events.push({ event: { $case: 'join', value } })
  }

  /** Sends one message with what happened, if anything did. */
  flush(): void {
    if (this.#events.length === 0) return
    this.#call.send(ConnectRequest.encode({ events: this.#events }).finish())
    this.#events = []
    this.sent++
  }

  #hear({ commands }: ConnectResponse): void {
    this.received++
    for (const { command } of commands) {
      if (command?.$case === 'assignments') {
        const { swarm, pieces, parents } = command.value
        const durationsUs = pieces.map(() => DURATION_US)
        this.#events.push({ event: { $case: 'piecesDone', value: { swarm, pieces, parents, durationsUs } } })
        for (const piece of pieces) this.#got(piece)
      } else if (command?.$case === 'lease') {
        const { swarm, firstPiece, pieceCount } = command.value
        for (let piece = firstPiece; piece < firstPiece + pieceCount; piece++) {
          this.#fetched(swarm, piece)
        }
      } else if (command?.$case === 'welcome') this.#shared.welcomed()
      else if (command?.$case === 'swarmFailed') this.#shared.failed(new Error('the scheduler gave the swarm up'))
    }
  }

  #fetched(swarm: number, piece: number): void {
    const sha256 = this.#shared.sha256(piece)
    this.#events.push({
      event: { $case: 'pieceDone', value: { swarm, piece, parent: 0, sha256, durationUs: DURATION_US } },
    })
    this.#got(piece)
  }

  #got(piece: number): void {
    if (this.#has[piece] === 1) return
    this.#has[piece] = 1
    if (--this.#left === 0) this.#shared.finished()
  }
}

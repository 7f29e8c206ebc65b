import { PieceFailed_Reason } from '@shoal/proto'
import type { Coordinator, ParentNode, PieceAssignment } from '../coordinator/events.ts'
import type { LaneErrorCode } from '../lane/errors.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { PieceWorkers } from './dependencies.ts'
import { laneCodeOf } from './piece-failures.ts'
import type { PieceFlights } from './piece-flights.ts'
import { pieceRequestOf } from './piece-request.ts'
import { pieceFailureReason } from './reasons.ts'

/** Further parents of a piece that are remembered. */
const MOST_CHANCES = 2
/** Parents that are remembered. */
const MOST_PARENTS = 16

/** What happens to assigned pieces. */
export interface AssignedPiecesListener {
  /** A piece was written and is right; ends its flight, and resolves to whether it was kept. */
  fetched(piece: number, sha256: Uint8Array, role: ParentNode['role']): Promise<boolean>
  /** A piece did not come; its flight has ended. */
  failed(piece: number, peerId: string, code: LaneErrorCode): void
}

/** Fetches the pieces of one blob that the scheduler assigns, and tells it what became of each. */
export class AssignedPieces {
  readonly #blob: StoredBlob
  readonly #flights: PieceFlights
  readonly #dependencies: {
    readonly workers: PieceWorkers
    readonly coordinator: Coordinator
    readonly listener: AssignedPiecesListener
    readonly now: () => number
    readonly signal: AbortSignal
  }
  /** Further parents of pieces that are on their way, for when that fails. */
  readonly #secondChances = new Map<number, PieceAssignment[]>()
  /** Nodes that the scheduler sent this one to, by peer id, the last one last. */
  readonly #parents = new Map<string, ParentNode>()
  /** What is on its way by an assignment, by piece, and what hurries it. */
  readonly #onTheirWay = new Map<number, { readonly parent: ParentNode; readonly hurry: AbortController }>()

  constructor(
    blob: StoredBlob,
    flights: PieceFlights,
    dependencies: {
      workers: PieceWorkers
      coordinator: Coordinator
      listener: AssignedPiecesListener
      now: () => number
      signal: AbortSignal
    },
  ) {
    this.#blob = blob
    this.#flights = flights
    this.#dependencies = dependencies
  }

  /** Nodes that the scheduler said hold some of the blob: the last few. */
  get parents(): Iterable<ParentNode> {
    return this.#parents.values()
  }

  /** Fetches an assigned piece; never rejects. */
  async fetch(assignment: PieceAssignment): Promise<void> {
    const { piece, parent, sha256 } = assignment
    const { coordinator, listener, now, signal, workers } = this.#dependencies
    const { digest, have, layout } = this.#blob
    if (have.has(piece)) {
      coordinator.pieceDone(digest, piece, parent, 0)
      return
    }
    if (piece >= layout.count || signal.aborted) {
      coordinator.pieceFailed(digest, piece, parent, PieceFailed_Reason.LOCAL)
      return
    }
    // On its way already: its arrival is reported whoever sent it, and frees this assignment too.
    if (!this.#flights.isOpen(piece)) {
      this.#secondChances.set(piece, [...(this.#secondChances.get(piece) ?? []), assignment].slice(-MOST_CHANCES))
      // The scheduler finds it late; what still comes is waited for, as its bytes would have to come again.
      this.#onTheirWay.get(piece)?.hurry.abort()
      return
    }
    this.#flights.begin(piece)
    this.#remember(parent)
    const hurry = new AbortController()
    this.#onTheirWay.set(piece, { parent, hurry })
    try {
      const beganMs = now()
      await workers
        .fetchPiece(pieceRequestOf(this.#blob, this.#flights.arrivals, piece, sha256, parent), signal, hurry.signal)
        .finally(() => this.#onTheirWay.delete(piece))
      if (!(await listener.fetched(piece, sha256, parent.role))) return
      coordinator.pieceDone(digest, piece, parent, Math.round((now() - beganMs) * 1000))
    } catch (error) {
      this.#flights.end(piece)
      if (signal.aborted) return
      const code = laneCodeOf(error)
      listener.failed(piece, parent.peerId, code)
      coordinator.pieceFailed(digest, piece, parent, pieceFailureReason(code))
      this.takeSecondChance(piece)
    }
  }

  /** An assigned piece has nearly come. */
  ending(piece: number): void {
    const parent = this.#onTheirWay.get(piece)?.parent
    if (parent !== undefined) this.#dependencies.coordinator.pieceEnding(this.#blob.digest, piece, parent)
  }

  /** A piece that was on its way did not come: whoever was assigned meanwhile is asked. */
  takeSecondChance(piece: number): void {
    const [second, ...others] = this.#secondChances.get(piece) ?? []
    this.#secondChances.set(piece, others)
    if (second !== undefined) void this.fetch(second)
  }

  #remember(parent: ParentNode): void {
    this.#parents.delete(parent.peerId)
    this.#parents.set(parent.peerId, parent)
    const [oldest] = this.#parents.keys()
    if (this.#parents.size > MOST_PARENTS && oldest !== undefined) this.#parents.delete(oldest)
  }

  /** The piece is here. */
  forget(piece: number): void {
    this.#secondChances.delete(piece)
  }
}

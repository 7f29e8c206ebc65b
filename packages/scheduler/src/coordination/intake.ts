import type { NodeEvent } from '@shoal/proto'
import { piecesOf } from '../core/bounds.ts'

/**
 * Events of one stream are applied up to this cost at once; then all else that the scheduler has to do has its turn. It
 * is some milliseconds: 1 is a microsecond or so.
 */
const SLICE_COST = 4096
/** Pieces of a blob that are made room for, or gone through, at the cost of one event. */
const PIECES_A_COST = 32

/** What an intake holds back while it is behind. */
interface Source {
  pause(): void
  resume(): void
}

/**
 * Applies the events of one stream in order, a slice after the other, so that nobody's events, however many or dear,
 * keep the others waiting. While some wait, no more are read from the stream.
 */
export class Intake {
  readonly #source: Source
  readonly #apply: (event: NodeEvent) => void
  readonly #begin: () => void
  /** Messages whose events are not all applied, and the next event of the first. */
  readonly #waiting: (readonly NodeEvent[])[] = []
  #at = 0
  #next: NodeJS.Immediate | undefined
  #isStopped = false

  /**
   * @param apply must not throw; may call `stop`
   * @param begin called before each slice
   */
  constructor(source: Source, apply: (event: NodeEvent) => void, begin: () => void) {
    this.#source = source
    this.#apply = apply
    this.#begin = begin
  }

  /** Applies the events of a message, at once as far as the slice goes. */
  take(events: readonly NodeEvent[]): void {
    this.#waiting.push(events)
    if (this.#next === undefined) this.#run()
  }

  /** Applies nothing any more. */
  stop(): void {
    this.#isStopped = true
    this.#waiting.length = 0
    clearImmediate(this.#next)
  }

  #run(): void {
    this.#begin()
    for (let cost = 0; this.#waiting[0] !== undefined; ) {
      const event = this.#waiting[0][this.#at]
      if (event === undefined) {
        this.#waiting.shift()
        this.#at = 0
        continue
      }
      if (cost >= SLICE_COST) {
        this.#source.pause()
        this.#next = setImmediate(() => this.#run())
        return
      }
      this.#at++
      cost += costOf(event)
      this.#apply(event)
      if (this.#isStopped) return
    }
    if (this.#next === undefined) return
    this.#next = undefined
    this.#source.resume()
  }
}

function costOf({ event }: NodeEvent): number {
  switch (event?.$case) {
    case 'join':
    case 'holding':
    case 'holdingPart':
      return 1 + costOfPieces(event.value.size)
    case 'piecesDone':
      return event.value.pieces.length
    case 'pieceMap':
      return 1 + costOfPieces(event.value.size)
    default:
      return 1
  }
}

/** A blob of more pieces than may be is refused, whatever its size. */
function costOfPieces(sizeBytes: number): number {
  return Math.min(SLICE_COST, piecesOf(sizeBytes) / PIECES_A_COST)
}

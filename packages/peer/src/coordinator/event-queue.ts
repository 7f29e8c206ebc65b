import type { NodeEvent, PiecesDone } from '@shoal/proto'

export type Event = NonNullable<NodeEvent['event']>

/** Events in one message, as the contract bounds them. */
const MOST_EVENTS = 10_000
/** Bytes of one message, roughly, if a single event is not longer; gRPC refuses more than 4 MiB. */
const MOST_BYTES = 1024 * 1024
/** Bytes of an event without what varies much. */
const EVENT_BYTES = 256

/** What a node has to say to its scheduler, oldest first, and how it fits into messages. */
export class EventQueue {
  #events: Event[] = []

  get length(): number {
    return this.#events.length
  }

  push(event: Event): void {
    this.#events.push(event)
  }

  clear(): void {
    this.#events = []
  }

  /**
   * Takes the events of the next message out.
   * @param isPacked whether pieces that are done may be reported together: only where the scheduler understands it
   */
  take(isPacked: boolean): NodeEvent[] {
    let [count, bytes] = [0, 0]
    for (const event of this.#events) {
      bytes += sizeOf(event)
      if (count > 0 && (bytes > MOST_BYTES || count === MOST_EVENTS)) break
      count++
    }
    const events = this.#events.splice(0, count)
    return isPacked ? packed(events) : events.map((event) => ({ event }))
  }
}

/** Pieces of one swarm become one event, unless something else happened between them. */
function packed(events: readonly Event[]): NodeEvent[] {
  const packed: NodeEvent[] = []
  const batches = new Map<number, PiecesDone>()
  for (const event of events) {
    if (event.$case !== 'pieceDone' || event.value.parent === 0) {
      // The end of a piece may be told after it: then it is too late, and nobody minds.
      if (event.$case !== 'pieceEnding') batches.clear()
      packed.push({ event })
      continue
    }
    const { swarm, piece, parent, durationUs } = event.value
    let batch = batches.get(swarm)
    if (batch === undefined) {
      batch = { swarm, pieces: [], parents: [], durationsUs: [] }
      batches.set(swarm, batch)
      packed.push({ event: { $case: 'piecesDone', value: batch } })
    }
    batch.pieces.push(piece)
    batch.parents.push(parent)
    batch.durationsUs.push(durationUs)
  }
  return packed
}

function sizeOf(event: Event): number {
  if (event.$case === 'pieceMap') return EVENT_BYTES + event.value.sha256s.byteLength
  return event.$case === 'join' ? EVENT_BYTES + event.value.have.byteLength : EVENT_BYTES
}

import { LANE_ERROR_CODES, type LaneErrorCode } from './errors.ts'

/** How a request ended, on either side. */
export type LaneOutcome = 'ok' | LaneErrorCode
export const LANE_OUTCOMES: readonly LaneOutcome[] = ['ok', ...LANE_ERROR_CODES]

export const DIRECTIONS = ['sent', 'received'] as const
/** Which way the piece goes, seen from this node. */
export type Direction = (typeof DIRECTIONS)[number]

/** What carries the lane's frames: a TLS connection of their own, or a libp2p stream where that is not to be had. */
export const TRANSPORTS = ['tls', 'libp2p'] as const
export type Transport = (typeof TRANSPORTS)[number]

/** Shared memory that all threads of a node count in, to hand to worker threads. */
export interface CountsMemory {
  readonly totals: SharedArrayBuffer
  readonly threads: SharedArrayBuffer
}

const TOTALS_PER_DIRECTION = 1 + LANE_OUTCOMES.length
const CELLS_PER_THREAD = TRANSPORTS.length * DIRECTIONS.length

/** Memory for `threads` worker threads, all zero. */
export function createCountsMemory(threads: number): CountsMemory {
  return {
    totals: new SharedArrayBuffer(CELLS_PER_THREAD * TOTALS_PER_DIRECTION * BigInt64Array.BYTES_PER_ELEMENT),
    threads: new SharedArrayBuffer(threads * CELLS_PER_THREAD * Int32Array.BYTES_PER_ELEMENT),
  }
}

/** Reads what all threads counted. */
export class CountsReader {
  readonly #totals: BigInt64Array
  readonly #threads: Int32Array

  constructor(memory: CountsMemory) {
    this.#totals = new BigInt64Array(memory.totals)
    this.#threads = new Int32Array(memory.threads)
  }

  /** Bytes of pieces so far. */
  bytes(direction: Direction, transport: Transport = 'tls'): number {
    return Number(Atomics.load(this.#totals, bytesIndex(direction, transport)))
  }

  /** Requests that ended so so far. */
  requests(direction: Direction, outcome: LaneOutcome, transport: Transport = 'tls'): number {
    return Number(Atomics.load(this.#totals, outcomeIndex(direction, transport, outcome)))
  }

  openConnections(direction: Direction, transport: Transport = 'tls'): number {
    return sumOf(this.#threads, wayOf(direction, transport))
  }

  /** Forgets what a thread that died had open. */
  clearThread(thread: number): void {
    const first = thread * CELLS_PER_THREAD
    for (let cell = 0; cell < CELLS_PER_THREAD; cell++) Atomics.store(this.#threads, first + cell, 0)
  }
}

/** What one worker thread counts with, by what carries the frames. */
export type LaneCounts = Readonly<Record<Transport, ThreadCounts>>

export function laneCounts(memory: CountsMemory, thread: number): LaneCounts {
  return { tls: new ThreadCounts(memory, thread, 'tls'), libp2p: new ThreadCounts(memory, thread, 'libp2p') }
}

/**
 * What one worker thread counts with, of one transport. Connections, which come and go, are kept per thread, each cell written by its
 * own thread only, so that a thread's death is made good by clearing its cells.
 */
export class ThreadCounts {
  readonly #totals: BigInt64Array
  readonly #threads: Int32Array
  readonly #first: number
  readonly #transport: Transport

  constructor(memory: CountsMemory, thread: number, transport: Transport) {
    this.#transport = transport
    this.#totals = new BigInt64Array(memory.totals)
    this.#threads = new Int32Array(memory.threads)
    this.#first = thread * CELLS_PER_THREAD
  }

  /** A request ended; `bytes` of pieces went over the lane for it, whole or not. */
  ended(direction: Direction, outcome: LaneOutcome, bytes: number): void {
    if (bytes > 0) Atomics.add(this.#totals, bytesIndex(direction, this.#transport), BigInt(bytes))
    Atomics.add(this.#totals, outcomeIndex(direction, this.#transport, outcome), 1n)
  }

  /** A connection over which pieces go in `direction` was opened. */
  opened(direction: Direction): void {
    Atomics.add(this.#threads, this.#first + wayOf(direction, this.#transport), 1)
  }

  closed(direction: Direction): void {
    Atomics.sub(this.#threads, this.#first + wayOf(direction, this.#transport), 1)
  }
}

function wayOf(direction: Direction, transport: Transport): number {
  return TRANSPORTS.indexOf(transport) * DIRECTIONS.length + DIRECTIONS.indexOf(direction)
}

function bytesIndex(direction: Direction, transport: Transport): number {
  return wayOf(direction, transport) * TOTALS_PER_DIRECTION
}

function outcomeIndex(direction: Direction, transport: Transport, outcome: LaneOutcome): number {
  return bytesIndex(direction, transport) + 1 + LANE_OUTCOMES.indexOf(outcome)
}

function sumOf(cells: Int32Array, cell: number): number {
  let sum = 0
  for (let i = cell; i < cells.length; i += CELLS_PER_THREAD) sum += Atomics.load(cells, i)
  return sum
}

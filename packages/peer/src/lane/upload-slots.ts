import { createHash, randomBytes } from 'node:crypto'
import { FREE, isAdmitted } from './admission.ts'

/** Shared memory of a node's upload slots, to hand to worker threads. */
export interface SlotsMemory {
  /** Who holds what, a cell for each send: the thread's number above the requester's. */
  readonly cells: SharedArrayBuffer
  /** Secret of the process: nobody can choose a peer id that is taken for another requester. */
  readonly salt: Uint8Array
}

/** A requester's number takes as many bits of a cell; the thread's the rest. */
const REQUESTER_BITS = 24
const REQUESTER_MASK = 2 ** REQUESTER_BITS - 1
const SALT_BYTES = 16

/**
 * Memory for `slots` sends at once over `threads` worker threads, at most 126. Twice the slots may be held for a
 * while (admission.ts); each thread may claim one more that it then gives back.
 */
export function createSlotsMemory(slots: number, threads: number): SlotsMemory {
  const cells = new SharedArrayBuffer((2 * slots + threads) * Int32Array.BYTES_PER_ELEMENT)
  return { cells, salt: randomBytes(SALT_BYTES) }
}

/** The upload slots of all threads as the main thread has them. */
export class SlotsReader {
  readonly #cells: Int32Array

  constructor(memory: SlotsMemory) {
    this.#cells = new Int32Array(memory.cells)
  }

  /** Slots taken. */
  held(): number {
    let held = 0
    for (let cell = 0; cell < this.#cells.length; cell++) if (Atomics.load(this.#cells, cell) !== FREE) held++
    return held
  }

  /** Frees what a thread that died had taken. */
  clearThread(thread: number): void {
    for (let cell = 0; cell < this.#cells.length; cell++) {
      const value = Atomics.load(this.#cells, cell)
      if (value >>> REQUESTER_BITS === thread + 1) Atomics.store(this.#cells, cell, FREE)
    }
  }
}

/** The upload slots of all threads as one of them takes and frees them. */
export class UploadSlots {
  readonly #cells: Int32Array
  readonly #salt: Uint8Array
  readonly #tag: number
  readonly #holders: number[]

  constructor(memory: SlotsMemory, thread: number) {
    this.#cells = new Int32Array(memory.cells)
    this.#salt = memory.salt
    this.#tag = (thread + 1) << REQUESTER_BITS
    this.#holders = new Array<number>(this.#cells.length).fill(FREE)
  }

  /**
   * A peer's number among requesters, the same in every thread, never 0. Two peers have the same once in 16 million:
   * they would share one share.
   */
  requesterOf(peerId: string): number {
    const digest = createHash('sha256').update(this.#salt).update(peerId).digest()
    return Math.max(1, digest.readUInt32BE(0) & REQUESTER_MASK)
  }

  /**
   * Takes one of the node's `slots` for the requester; undefined when it may have none just now. Two threads that
   * reach for the last one at the same instant may both be refused; it is never given to both.
   */
  take(requester: number, slots: number): number | undefined {
    const cell = this.#claim(requester)
    if (cell === undefined) return undefined
    // Claimed before the others' claims are looked at: of two threads one at least sees the other's.
    if (isAdmitted(this.#readHolders(), requester, slots)) return cell
    this.free(cell)
    return undefined
  }

  free(cell: number): void {
    Atomics.store(this.#cells, cell, FREE)
  }

  /** Requesters that hold slots. */
  countRequesters(): number {
    return new Set(this.#readHolders().filter((holder) => holder !== FREE)).size
  }

  #claim(requester: number): number | undefined {
    for (let cell = 0; cell < this.#cells.length; cell++) {
      if (Atomics.compareExchange(this.#cells, cell, FREE, this.#tag | requester) === FREE) return cell
    }
    return undefined
  }

  #readHolders(): readonly number[] {
    for (let cell = 0; cell < this.#cells.length; cell++) {
      this.#holders[cell] = Atomics.load(this.#cells, cell) & REQUESTER_MASK
    }
    return this.#holders
  }
}

import { Ages } from './ages.ts'

/** The transfer takes no slot of its child, of its parent, any more: it is about to end, or overdue. */
const CHILD_FREED = 1
const PARENT_FREED = 2

const FIRST_CAPACITY = 16

/** Fields of a transfer's row; the last two numbers of it are one float, when it began. */
const PIECE = 0
const CHILD = 1
const PARENT = 2
const FLAGS = 3
const NEXT = 4
const PLACE = 5
const ROW = 8
const BEGUN = 3
const FLOAT_ROW = 4
/** In place of a piece: the row is free. */
const FREE = -1

/** Rows that are a child's own, side by side: as many as it mostly has transfers. */
const OWN = 4
/** Fields of a child's row: its first transfer, and the first of its own rows. */
const FIRST = 0
const HOME = 1
const CHILD_ROW = 2

/**
 * What is on its way in one swarm, in flat arrays, indexed by a small number that is used again. Events come in no order
 * of children, and each looks at all transfers of one: these are listed, newest first, and lie side by side where they
 * fit, so that an event costs a few cache lines however large the swarm is.
 */
export class Flights {
  size = 0
  #rows = new Int32Array(FIRST_CAPACITY * ROW)
  #times = new Float64Array(this.#rows.buffer)
  #end = 0
  /** Rows that are nobody's own. */
  readonly #spare: number[] = []
  #children = new Int32Array(FIRST_CAPACITY * CHILD_ROW).fill(-1)
  readonly #ages = new Ages()

  /** Notes a transfer that begins now; `now` is never less than before. Returns its index. */
  begin(child: number, parent: number, piece: number, now: number): number {
    const flight = this.#freeRow(child)
    const rows = this.#rows
    const row = flight * ROW
    rows[row + PIECE] = piece
    rows[row + CHILD] = child
    rows[row + PARENT] = parent
    rows[row + FLAGS] = 0
    rows[row + NEXT] = this.#children[child * CHILD_ROW + FIRST] as number
    rows[row + PLACE] = this.#ages.add(flight)
    this.#times[flight * FLOAT_ROW + BEGUN] = now
    this.#children[child * CHILD_ROW + FIRST] = flight
    this.size++
    return flight
  }

  /** Forgets a transfer. */
  end(flight: number): void {
    const rows = this.#rows
    const row = flight * ROW
    const child = (rows[row + CHILD] as number) * CHILD_ROW
    const first = this.#children[child + FIRST] as number
    const next = rows[row + NEXT] as number
    if (first === flight) this.#children[child + FIRST] = next
    else {
      let before = first
      while (rows[before * ROW + NEXT] !== flight) before = rows[before * ROW + NEXT] as number
      rows[before * ROW + NEXT] = next
    }
    this.#ages.delete(rows[row + PLACE] as number)
    rows[row + PIECE] = FREE
    const home = this.#children[child + HOME] as number
    if (flight < home || flight >= home + OWN) this.#spare.push(flight)
    this.size--
  }

  /** The longest-running transfer; -1: none. */
  get oldest(): number {
    return this.#ages.oldest
  }

  /** The transfer that began next after this one; -1: none. */
  newerThan(flight: number): number {
    return this.#ages.after(this.#rows[flight * ROW + PLACE] as number)
  }

  piece(flight: number): number {
    return this.#rows[flight * ROW + PIECE] as number
  }

  child(flight: number): number {
    return this.#rows[flight * ROW + CHILD] as number
  }

  parent(flight: number): number {
    return this.#rows[flight * ROW + PARENT] as number
  }

  /** When it was assigned. */
  at(flight: number): number {
    return this.#times[flight * FLOAT_ROW + BEGUN] as number
  }

  /** First transfer to a child; -1: none. The others by `nextTo`. */
  firstTo(child: number): number {
    return this.#children[child * CHILD_ROW + FIRST] ?? -1
  }

  nextTo(flight: number): number {
    return this.#rows[flight * ROW + NEXT] as number
  }

  /** A transfer of `piece` to `child`, from `parent` or (-1) from anybody; -1: none. */
  find(child: number, piece: number, parent: number): number {
    for (let flight = this.firstTo(child); flight !== -1; flight = this.nextTo(flight)) {
      if (this.piece(flight) === piece && (parent === -1 || this.parent(flight) === parent)) return flight
    }
    return -1
  }

  takesChildSlot(flight: number): boolean {
    return ((this.#rows[flight * ROW + FLAGS] as number) & CHILD_FREED) === 0
  }

  takesParentSlot(flight: number): boolean {
    return ((this.#rows[flight * ROW + FLAGS] as number) & PARENT_FREED) === 0
  }

  freeChildSlot(flight: number): void {
    this.#setFlag(flight, CHILD_FREED)
  }

  freeParentSlot(flight: number): void {
    this.#setFlag(flight, PARENT_FREED)
  }

  #setFlag(flight: number, flag: number): void {
    const at = flight * ROW + FLAGS
    this.#rows[at] = (this.#rows[at] as number) | flag
  }

  /** A row of the child's own; where all are taken, one of nobody's. */
  #freeRow(child: number): number {
    if (child * CHILD_ROW >= this.#children.length) this.#growChildren(child + 1)
    let home = this.#children[child * CHILD_ROW + HOME] as number
    if (home === -1) {
      home = this.#newRows(OWN)
      this.#children[child * CHILD_ROW + HOME] = home
    }
    for (let flight = home; flight < home + OWN; flight++) if (this.#rows[flight * ROW + PIECE] === FREE) return flight
    return this.#spare.pop() ?? this.#newRows(1)
  }

  #newRows(count: number): number {
    const first = this.#end
    this.#end += count
    if (this.#end * ROW > this.#rows.length) {
      this.#rows = grown(this.#rows, new Int32Array(this.#rows.length * 2))
      this.#times = new Float64Array(this.#rows.buffer)
    }
    for (let flight = first; flight < this.#end; flight++) this.#rows[flight * ROW + PIECE] = FREE
    return first
  }

  #growChildren(least: number): void {
    const length = Math.max(least * CHILD_ROW, this.#children.length * 2)
    this.#children = grown(this.#children, new Int32Array(length).fill(-1))
  }
}

/** Copies a table into a longer one. */
export function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}

import { Ages } from './ages.ts'
import { grown } from './tables.ts'

/**
 * A group of rows is one line of the processor's cache: whose it is, the next one of the same child, and of each row the
 * parent with flags above it, the place in the order by age, and the piece, half a number.
 */
const CHILD = 0
const NEXT = 1
const PIECES = 2
const PARENTS = 4
const PLACES = 8
const GROUP = 16
/** Rows in a group: as many as a child mostly has transfers. */
const ROW_BITS = 2
const ROWS = 1 << ROW_BITS

const PARENT_MASK = 2 ** 24 - 1
/** The row is a transfer's. */
const ON_ITS_WAY = 1 << 24
/** The transfer takes no slot of its child, of its parent, any more: it is about to end, or overdue. */
const CHILD_FREED = 1 << 25
const PARENT_FREED = 1 << 26

const FIRST_GROUPS = 4
const NONE = -1

/**
 * What is on its way in one swarm, in flat arrays, indexed by a small number that is used again. Events come in no order
 * of children, and each looks at all transfers of one: a child has groups of rows of its own, mostly one, so that an
 * event costs a cache line or two however large the swarm is (docs/scheduling.md, "What an assignment costs").
 */
export class Flights {
  size = 0
  #groups = new Int32Array(FIRST_GROUPS * GROUP)
  #halves = new Uint16Array(this.#groups.buffer)
  #groupCount = 0
  /** The first group of each child. */
  #firstGroup = new Int32Array(FIRST_GROUPS).fill(NONE)
  readonly #ages = new Ages()

  /** Notes a transfer that begins now; `now` is never less than before. Returns its index. */
  begin(child: number, parent: number, piece: number, now: number): number {
    const flight = this.#freeRow(child)
    this.#groups[parentAt(flight)] = parent | ON_ITS_WAY
    this.#groups[placeAt(flight)] = this.#ages.add(flight, now)
    this.#halves[pieceAt(flight)] = piece
    this.size++
    return flight
  }

  /** Forgets a transfer. */
  end(flight: number): void {
    this.#ages.delete(this.#groups[placeAt(flight)] as number)
    this.#groups[parentAt(flight)] = 0
    this.size--
  }

  /** The longest-running transfer; -1: none. */
  get oldest(): number {
    return this.#ages.oldest
  }

  /** The transfer that began next after this one; -1: none. */
  newerThan(flight: number): number {
    return this.#ages.after(this.#groups[placeAt(flight)] as number)
  }

  piece(flight: number): number {
    return this.#halves[pieceAt(flight)] as number
  }

  child(flight: number): number {
    return this.#groups[groupAt(flight) + CHILD] as number
  }

  parent(flight: number): number {
    return (this.#groups[parentAt(flight)] as number) & PARENT_MASK
  }

  /** When it was assigned. */
  at(flight: number): number {
    return this.#ages.time(this.#groups[placeAt(flight)] as number)
  }

  /** First transfer to a child, in no order; -1: none. The others by `nextTo`. */
  firstTo(child: number): number {
    const group = this.#firstGroup[child] ?? NONE
    return group === NONE ? -1 : this.#fromRow(group * ROWS)
  }

  nextTo(flight: number): number {
    if (flight % ROWS < ROWS - 1) return this.#fromRow(flight + 1)
    const group = this.#groups[groupAt(flight) + NEXT] as number
    return group === NONE ? -1 : this.#fromRow(group * ROWS)
  }

  /** A transfer of `piece` to `child`, from `parent` or (-1) from anybody; -1: none. */
  find(child: number, piece: number, parent: number): number {
    for (let flight = this.firstTo(child); flight !== -1; flight = this.nextTo(flight)) {
      if (this.piece(flight) === piece && (parent === -1 || this.parent(flight) === parent)) return flight
    }
    return -1
  }

  takesChildSlot(flight: number): boolean {
    return ((this.#groups[parentAt(flight)] as number) & CHILD_FREED) === 0
  }

  takesParentSlot(flight: number): boolean {
    return ((this.#groups[parentAt(flight)] as number) & PARENT_FREED) === 0
  }

  freeChildSlot(flight: number): void {
    this.#groups[parentAt(flight)] = (this.#groups[parentAt(flight)] as number) | CHILD_FREED
  }

  freeParentSlot(flight: number): void {
    this.#groups[parentAt(flight)] = (this.#groups[parentAt(flight)] as number) | PARENT_FREED
  }

  #isFree(row: number): boolean {
    return this.#groups[parentAt(row)] === 0
  }

  /** The first transfer from a row on, in its group and in those of the same child after it; -1: none. */
  #fromRow(from: number): number {
    for (let row = from; ; ) {
      const end = row - (row % ROWS) + ROWS
      for (; row < end; row++) if (!this.#isFree(row)) return row
      const next = this.#groups[groupAt(end - 1) + NEXT] as number
      if (next === NONE) return -1
      row = next * ROWS
    }
  }

  /** A free row of the child's. */
  #freeRow(child: number): number {
    if (child >= this.#firstGroup.length) this.#growChildren(child + 1)
    let last = NONE
    for (let group = this.#firstGroup[child] as number; group !== NONE; last = group, group = this.#next(group)) {
      for (let row = group * ROWS; row < (group + 1) * ROWS; row++) if (this.#isFree(row)) return row
    }
    const group = this.#newGroup(child)
    if (last === NONE) this.#firstGroup[child] = group
    else this.#groups[last * GROUP + NEXT] = group
    return group * ROWS
  }

  #next(group: number): number {
    return this.#groups[group * GROUP + NEXT] as number
  }

  #newGroup(child: number): number {
    const group = this.#groupCount++
    if (this.#groupCount * GROUP > this.#groups.length) {
      this.#groups = grown(this.#groups, new Int32Array(this.#groups.length * 2))
      this.#halves = new Uint16Array(this.#groups.buffer)
    }
    this.#groups[group * GROUP + CHILD] = child
    this.#groups[group * GROUP + NEXT] = NONE
    return group
  }

  #growChildren(least: number): void {
    const length = Math.max(least, this.#firstGroup.length * 2)
    this.#firstGroup = grown(this.#firstGroup, new Int32Array(length).fill(NONE))
  }
}

/** Where the group of a row begins, and where in the table the fields of the row are; the piece among the halves. */
function groupAt(row: number): number {
  return (row >>> ROW_BITS) * GROUP
}

function parentAt(row: number): number {
  return groupAt(row) + PARENTS + (row % ROWS)
}

function placeAt(row: number): number {
  return groupAt(row) + PLACES + (row % ROWS)
}

function pieceAt(row: number): number {
  return 2 * (groupAt(row) + PIECES) + (row % ROWS)
}

/** The transfer takes no slot of its child, of its parent, any more: it is about to end, or overdue. */
const CHILD_FREED = 1
const PARENT_FREED = 2

const FIRST_CAPACITY = 16

/** Fields of a transfer's row. */
const PIECE = 0
const CHILD = 1
const PARENT = 2
const FLAGS = 3
const NEXT_TO = 4
const NEXT_FROM = 5
const OLDER = 6
const NEWER = 7
const ROW = 8

/**
 * What is on its way in one swarm, in flat arrays, indexed by a small number that is used again. Each transfer is in
 * three lists: of its child, of its parent (the outstanding requests to a holder), and of all, oldest first. Its fields
 * lie side by side: events come in no order of transfers, so each costs a cache line.
 */
export class Flights {
  /** The longest-running transfer; -1: none. */
  oldest = -1
  size = 0
  #rows = new Int32Array(FIRST_CAPACITY * ROW)
  #at = new Float64Array(FIRST_CAPACITY)
  #newest = -1
  #end = 0
  readonly #free: number[] = []
  /** First transfer of each peer, as child and as parent; -1: none. */
  #toChild = new Int32Array(FIRST_CAPACITY).fill(-1)
  #fromParent = new Int32Array(FIRST_CAPACITY).fill(-1)

  /** Notes a transfer that begins now; `now` is never less than before. Returns its index. */
  begin(child: number, parent: number, piece: number, now: number): number {
    const flight = this.#free.pop() ?? this.#end++
    if (flight >= this.#at.length) this.#grow()
    const peers = Math.max(child, parent)
    if (peers >= this.#toChild.length) this.#growPeers(peers + 1)
    const rows = this.#rows
    const row = flight * ROW
    rows[row + PIECE] = piece
    rows[row + CHILD] = child
    rows[row + PARENT] = parent
    rows[row + FLAGS] = 0
    rows[row + NEXT_TO] = this.#toChild[child] as number
    rows[row + NEXT_FROM] = this.#fromParent[parent] as number
    rows[row + OLDER] = this.#newest
    rows[row + NEWER] = -1
    this.#at[flight] = now
    this.#toChild[child] = flight
    this.#fromParent[parent] = flight
    if (this.#newest === -1) this.oldest = flight
    else rows[this.#newest * ROW + NEWER] = flight
    this.#newest = flight
    this.size++
    return flight
  }

  /** Forgets a transfer. */
  end(flight: number): void {
    const rows = this.#rows
    unlink(this.#toChild, this.child(flight), rows, NEXT_TO, flight)
    unlink(this.#fromParent, this.parent(flight), rows, NEXT_FROM, flight)
    const older = rows[flight * ROW + OLDER] as number
    const newer = rows[flight * ROW + NEWER] as number
    if (older === -1) this.oldest = newer
    else rows[older * ROW + NEWER] = newer
    if (newer === -1) this.#newest = older
    else rows[newer * ROW + OLDER] = older
    this.#free.push(flight)
    this.size--
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
    return this.#at[flight] as number
  }

  /** First transfer to a child; -1: none. The others by `nextTo`. */
  firstTo(child: number): number {
    return this.#toChild[child] ?? -1
  }

  nextTo(flight: number): number {
    return this.#rows[flight * ROW + NEXT_TO] as number
  }

  /** First transfer from a parent; -1: none. */
  firstFrom(parent: number): number {
    return this.#fromParent[parent] ?? -1
  }

  /** The transfer that began next after this one; -1: none. */
  newerThan(flight: number): number {
    return this.#rows[flight * ROW + NEWER] as number
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

  #grow(): void {
    const capacity = this.#at.length * 2
    this.#rows = grown(this.#rows, new Int32Array(capacity * ROW))
    this.#at = grown(this.#at, new Float64Array(capacity))
  }

  #growPeers(least: number): void {
    const capacity = Math.max(least, this.#toChild.length * 2)
    this.#toChild = grown(this.#toChild, new Int32Array(capacity).fill(-1))
    this.#fromParent = grown(this.#fromParent, new Int32Array(capacity).fill(-1))
  }
}

/** Lists are as short as a peer has slots, so they are linked one way only. */
function unlink(first: Int32Array, peer: number, rows: Int32Array, next: number, flight: number): void {
  const after = rows[flight * ROW + next] as number
  let at = first[peer] as number
  if (at === flight) {
    first[peer] = after
    return
  }
  while (rows[at * ROW + next] !== flight) at = rows[at * ROW + next] as number
  rows[at * ROW + next] = after
}

/** Copies a table into a longer one. */
export function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}

/** The transfer takes no slot of its child, of its parent, any more: it is about to end, or overdue. */
const CHILD_FREED = 1
const PARENT_FREED = 2

const FIRST_CAPACITY = 16

/**
 * What is on its way in one swarm, in flat arrays, indexed by a small number that is used again. Each transfer is in
 * three lists: of its child, of its parent (the outstanding requests to a holder), and of all, oldest first.
 */
export class Flights {
  /** Piece of each transfer; -1: the index is free. */
  piece: Int32Array
  child: Int32Array
  parent: Int32Array
  /** When it was assigned. */
  at: Float64Array
  /** The longest-running transfer; -1: none. */
  oldest = -1
  size = 0
  #flags: Uint8Array
  #nextOfChild: Int32Array
  #nextOfParent: Int32Array
  #newer: Int32Array
  #older: Int32Array
  #newest = -1
  #end = 0
  readonly #free: number[] = []
  /** First transfer of each peer, as child and as parent; -1: none. */
  #toChild: Int32Array
  #fromParent: Int32Array

  constructor() {
    this.piece = new Int32Array(FIRST_CAPACITY).fill(-1)
    this.child = new Int32Array(FIRST_CAPACITY)
    this.parent = new Int32Array(FIRST_CAPACITY)
    this.at = new Float64Array(FIRST_CAPACITY)
    this.#flags = new Uint8Array(FIRST_CAPACITY)
    this.#nextOfChild = new Int32Array(FIRST_CAPACITY)
    this.#nextOfParent = new Int32Array(FIRST_CAPACITY)
    this.#newer = new Int32Array(FIRST_CAPACITY)
    this.#older = new Int32Array(FIRST_CAPACITY)
    this.#toChild = new Int32Array(FIRST_CAPACITY).fill(-1)
    this.#fromParent = new Int32Array(FIRST_CAPACITY).fill(-1)
  }

  /** Notes a transfer that begins now; `now` is never less than before. Returns its index. */
  begin(child: number, parent: number, piece: number, now: number): number {
    const flight = this.#free.pop() ?? this.#end++
    if (flight >= this.piece.length) this.#grow()
    const peers = Math.max(child, parent)
    if (peers >= this.#toChild.length) this.#growPeers(peers + 1)
    this.piece[flight] = piece
    this.child[flight] = child
    this.parent[flight] = parent
    this.at[flight] = now
    this.#flags[flight] = 0
    this.#nextOfChild[flight] = this.#toChild[child] as number
    this.#toChild[child] = flight
    this.#nextOfParent[flight] = this.#fromParent[parent] as number
    this.#fromParent[parent] = flight
    this.#older[flight] = this.#newest
    this.#newer[flight] = -1
    if (this.#newest === -1) this.oldest = flight
    else this.#newer[this.#newest] = flight
    this.#newest = flight
    this.size++
    return flight
  }

  /** Forgets a transfer. */
  end(flight: number): void {
    unlink(this.#toChild, this.child[flight] as number, this.#nextOfChild, flight)
    unlink(this.#fromParent, this.parent[flight] as number, this.#nextOfParent, flight)
    const older = this.#older[flight] as number
    const newer = this.#newer[flight] as number
    if (older === -1) this.oldest = newer
    else this.#newer[older] = newer
    if (newer === -1) this.#newest = older
    else this.#older[newer] = older
    this.piece[flight] = -1
    this.#free.push(flight)
    this.size--
  }

  /** First transfer to a child; -1: none. The others by `nextTo`. */
  firstTo(child: number): number {
    return this.#toChild[child] ?? -1
  }

  nextTo(flight: number): number {
    return this.#nextOfChild[flight] as number
  }

  /** First transfer from a parent; -1: none. The others by `nextFrom`. */
  firstFrom(parent: number): number {
    return this.#fromParent[parent] ?? -1
  }

  nextFrom(flight: number): number {
    return this.#nextOfParent[flight] as number
  }

  /** The transfer that began next after this one; -1: none. */
  newerThan(flight: number): number {
    return this.#newer[flight] as number
  }

  /** A transfer of `piece` to `child`, from `parent` or (-1) from anybody; -1: none. */
  find(child: number, piece: number, parent: number): number {
    for (let flight = this.firstTo(child); flight !== -1; flight = this.nextTo(flight)) {
      if (this.piece[flight] === piece && (parent === -1 || this.parent[flight] === parent)) return flight
    }
    return -1
  }

  /** How many transfers of `piece` to `child` there are. */
  copies(child: number, piece: number): number {
    let copies = 0
    for (let flight = this.firstTo(child); flight !== -1; flight = this.nextTo(flight)) {
      if (this.piece[flight] === piece) copies++
    }
    return copies
  }

  takesChildSlot(flight: number): boolean {
    return ((this.#flags[flight] as number) & CHILD_FREED) === 0
  }

  takesParentSlot(flight: number): boolean {
    return ((this.#flags[flight] as number) & PARENT_FREED) === 0
  }

  freeChildSlot(flight: number): void {
    this.#flags[flight] = (this.#flags[flight] as number) | CHILD_FREED
  }

  freeParentSlot(flight: number): void {
    this.#flags[flight] = (this.#flags[flight] as number) | PARENT_FREED
  }

  #grow(): void {
    const capacity = this.piece.length * 2
    this.piece = grown(this.piece, new Int32Array(capacity).fill(-1))
    this.child = grown(this.child, new Int32Array(capacity))
    this.parent = grown(this.parent, new Int32Array(capacity))
    this.at = grown(this.at, new Float64Array(capacity))
    this.#flags = grown(this.#flags, new Uint8Array(capacity))
    this.#nextOfChild = grown(this.#nextOfChild, new Int32Array(capacity))
    this.#nextOfParent = grown(this.#nextOfParent, new Int32Array(capacity))
    this.#newer = grown(this.#newer, new Int32Array(capacity))
    this.#older = grown(this.#older, new Int32Array(capacity))
  }

  #growPeers(least: number): void {
    const capacity = Math.max(least, this.#toChild.length * 2)
    this.#toChild = grown(this.#toChild, new Int32Array(capacity).fill(-1))
    this.#fromParent = grown(this.#fromParent, new Int32Array(capacity).fill(-1))
  }
}

/** Lists are as short as a peer has slots, so they are linked one way only. */
function unlink(first: Int32Array, peer: number, next: Int32Array, flight: number): void {
  let at = first[peer] as number
  if (at === flight) {
    first[peer] = next[flight] as number
    return
  }
  while (next[at] !== flight) at = next[at] as number
  next[at] = next[flight] as number
}

/** Copies a table into a longer one. */
export function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}

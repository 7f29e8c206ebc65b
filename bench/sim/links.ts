import { EventQueue } from './event-queue.ts'

/** A change of a link's fair share by less than this part is not passed on to the links around it. */
const TOLERANCE = 0.005
/** Links looked at anew for one flow that came or went, at the most. */
const MOST_RIPPLES = 256
/** Work that is left of a flow that has ended, for rounding. */
const NOTHING = 1e-9

/** Makes a longer copy. */
function grown<T extends Int32Array | Float64Array | Uint8Array>(from: T, into: T): T {
  into.set(from)
  return into
}

/**
 * Flows of bytes between nodes, each over the upload link of one and the download link of the other, which share the
 * links max-min fairly. Each link advertises a fair share (what remains after the flows that are held back at their
 * other end, divided among the rest) and a flow goes at the smaller of its two; a flow that comes or goes ripples
 * outwards until shares change by less than `TOLERANCE`. That is Charny's distributed algorithm, whose fixed point is
 * the max-min fair allocation. Link 2n is the upload link of node n, link 2n+1 its download link.
 */
export class Links {
  readonly #capacity: Float64Array
  readonly #share: Float64Array
  readonly #first: Int32Array
  readonly #isQueued: Uint8Array
  #queue: Int32Array
  #scratch = new Float64Array(64)
  #touched = new Int32Array(64)
  #touchedSize = 0
  /** Links of each flow, and its neighbours in the lists of flows of both. */
  #up = new Int32Array(64)
  #down = new Int32Array(64)
  #next = new Int32Array(128)
  #previous = new Int32Array(128)
  #left = new Float64Array(64)
  #rate = new Float64Array(64)
  #since = new Float64Array(64)
  #isTouched = new Uint8Array(64)
  /** How long before its end a flow says that it will end; negative: it has said so. */
  #notice = new Float64Array(64)
  readonly #milestones = new EventQueue()

  /** @param rates of each node's links, upload and download the same */
  constructor(rates: Float64Array) {
    this.#capacity = new Float64Array(rates.length * 2)
    for (let link = 0; link < this.#capacity.length; link++) this.#capacity[link] = rates[link >> 1] as number
    this.#share = this.#capacity.slice()
    this.#first = new Int32Array(rates.length * 2).fill(-1)
    this.#isQueued = new Uint8Array(rates.length * 2)
    this.#queue = new Int32Array(MOST_RIPPLES * 2 + 64)
  }

  /** When a flow next ends, or says that it will. */
  get nextAt(): number {
    return this.#milestones.nextAt
  }

  /** The flow that is next to end or to say that it will; undefined when it was held up meanwhile. */
  next(now: number): { flow: number; isEnd: boolean } | undefined {
    const flow = this.#milestones.pop()
    this.#settle(flow, now)
    const notice = this.#notice[flow] as number
    const left = (this.#left[flow] as number) / (this.#rate[flow] as number)
    if (notice >= 0 && left <= notice + NOTHING) {
      this.#notice[flow] = -1
      this.#plan(flow, now)
      return { flow, isEnd: false }
    }
    if (left <= NOTHING) return { flow, isEnd: true }
    this.#plan(flow, now)
    return undefined
  }

  /**
   * Begins a flow of `work` (1: a piece's worth at rate 1).
   * @param flow any number that is not in use, small numbers first
   * @param notice how long before its end `next` returns it for the first time; negative: only at its end
   */
  start(flow: number, parent: number, child: number, work: number, notice: number, now: number): void {
    if (flow >= this.#up.length) this.#grow(flow + 1)
    const up = 2 * parent
    const down = 2 * child + 1
    this.#up[flow] = up
    this.#down[flow] = down
    this.#left[flow] = work
    this.#rate[flow] = 0
    this.#since[flow] = now
    this.#notice[flow] = notice
    this.#link(up, 2 * flow)
    this.#link(down, 2 * flow + 1)
    this.#touch(flow)
    this.#ripple(up, down, now)
  }

  /** Ends a flow, whatever is left of it. */
  stop(flow: number, now: number): void {
    const up = this.#up[flow] as number
    const down = this.#down[flow] as number
    this.#unlink(up, 2 * flow)
    this.#unlink(down, 2 * flow + 1)
    this.#milestones.delete(flow)
    this.#ripple(up, down, now)
  }

  #ripple(first: number, second: number, now: number): void {
    const queue = this.#queue
    queue[0] = first
    queue[1] = second
    this.#isQueued[first] = 1
    this.#isQueued[second] = 1
    let size = 2
    for (let at = 0; at < size; at++) {
      const link = queue[at] as number
      this.#isQueued[link] = 0
      const before = this.#share[link] as number
      const after = this.#fairShare(link)
      if (Math.abs(after - before) <= TOLERANCE * before && at >= 2) continue
      this.#share[link] = after
      const least = Math.min(before, after)
      for (let entry = this.#first[link] as number; entry >= 0; entry = this.#next[entry] as number) {
        this.#touch(entry >> 1)
        const other = ((entry & 1) === 0 ? this.#down : this.#up)[entry >> 1] as number
        if (this.#isQueued[other] === 1 || least >= (this.#share[other] as number) || size >= MOST_RIPPLES) continue
        this.#isQueued[other] = 1
        queue[size++] = other
      }
    }
    for (let i = 0; i < this.#touchedSize; i++) this.#reprice(this.#touched[i] as number, now)
    this.#touchedSize = 0
  }

  /** What a link can give each flow that is not held back elsewhere. */
  #fairShare(link: number): number {
    const scratch = this.#scratch
    let count = 0
    for (let entry = this.#first[link] as number; entry >= 0; entry = this.#next[entry] as number) {
      const other = this.#share[((entry & 1) === 0 ? this.#down : this.#up)[entry >> 1] as number] as number
      if (count === this.#scratch.length) return this.#fairShareOfMany(link)
      let place = count++
      while (place > 0 && (scratch[place - 1] as number) > other) {
        scratch[place] = scratch[place - 1] as number
        place--
      }
      scratch[place] = other
    }
    return this.#fill(this.#capacity[link] as number, scratch, count)
  }

  #fairShareOfMany(link: number): number {
    const others: number[] = []
    for (let entry = this.#first[link] as number; entry >= 0; entry = this.#next[entry] as number) {
      others.push(this.#share[((entry & 1) === 0 ? this.#down : this.#up)[entry >> 1] as number] as number)
    }
    const sorted = Float64Array.from(others).sort()
    return this.#fill(this.#capacity[link] as number, sorted, sorted.length)
  }

  #fill(capacity: number, limits: Float64Array, count: number): number {
    let rest = capacity
    for (let i = 0; i < count; i++) {
      const share = rest / (count - i)
      const limit = limits[i] as number
      if (limit >= share) return share
      rest -= limit
    }
    return count === 0 ? capacity : (limits[count - 1] as number) + rest
  }

  #reprice(flow: number, now: number): void {
    this.#isTouched[flow] = 0
    const rate = Math.min(
      this.#share[this.#up[flow] as number] as number,
      this.#share[this.#down[flow] as number] as number,
    )
    if (rate === this.#rate[flow]) return
    this.#settle(flow, now)
    this.#rate[flow] = rate
    this.#plan(flow, now)
  }

  #settle(flow: number, now: number): void {
    this.#left[flow] =
      (this.#left[flow] as number) - (this.#rate[flow] as number) * (now - (this.#since[flow] as number))
    this.#since[flow] = now
  }

  /** A flow that was held up is found out when it is due, which spares most changes of the queue. */
  #plan(flow: number, now: number): void {
    const notice = this.#notice[flow] as number
    const left = Math.max(0, (this.#left[flow] as number) / (this.#rate[flow] as number) - Math.max(0, notice))
    const due = this.#milestones.at(flow)
    if (due === undefined || now + left < due) this.#milestones.set(flow, now + left)
  }

  #touch(flow: number): void {
    if (this.#isTouched[flow] === 1) return
    this.#isTouched[flow] = 1
    if (this.#touchedSize === this.#touched.length) {
      this.#touched = grown(this.#touched, new Int32Array(this.#touchedSize * 2))
    }
    this.#touched[this.#touchedSize++] = flow
  }

  #link(link: number, entry: number): void {
    const first = this.#first[link] as number
    this.#next[entry] = first
    this.#previous[entry] = -1
    if (first >= 0) this.#previous[first] = entry
    this.#first[link] = entry
  }

  #unlink(link: number, entry: number): void {
    const next = this.#next[entry] as number
    const previous = this.#previous[entry] as number
    if (previous >= 0) this.#next[previous] = next
    else this.#first[link] = next
    if (next >= 0) this.#previous[next] = previous
  }

  #grow(least: number): void {
    const size = Math.max(least, this.#up.length * 2)
    this.#up = grown(this.#up, new Int32Array(size))
    this.#down = grown(this.#down, new Int32Array(size))
    this.#next = grown(this.#next, new Int32Array(size * 2))
    this.#previous = grown(this.#previous, new Int32Array(size * 2))
    this.#left = grown(this.#left, new Float64Array(size))
    this.#rate = grown(this.#rate, new Float64Array(size))
    this.#since = grown(this.#since, new Float64Array(size))
    this.#isTouched = grown(this.#isTouched, new Uint8Array(size))
    this.#notice = grown(this.#notice, new Float64Array(size))
  }
}

import type { Logger, Startable } from '@shoal/core'
import type { Hello, LeaseFailed_Reason, PieceFailed_Reason } from '@shoal/proto'
import { Announcements } from './announcements.ts'
import type { BlobOrigin, Coordinator, CoordinatorListener, ParentNode, Urgency } from './events.ts'
import { OriginShares } from './origin-shares.ts'
import { type LiveScheduler, Ownership } from './ownership.ts'
import { type LinkListener, SchedulerLink } from './scheduler-link.ts'
import type { SchedulerStream } from './scheduler-stream.ts'

/** A scheduler that came back has been found by all nodes by then: they dial it every 4.5 seconds at the latest. */
const SETTLE_MS = 10_000

/** How to reach the schedulers. */
export interface SchedulersOptions {
  /** `host:port` of each scheduler's gRPC, all different, and written alike on all nodes. */
  readonly addresses: readonly string[]
  /** In place of 10 s: for so long a scheduler that started anew decides nothing where there is an older one. */
  readonly settleMs?: number
}

/** What the schedulers' side asks of its node. */
export interface SchedulersDependencies {
  /** Who this node is; asked at each dial, when the ports are known. */
  readonly hello: () => Hello
  /** Who hears the schedulers; asked once, at start. */
  readonly listener: () => CoordinatorListener
  /** Told how many bytes a second the node may fetch from origins by its schedulers' word; 0: they say nothing. */
  readonly originShare?: (bytesPerSecond: number) => void
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
  /** 0 ≤ x < 1; spreads the dials of many nodes. */
  readonly random?: () => number
}

/** A scheduler as people see it. */
export interface SchedulerView {
  readonly address: string
  readonly isConnected: boolean
}

/**
 * All schedulers of a node. Each blob belongs to one of those that are live; when that changes, the node is told to say
 * again what it wants, and the blob's new scheduler hears what the node holds. A stream filters what is said to it: any
 * number of them may be told of a piece, and those that know of the blob hear of it.
 */
export class Schedulers implements Coordinator, Startable {
  readonly #settleMs: number
  readonly #dependencies: SchedulersDependencies
  readonly #links: readonly SchedulerLink[]
  /** Those whose scheduler has answered, as of the last change. */
  #live: readonly (LiveScheduler & { readonly stream: SchedulerStream })[] = []
  #ownership = new Ownership([], 0, 0)
  readonly #announcements: Announcements
  readonly #originShares = new OriginShares()
  #timer: NodeJS.Timeout | undefined
  #isStopping = false

  constructor(options: SchedulersOptions, dependencies: SchedulersDependencies) {
    this.#settleMs = options.settleMs ?? SETTLE_MS
    this.#dependencies = dependencies
    const { hello, log, now, random = Math.random } = dependencies
    this.#announcements = new Announcements(() => dependencies.listener().wholeBlobs())
    this.#links = options.addresses.map((address): SchedulerLink => {
      const listener = this.#listenerOf(address)
      return new SchedulerLink(address, { hello, listener, log, now, random })
    })
  }

  get isConnected(): boolean {
    return this.#links.some(({ stream }) => stream !== undefined)
  }

  views(): SchedulerView[] {
    return this.#links.map(({ address, stream }) => ({ address, isConnected: stream !== undefined }))
  }

  /** libp2p addresses of a parent, as some scheduler said; none when none did. */
  multiaddrsOf(peerId: string): readonly string[] {
    for (const { stream } of this.#live) {
      const multiaddrs = stream.multiaddrsOf(peerId)
      if (multiaddrs.length > 0) return multiaddrs
    }
    return []
  }

  async start(): Promise<void> {
    this.#isStopping = false
    for (const link of this.#links) await link.start()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    clearTimeout(this.#timer)
    await Promise.all(this.#links.map((link) => link.stop()))
    await this.#announcements.stop()
  }

  holding(digest: string, size: number): void {
    const [owner, heir] = this.#ownersOf(digest)
    for (const { address, stream } of this.#live) {
      if (address === owner || address === heir || stream.knows(digest)) stream.holding(digest, size)
    }
  }

  holdingPart(digest: string, size: number, have: Uint8Array): void {
    const [owner, heir] = this.#ownersOf(digest)
    for (const { address, stream } of this.#live) {
      if ((address === owner || address === heir) && !stream.knows(digest)) stream.holdingPart(digest, size, have)
    }
  }

  withdrawn(digest: string): void {
    for (const { stream } of this.#live) stream.withdrawn(digest)
  }

  join(digest: string, size: number, origin: BlobOrigin, have: Uint8Array, urgency: Urgency): void {
    const [owner, heir] = this.#ownersOf(digest)
    for (const { address, stream } of this.#live) {
      if (address === owner) stream.join(digest, size, origin, have, urgency)
      else if (stream.wants(digest)) stream.leave(digest)
      else if (address === heir && !stream.knows(digest)) stream.holdingPart(digest, size, have)
    }
  }

  leave(digest: string): void {
    for (const { stream } of this.#live) stream.leave(digest)
  }

  pieceEnding(digest: string, piece: number, parent: ParentNode): void {
    for (const { stream } of this.#live) stream.pieceEnding(digest, piece, parent)
  }

  pieceDone(digest: string, piece: number, parent: ParentNode, durationUs: number): void {
    for (const { stream } of this.#live) stream.pieceDone(digest, piece, parent, durationUs)
  }

  pieceFetched(digest: string, piece: number, sha256: Uint8Array, durationUs: number): void {
    for (const { stream } of this.#live) stream.pieceFetched(digest, piece, sha256, durationUs)
  }

  pieceFailed(digest: string, piece: number, parent: ParentNode, reason: PieceFailed_Reason): void {
    for (const { stream } of this.#live) stream.pieceFailed(digest, piece, parent, reason)
  }

  leaseProgress(digest: string): void {
    for (const { stream } of this.#live) stream.leaseProgress(digest)
  }

  leaseFailed(digest: string, reason: LeaseFailed_Reason): void {
    for (const { stream } of this.#live) stream.leaseFailed(digest, reason)
  }

  pieceMap(digest: string, size: number, sha256s: Uint8Array): void {
    for (const { stream } of this.#live) stream.pieceMap(digest, size, sha256s)
  }

  #ownersOf(digest: string): [owner: string | undefined, heir: string | undefined] {
    return [this.#ownership.ownerOf(digest), this.#ownership.heirOf(digest)]
  }

  #listenerOf(address: string): LinkListener {
    const listener = () => this.#dependencies.listener()
    return {
      connected: () => {
        this.#originShares.connected(address)
        this.#shareChanged()
        this.#changed()
      },
      disconnected: () => {
        this.#originShares.disconnected(address)
        this.#shareChanged()
        this.#changed()
      },
      originShare: (share) => {
        this.#originShares.told(address, share)
        this.#shareChanged()
      },
      isWaiting: () => listener().isWaiting(),
      assigned: (assignment) => listener().assigned(assignment),
      leased: (lease) => listener().leased(lease),
      leaseTaken: (digest) => {
        if (this.#ownership.ownerOf(digest) === address) listener().leaseTaken(digest)
      },
      swarmFailed: (digest, reason) => {
        if (this.#ownership.ownerOf(digest) === address) listener().swarmFailed(digest, reason)
      },
      swarmGetsOn: (digest) => {
        if (this.#ownership.ownerOf(digest) === address) listener().swarmGetsOn(digest)
      },
      pieceMapWanted: (digest) => listener().pieceMapWanted(digest),
      bootstrap: (multiaddrs) => listener().bootstrap(multiaddrs),
    }
  }

  #shareChanged(): void {
    this.#dependencies.originShare?.(this.#originShares.bytesPerSecond)
  }

  /** A scheduler came, went, or has been there long enough: some blobs have another owner or heir than before. */
  #changed(): void {
    if (this.#isStopping) return
    clearTimeout(this.#timer)
    const listener = this.#dependencies.listener()
    const nowMs = this.#dependencies.now()
    this.#live = this.#links.flatMap(({ address, startedAtMs, stream }) =>
      stream === undefined ? [] : [{ address, startedAtMs, stream }],
    )
    const [before, after] = [this.#ownership, new Ownership(this.#live, nowMs, this.#settleMs)]
    this.#ownership = after
    if (after.changesAtMs !== undefined) {
      this.#timer = setTimeout(() => this.#changed(), Math.ceil(after.changesAtMs - nowMs))
    }
    listener.disconnected((digest) => {
      const owner = before.ownerOf(digest)
      return owner !== undefined && owner !== after.ownerOf(digest)
    })
    if (this.#live.length === 0) return
    listener.connected(
      (digest) => before.ownerOf(digest) !== after.ownerOf(digest) || before.heirOf(digest) !== after.heirOf(digest),
    )
    for (const { address, stream } of this.#live) void this.#announcements.tell(stream, address, after.live)
  }
}

import { type Logger, PieceLayout, type Startable } from '@shoal/core'
import { StoredBlob } from './blob.ts'
import { BlobTable } from './blob-table.ts'
import { freeBytesAt } from './disk.ts'
import { StoreError } from './errors.ts'
import { BlobFiles, type NamedFile, sizeOfFile } from './files.ts'
import { IndexDb } from './index-db.ts'
import type { StoreMetrics, StoreView } from './metrics.ts'
import type { StoreOptions } from './options.ts'
import { PieceMaps } from './piece-maps.ts'
import { recordPiece, removeRecords } from './piece-records.ts'
import { Pins, type Unpin } from './pins.ts'
import { type PieceHasher, recoverBlobs } from './recovery.ts'
import { Room } from './room.ts'
import { type ScrubCounts, scrub, scrubOne } from './scrub.ts'
import { Turns } from './turns.ts'

const TEND_MS = 10_000
const SAVE_USES_MS = 60_000

/** Who is told what becomes of blobs; called at once, and must not throw. */
export interface StoreListener {
  /** The blob's file moved or went away. */
  moved(digest: string): void
  /** The store gave the blob up on its own: it was evicted, or found damaged. */
  withdrawn(digest: string): void
  /** A whole blob was found on disk that the index did not know. */
  adopted(blob: StoredBlob): void
}

export interface BlobStoreDependencies {
  readonly hasher: PieceHasher
  readonly metrics: StoreMetrics
  readonly log: Logger
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Whether this node has a blob's bytes elsewhere too; such go first. */
  readonly isSpare?: (digest: string) => boolean
  /** Bytes that something else of this node takes of the quota; left out: none. */
  readonly otherBytes?: () => number
  /** Bytes that may still be written to the file system of a folder. */
  readonly freeBytes?: (folder: string) => number
}

/**
 * The node's blobs on disk; which pieces are held is in the index and outlives the process. Blobs that are not in use
 * are evicted, spare ones and those longest unused first, when the store outgrows its quota or the disk fills up.
 */
export class BlobStore implements Startable {
  readonly index: IndexDb
  readonly #options: StoreOptions & { readonly dataDir: string }
  readonly #hasher: PieceHasher
  readonly #metrics: StoreMetrics
  readonly #log: Logger
  readonly #now: () => number
  readonly #freeBytes: () => number
  readonly #otherBytes: () => number
  readonly #files: BlobFiles
  readonly #pieceMaps: PieceMaps
  readonly #room: Room
  readonly #pins = new Pins()
  /** What makes and removes blobs goes one after the other: room that was found is not given away twice. */
  readonly #turns = new Turns()
  readonly #stopping = new AbortController()
  /** Digests whose time of use the index does not have yet. */
  readonly #unsavedUses = new Set<string>()
  readonly #blobs = new BlobTable()
  #listener: StoreListener | undefined
  #timer: NodeJS.Timeout | undefined
  #usesSavedAtMs = 0
  #hasUnknownFiles = false

  constructor(options: StoreOptions & { readonly dataDir: string }, dependencies: BlobStoreDependencies) {
    const { hasher, metrics, log, now = Date.now, freeBytes = freeBytesAt } = dependencies
    const { isSpare = () => false, otherBytes = () => 0 } = dependencies
    this.#options = options
    this.#hasher = hasher
    this.#metrics = metrics
    this.#log = log
    this.#now = now
    this.#freeBytes = () => freeBytes(options.dataDir)
    this.#otherBytes = otherBytes
    this.index = new IndexDb(options.dataDir)
    this.#files = new BlobFiles(options.dataDir)
    this.#pieceMaps = new PieceMaps({
      index: this.index,
      pin: (digest) => this.pin(digest),
      hasher,
      log,
      signal: this.#stopping.signal,
    })
    this.#room = new Room(options, {
      blobs: this.#blobs,
      isInUse: (digest) => this.#pins.has(digest),
      isSpare,
      otherBytes,
      evict: (blob) => this.#giveUp(blob),
      freeBytes: this.#freeBytes,
      metrics,
      log,
    })
  }

  /** Registers who is told of changes; one at most. */
  follow(listener: StoreListener): void {
    this.#listener = listener
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    await this.#files.prepare()
    await this.#openIndex()
    try {
      const recovered = await recoverBlobs({
        index: this.index,
        files: this.#files,
        hasher: this.#hasher,
        log: this.#log,
        signal: this.#stopping.signal,
      })
      for (const blob of recovered.values()) this.#blobs.set(blob)
      this.#hasUnknownFiles = this.index.wasRemade || (recovered.size === 0 && (await this.#hasNamedFiles()))
      if (this.index.wasRemade) {
        this.#log.error('the index was damaged; it is made anew, and whole blobs on the disk are taken up once checked')
      }
      await this.tend()
    } catch (error) {
      await this.index.stop()
      throw error
    }
    this.#log.info(this.summary(), 'store opened')
    this.#timer = setInterval(() => void this.tend(), TEND_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stopping.abort()
    await this.#turns.run(() => this.#saveUses((blob) => blob.isComplete || !blob.isOnePiece))
    await this.index.stop()
    this.#blobs.clear()
  }

  /** Whether the index was lost, so that whole blobs may be on the disk that it does not know. */
  get hasUnknownFiles(): boolean {
    return this.#hasUnknownFiles
  }

  async #hasNamedFiles(): Promise<boolean> {
    for await (const _ of this.#files.named()) return true
    return false
  }

  /** The blob, whole or in part; undefined when this node has nothing of it. */
  find(digest: string): StoredBlob | undefined {
    return this.#blobs.get(digest)
  }

  /** Blobs that are whole. */
  *complete(): Generator<StoredBlob> {
    for (const blob of this.#blobs.values()) if (blob.isComplete) yield blob
  }

  /** Counts and bytes for people; blobs in part count with their whole size, which is kept free for them. */
  summary(): Omit<StoreView, 'freeBytes' | 'otherBytes'> {
    let [completeBlobs, completeBytes, partialBlobs, partialBytes] = [0, 0, 0, 0]
    for (const { isComplete, size } of this.#blobs.values()) {
      if (isComplete) {
        completeBlobs++
        completeBytes += size
      } else {
        partialBlobs++
        partialBytes += size
      }
    }
    return { completeBlobs, completeBytes, partialBlobs, partialBytes, quotaBytes: this.#options.quotaBytes }
  }

  /** What metrics show. */
  view(): StoreView {
    return { ...this.summary(), freeBytes: this.#freeBytes(), otherBytes: this.#otherBytes() }
  }

  /** Keeps the blob, held or yet to be created, from being evicted until the returned function is called. */
  pin(digest: string): Unpin {
    return this.#pins.pin(digest)
  }

  /** Notes that the blob is being used. */
  touch(digest: string): void {
    const blob = this.#blobs.get(digest)
    if (blob === undefined) return
    blob.usedAtMs = this.#now()
    this.#unsavedUses.add(digest)
  }

  /**
   * The blob to add pieces to: what is held of it already, else a new partial file of its full size, for which blobs
   * are evicted if need be. The file of a blob of one piece is made by who writes the piece. Throws StoreError
   * `SIZE_CONFLICT` when it is held with another size, `NO_SPACE` or `IO` when it can not be made.
   */
  async create(digest: string, size: number): Promise<StoredBlob> {
    const unpin = this.pin(digest)
    try {
      return await this.#turns.run(() => this.#createInTurn(digest, size))
    } finally {
      unpin()
    }
  }

  /**
   * Records a piece whose bytes were written and whose sha256 was right. It counts as held once it is recorded, so
   * that what a node says it holds is there again after a crash; a blob of one piece is when it is published.
   * Returns whether it is new. Throws StoreError.
   */
  async addPiece(blob: StoredBlob, piece: number, sha256: Uint8Array): Promise<boolean> {
    if (blob.have.has(piece)) return false
    if (blob.isOnePiece) return blob.addPiece(piece, sha256)
    await this.#retryWithRoom(
      () => recordPiece(blob.file, piece, sha256),
      (before) => this.makeRoom(blob.layout.length(piece), before),
    )
    return blob.addPiece(piece, sha256)
  }

  /**
   * Gives a blob whose whole digest was checked its final name: bytes to disk, rename, folder to disk, index. The
   * caller has checked the digest. Of a blob of one piece nothing is forced to disk: to fetch it again after a power cut
   * is cheaper, and what a restart finds is hashed before a client reads it. Throws StoreError.
   */
  async publish(blob: StoredBlob): Promise<void> {
    if (blob.isComplete) return
    const { digest, size } = blob
    const makeRoom = (before: number) => this.makeRoom(blob.layout.pieceSize, before)
    blob.nextFile = this.#files.finalPath(digest)
    blob.file = await this.#retryWithRoom(() => this.#files.publish(blob.file, digest, !blob.isOnePiece), makeRoom)
    const whole = new StoredBlob(digest, size, blob.file, true, this.#now())
    const pieceMap = blob.pieceDigests ?? new Uint8Array(0)
    await this.#retryWithRoom(() => this.index.complete(digest, recordOf(whole), pieceMap, !blob.isOnePiece), makeRoom)
    blob.isComplete = true
    this.#blobs.set(whole)
    this.#listener?.moved(digest)
    if (blob.isOnePiece) return
    await removeRecords(this.#files.partialPath(digest)).catch((error: unknown) => {
      this.#log.warn({ digest, err: error }, 'records of a blob that is whole are left; the next start deletes them')
    })
  }

  /** Forgets a blob and deletes its bytes. Throws StoreError when they can not be deleted. */
  discard(digest: string): Promise<void> {
    return this.#turns.run(() => this.#remove(digest))
  }

  /** Forgets a blob whose file is not there any more, unless another has taken its place. */
  lost(blob: StoredBlob): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#blobs.get(blob.digest) === blob) await this.#remove(blob.digest)
    })
  }

  /** The sha256 of every piece, 32 bytes each, zero where not held; undefined when the blob is not as it should be. */
  async pieceMap(digest: string): Promise<Uint8Array | undefined> {
    const blob = this.#blobs.get(digest)
    if (blob === undefined) return undefined
    return blob.pieceDigests ?? (await this.#pieceMaps.of(blob))
  }

  /** Bytes of all blobs that were evicted since the store was made. */
  get evictedBytes(): number {
    return this.#room.evictedBytes
  }

  /**
   * Evicts blobs worth at least `bytes`, where there are such, because a write failed for want of space. Returns the
   * bytes that are free again: 0 when nothing may go.
   * @param evictedBefore `evictedBytes` before the write: when others have made room since then, nothing more goes
   */
  makeRoom(bytes: number, evictedBefore: number): Promise<number> {
    return this.#turns.run(() => this.#room.free(bytes, evictedBefore))
  }

  /** Evicts what is over the limits, and writes down when blobs were used. The store does so by itself, all 10 s. */
  async tend(): Promise<void> {
    await this.#turns.run(async () => {
      await this.#room.tend()
      if (this.#now() - this.#usesSavedAtMs < SAVE_USES_MS) return
      this.#usesSavedAtMs = this.#now()
      // The record of a blob in part must not be written while the blob may be published.
      await this.#saveUses((blob) => blob.isComplete)
    })
  }

  /**
   * Checks every whole blob against its digest, one at a time, and discards those that are damaged; takes up whole
   * blobs that the index does not know. Throws what hashing throws when `signal` aborts.
   * @param report called after each file
   */
  scrub(signal: AbortSignal, report: (counts: ScrubCounts) => void): Promise<ScrubCounts> {
    return scrub(
      {
        ...this.#checking,
        blobs: () => [...this.complete()],
        isKnown: (digest) => this.#blobs.has(digest),
        named: () => this.#files.named(),
        adopt: (file, size, pieceMap, usedAtMs) => this.#adopt(file, size, pieceMap, usedAtMs),
        dropUnknown: (file) => this.#dropUnknown(file),
      },
      signal,
      report,
    )
  }

  /** Checks one whole blob, unhurried, and discards it when it is damaged. Throws as `scrub` does. */
  async check(blob: StoredBlob, signal: AbortSignal): Promise<void> {
    await scrubOne(this.#checking, blob, signal)
  }

  get #checking() {
    return {
      pin: (digest: string) => this.pin(digest),
      isHeld: (blob: StoredBlob) => this.#blobs.get(blob.digest) === blob,
      hasher: this.#hasher,
      dropDamaged: (blob: StoredBlob) => this.#dropDamaged(blob),
      metrics: this.#metrics,
      log: this.#log,
    }
  }

  /** Opens the index; on a full disk, unfinished blobs go for it, then whole ones. */
  async #openIndex(): Promise<void> {
    for (let hasPartials = true; ; hasPartials = false) {
      try {
        await this.index.start()
        return
      } catch (error) {
        if (!(error instanceof StoreError && error.code === 'NO_SPACE')) throw error
        const removed = hasPartials ? await this.#files.removePartials(new Set()) : 0
        if (removed === 0 && !(await this.#files.removeOldest())) throw error
        this.#log.warn({ unfinished: removed }, 'the disk is too full to open the index: blobs were deleted')
      }
    }
  }

  async #createInTurn(digest: string, size: number): Promise<StoredBlob> {
    const held = this.#blobs.get(digest)
    if (held !== undefined && held.size !== size) {
      throw new StoreError('SIZE_CONFLICT', `blob ${digest} has ${held.size} bytes here, not ${size}`)
    }
    if (held?.isComplete) return held
    const { pieceSize } = new PieceLayout(size)
    // What a blob in part lacks is promised to it already; that the disk has it still is not sure.
    await this.#room.reserve(held === undefined ? size : 0, digest)
    if (held !== undefined) {
      this.touch(digest)
      return held
    }
    const makeRoom = (before: number) => this.#room.free(pieceSize, before)
    const blob = new StoredBlob(digest, size, this.#files.partialPath(digest), false, this.#now())
    if (!blob.isOnePiece) {
      await this.#retryWithRoom(() => this.#files.createPartial(digest, size), makeRoom)
      try {
        await this.#retryWithRoom(() => this.index.putBlob(digest, recordOf(blob)), makeRoom)
      } catch (error) {
        await this.#files.remove(blob.file)
        throw error
      }
    }
    this.#blobs.set(blob)
    return blob
  }

  /** Runs `work`; once more when the disk was full and something could be evicted. */
  async #retryWithRoom<T>(work: () => Promise<T>, makeRoom: (evictedBefore: number) => Promise<number>): Promise<T> {
    const { evictedBytes } = this
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof StoreError && error.code === 'NO_SPACE')) throw error
      if ((await makeRoom(evictedBytes)) === 0) throw error
      return work()
    }
  }

  /** In a turn: removes a blob on the store's own account. */
  async #giveUp(blob: StoredBlob): Promise<void> {
    try {
      await this.#remove(blob.digest)
    } finally {
      this.#listener?.withdrawn(blob.digest)
    }
  }

  /** In a turn: the bytes go first, because a full disk has no room for the index to say so. */
  async #remove(digest: string): Promise<void> {
    const blob = this.#blobs.get(digest)
    this.#blobs.delete(digest)
    this.#unsavedUses.delete(digest)
    this.#listener?.moved(digest)
    if (blob !== undefined) await this.#files.remove(blob.file)
    if (blob?.isComplete === false && !blob.isOnePiece) await removeRecords(blob.file)
    await this.index.delete(digest).catch((error: unknown) => {
      this.#log.warn({ digest, err: error }, 'the index still has a blob that is gone; the next start corrects it')
    })
  }

  async #saveUses(isSaved: (blob: StoredBlob) => boolean): Promise<void> {
    const used = [...this.#unsavedUses].flatMap((digest) => this.#blobs.get(digest) ?? []).filter(isSaved)
    if (used.length === 0) return
    for (const { digest } of used) this.#unsavedUses.delete(digest)
    await this.index
      .putBlobs(used.map((blob) => [blob.digest, recordOf(blob)]))
      .catch((error: unknown) => this.#log.warn({ err: error }, 'times of use can not be written down'))
  }

  #dropDamaged(blob: StoredBlob): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#blobs.get(blob.digest) === blob) await this.#giveUp(blob)
    })
  }

  #adopt({ digest, file }: NamedFile, size: number, pieceMap: Uint8Array, usedAtMs: number): Promise<boolean> {
    return this.#turns.run(async () => {
      if (this.#blobs.has(digest) || (await sizeOfFile(file)) !== size) return false
      const blob = new StoredBlob(digest, size, file, true, usedAtMs)
      await this.index.complete(digest, recordOf(blob), pieceMap, true)
      this.#blobs.set(blob)
      this.#listener?.adopted(blob)
      return true
    })
  }

  #dropUnknown({ digest, file }: NamedFile): Promise<boolean> {
    return this.#turns.run(async () => {
      if (this.#blobs.has(digest)) return false
      await this.#files.remove(file)
      return true
    })
  }
}

function recordOf(blob: StoredBlob): { size: number; isComplete: boolean; usedAtMs: number } {
  return { size: blob.size, isComplete: blob.isComplete, usedAtMs: blob.usedAtMs }
}

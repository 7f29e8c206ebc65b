import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Logger, parseDigest, type Startable, syncFolder, tryParseDigest } from '@shoal/core'
import { StoredBlob } from './blob.ts'
import { StoreError, storeIoError } from './errors.ts'
import { IndexDb } from './index-db.ts'

const SHA256_BYTES = 32

/** What the store asks of the worker threads. */
export interface PieceHasher {
  /** sha256 of the named pieces of a file; a shorter entry where the file ends before the piece does. */
  hashPieces(file: string, size: number, pieces: readonly number[], signal: AbortSignal): Promise<Uint8Array[]>
}

/**
 * The node's blobs on disk. A blob in part is `partial/<algorithm>-<hex>`, whole and verified it is
 * `blobs/<algorithm>/<first two hex>/<hex>`; which pieces are held is in the index and outlives the process.
 */
export class BlobStore implements Startable {
  readonly #dataDir: string
  readonly #hasher: PieceHasher
  readonly #log: Logger
  readonly index: IndexDb
  readonly #blobs = new Map<string, StoredBlob>()
  readonly #creating = new Map<string, Promise<StoredBlob>>()
  readonly #stopping = new AbortController()
  #onMoved: (digest: string) => void = () => {}

  constructor(options: { dataDir: string }, dependencies: { hasher: PieceHasher; log: Logger }) {
    this.#dataDir = options.dataDir
    this.#hasher = dependencies.hasher
    this.#log = dependencies.log
    this.index = new IndexDb(options.dataDir)
  }

  /** Registers who is told when a blob's file moved or went away. */
  onMoved(listener: (digest: string) => void): void {
    this.#onMoved = listener
  }

  async start(): Promise<void> {
    await mkdir(join(this.#dataDir, 'partial'), { recursive: true })
    await mkdir(join(this.#dataDir, 'blobs'), { recursive: true })
    await this.index.start()
    await this.#recover()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.allSettled(this.#creating.values())
    await this.index.stop()
    this.#blobs.clear()
  }

  /** The blob, whole or in part; undefined when this node has nothing of it. */
  find(digest: string): StoredBlob | undefined {
    return this.#blobs.get(digest)
  }

  /** Blobs that are whole. */
  *complete(): Generator<StoredBlob> {
    for (const blob of this.#blobs.values()) if (blob.isComplete) yield blob
  }

  /** Counts and bytes for people and metrics. */
  summary(): { completeBlobs: number; partialBlobs: number; completeBytes: number } {
    let completeBlobs = 0
    let completeBytes = 0
    for (const blob of this.complete()) {
      completeBlobs++
      completeBytes += blob.size
    }
    return { completeBlobs, partialBlobs: this.#blobs.size - completeBlobs, completeBytes }
  }

  /**
   * The blob to add pieces to: what is held of it already, else a new partial file of its full size. Throws StoreError
   * `SIZE_CONFLICT` when it is held with another size, `NO_SPACE` or `IO` when it can not be made.
   */
  async create(digest: string, size: number): Promise<StoredBlob> {
    const held = this.#blobs.get(digest)
    const blob = held ?? (await this.#createOnce(digest, size))
    if (blob.size !== size) {
      throw new StoreError('SIZE_CONFLICT', `blob ${digest} has ${blob.size} bytes here, not ${size}`)
    }
    return blob
  }

  /**
   * Records a piece whose bytes were written and whose sha256 was right. It counts as held once it is in the index, so
   * that what a node says it holds is there again after a crash. Returns whether it is new.
   */
  async addPiece(blob: StoredBlob, piece: number, sha256: Uint8Array): Promise<boolean> {
    if (blob.have.has(piece)) return false
    await this.index.putPiece(blob.digest, piece, sha256)
    return blob.addPiece(piece, sha256)
  }

  /**
   * Gives a blob whose whole digest was checked its final name: bytes to disk, rename, folder to disk, index. The
   * caller has checked the digest.
   */
  async publish(blob: StoredBlob): Promise<void> {
    if (blob.isComplete) return
    const target = this.#finalPath(blob.digest)
    try {
      const handle = await open(blob.file, 'r+')
      try {
        await handle.datasync()
      } finally {
        await handle.close()
      }
      await mkdir(dirname(target), { recursive: true })
      await rename(blob.file, target)
      await syncFolder(dirname(target))
    } catch (cause) {
      throw storeIoError('publish', target, cause)
    }
    const pieceMap = blob.pieceDigests ?? new Uint8Array(0)
    const whole = new StoredBlob(blob.digest, blob.size, target, true, Date.now())
    await this.index.complete(blob.digest, recordOf(whole), pieceMap)
    blob.file = target
    blob.isComplete = true
    this.#blobs.set(blob.digest, whole)
    this.#onMoved(blob.digest)
  }

  /** Forgets a blob and deletes its bytes. */
  async discard(digest: string): Promise<void> {
    const blob = this.#blobs.get(digest)
    this.#blobs.delete(digest)
    this.#onMoved(digest)
    await this.index.delete(digest)
    if (blob !== undefined) await rm(blob.file, { force: true })
  }

  /** The sha256 of every piece, 32 bytes each, zero where not known; undefined when nothing is known of the blob. */
  async pieceMap(digest: string): Promise<Uint8Array | undefined> {
    const blob = this.#blobs.get(digest)
    if (blob === undefined) return undefined
    return blob.pieceDigests ?? (await this.index.pieceMap(digest))
  }

  #createOnce(digest: string, size: number): Promise<StoredBlob> {
    const running = this.#creating.get(digest)
    if (running !== undefined) return running
    const creating = this.#createPartial(digest, size).finally(() => this.#creating.delete(digest))
    this.#creating.set(digest, creating)
    return creating
  }

  async #createPartial(digest: string, size: number): Promise<StoredBlob> {
    const file = this.#partialPath(digest)
    try {
      const handle = await open(file, 'w')
      try {
        await handle.truncate(size)
      } finally {
        await handle.close()
      }
    } catch (cause) {
      throw storeIoError('create', file, cause)
    }
    const blob = new StoredBlob(digest, size, file, false, Date.now())
    await this.index.putBlob(digest, recordOf(blob))
    this.#blobs.set(digest, blob)
    return blob
  }

  /** Takes up what an earlier run left: whole blobs whose file is right, parts whose pieces still have their sha256. */
  async #recover(): Promise<void> {
    const lost: string[] = []
    for await (const [digest, record] of this.index.blobs()) {
      if (tryParseDigest(digest) === undefined) continue
      const { size, usedAtMs } = record
      if (await hasSize(this.#finalPath(digest), size)) {
        // A final name is given only to verified bytes, so the record may lag behind the rename by one crash.
        if (!record.isComplete) await this.#recoverRenamed(digest, size)
        this.#blobs.set(digest, new StoredBlob(digest, size, this.#finalPath(digest), true, usedAtMs))
      } else if (!record.isComplete && (await hasSize(this.#partialPath(digest), size))) {
        const blob = new StoredBlob(digest, size, this.#partialPath(digest), false, usedAtMs)
        await this.#recoverPieces(blob)
        this.#blobs.set(digest, blob)
      } else {
        lost.push(digest)
      }
    }
    for (const digest of lost) {
      this.#log.warn({ digest }, 'a blob of the index is not on disk as it was; it will be fetched again')
      await this.index.delete(digest)
    }
    await this.#removeUnknownPartials()
    this.#log.info(this.summary(), 'store opened')
  }

  async #recoverRenamed(digest: string, size: number): Promise<void> {
    const blob = new StoredBlob(digest, size, this.#finalPath(digest), false, Date.now())
    for await (const [piece, sha256] of this.index.pieces(digest)) {
      if (piece < blob.layout.count && sha256.byteLength === SHA256_BYTES) blob.addPiece(piece, sha256)
    }
    const record = { size, isComplete: true, usedAtMs: blob.usedAtMs }
    await this.index.complete(digest, record, blob.pieceDigests ?? new Uint8Array(0))
  }

  async #recoverPieces(blob: StoredBlob): Promise<void> {
    const recorded: [number, Uint8Array][] = []
    for await (const [piece, sha256] of this.index.pieces(blob.digest)) {
      if (piece < blob.layout.count && sha256.byteLength === SHA256_BYTES) recorded.push([piece, sha256])
    }
    const pieces = recorded.map(([piece]) => piece)
    const found = await this.#hasher.hashPieces(blob.file, blob.size, pieces, this.#stopping.signal)
    const wrong: number[] = []
    for (const [i, [piece, sha256]] of recorded.entries()) {
      if (Buffer.compare(found[i] ?? new Uint8Array(0), sha256) === 0) blob.addPiece(piece, sha256)
      else wrong.push(piece)
    }
    if (wrong.length > 0) await this.index.deletePieces(blob.digest, wrong)
    this.#log.info({ digest: blob.digest, held: blob.have.held, damaged: wrong.length }, 'partial blob taken up again')
  }

  async #removeUnknownPartials(): Promise<void> {
    const folder = join(this.#dataDir, 'partial')
    const known = new Set([...this.#blobs.values()].map((blob) => blob.file))
    for (const name of await readdir(folder)) {
      if (!known.has(join(folder, name))) await rm(join(folder, name), { force: true })
    }
  }

  #finalPath(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#dataDir, 'blobs', algorithm, hex.slice(0, 2), hex)
  }

  #partialPath(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#dataDir, 'partial', `${algorithm}-${hex}`)
  }
}

function recordOf(blob: StoredBlob): { size: number; isComplete: boolean; usedAtMs: number } {
  return { size: blob.size, isComplete: blob.isComplete, usedAtMs: blob.usedAtMs }
}

function hasSize(path: string, size: number): Promise<boolean> {
  return stat(path).then(
    (entry) => entry.size === size,
    () => false,
  )
}

import { join } from 'node:path'
import type { Startable } from '@shoal/core'
import { Level } from 'level'
import { StoreError } from './errors.ts'

/** What the index keeps of a blob. */
export interface BlobRecord {
  readonly size: number
  readonly isComplete: boolean
  readonly usedAtMs: number
}

type Batch = ReturnType<Level<string, Uint8Array>['batch']>

const BLOB = 'blob!'
const PIECE = 'piece!'
const MAP = 'map!'
/** Sorts after every key of a prefix: keys are printable ASCII. */
const END = '~'

/**
 * The store's index in `level`. `blob!<digest>` holds a record; `piece!<digest>!<index>` the sha256 of a held piece of
 * a blob in part; `map!<digest>` all piece digests of a whole blob. A piece is recorded after its bytes were written
 * and verified, so that a record never speaks of bytes that were not there.
 */
export class IndexDb implements Startable {
  readonly #folder: string
  #level: Level<string, Uint8Array> | undefined

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'index')
  }

  /** The open database; throws when the index is not started. */
  get level(): Level<string, Uint8Array> {
    if (this.#level === undefined) throw new Error('the index is not open')
    return this.#level
  }

  async start(): Promise<void> {
    if (this.#level !== undefined) return
    const level = new Level<string, Uint8Array>(this.#folder, { valueEncoding: 'view' })
    try {
      await level.open()
    } catch (cause) {
      throw new StoreError(
        'IN_USE_ELSEWHERE',
        `can not open the index ${this.#folder}: another process uses this data folder, or the index is damaged; stop the other process, or delete the data folder to start empty`,
        { cause },
      )
    }
    this.#level = level
  }

  async stop(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    await level?.close()
  }

  async *blobs(): AsyncGenerator<[digest: string, record: BlobRecord]> {
    for await (const [key, value] of this.level.iterator({ gte: BLOB, lt: BLOB + END })) {
      const record = decodeRecord(value)
      if (record !== undefined) yield [key.slice(BLOB.length), record]
    }
  }

  async putBlob(digest: string, record: BlobRecord): Promise<void> {
    await this.level.put(BLOB + digest, encode(record))
  }

  async putPiece(digest: string, piece: number, sha256: Uint8Array): Promise<void> {
    await this.level.put(pieceKey(digest, piece), sha256)
  }

  async deletePieces(digest: string, pieces: readonly number[]): Promise<void> {
    await this.level.batch(pieces.map((piece) => ({ type: 'del' as const, key: pieceKey(digest, piece) })))
  }

  async *pieces(digest: string): AsyncGenerator<[piece: number, sha256: Uint8Array]> {
    const prefix = `${PIECE}${digest}!`
    for await (const [key, value] of this.level.iterator({ gte: prefix, lt: prefix + END })) {
      yield [Number.parseInt(key.slice(prefix.length), 16), value]
    }
  }

  /** All piece digests of a whole blob; undefined when they are not known. */
  async pieceMap(digest: string): Promise<Uint8Array | undefined> {
    return this.level.get(MAP + digest)
  }

  /** Makes a blob whole in one step: its record, its piece map, and no more single pieces. */
  async complete(digest: string, record: BlobRecord, pieceMap: Uint8Array): Promise<void> {
    const batch = this.level.batch()
    batch.put(BLOB + digest, encode(record)).put(MAP + digest, pieceMap)
    await (await this.#deletePieceKeys(batch, digest)).write({ sync: true })
  }

  /** Forgets a blob. */
  async delete(digest: string): Promise<void> {
    const batch = this.level.batch()
    batch.del(BLOB + digest).del(MAP + digest)
    await (await this.#deletePieceKeys(batch, digest)).write()
  }

  async #deletePieceKeys(batch: Batch, digest: string): Promise<Batch> {
    const prefix = `${PIECE}${digest}!`
    for await (const key of this.level.keys({ gte: prefix, lt: prefix + END })) batch.del(key)
    return batch
  }
}

function pieceKey(digest: string, piece: number): string {
  return `${PIECE}${digest}!${piece.toString(16).padStart(8, '0')}`
}

function encode(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** Bytes from the disk after a crash may be anything: a record that is not one is left out. */
function decodeRecord(bytes: Uint8Array): BlobRecord | undefined {
  try {
    const { size, isComplete, usedAtMs } = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
    if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return undefined
    if (typeof isComplete !== 'boolean') return undefined
    return { size, isComplete, usedAtMs: typeof usedAtMs === 'number' ? usedAtMs : 0 }
  } catch {
    return undefined
  }
}

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errorChain, keepToOwner, type Startable } from '@shoal/core'
import { Level } from 'level'
import { freeBytesAt } from './disk.ts'
import { isDiskFull, StoreError, storeIoError } from './errors.ts'
import { logBytes } from './level-log.ts'

/** What the index keeps of a blob. */
export interface BlobRecord {
  readonly size: number
  readonly isComplete: boolean
  readonly usedAtMs: number
}

type Database = Level<string, Uint8Array>

const BLOB = 'blob!'
const MAP = 'map!'
/** Sorts after every key of a prefix: keys are printable ASCII. */
const END = '~'
/** What opening the database takes besides the content of its log. */
const REOPEN_SPARE_BYTES = 256 * 1024

/**
 * The store's index in `level`. `blob!<digest>` holds a record; `map!<digest>` all piece digests of a whole blob. Which
 * pieces of a blob in part are held is written beside it (piece-records.ts).
 *
 * A write that fails for want of space leaves a torn record in LevelDB's log. LevelDB goes on behind it, and at the
 * next start drops what it wrote there. So nothing is written after such a failure before the database was opened
 * anew, which takes the log's content into a table.
 */
export class IndexDb implements Startable {
  readonly #folder: string
  readonly #running = new Set<Promise<unknown>>()
  #level: Database | undefined
  #reopening: Promise<void> | undefined
  #isLogTorn = false
  #wasRemade = false

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'index')
  }

  /** Makes the index anew, empty, when it is damaged. Throws StoreError `NO_SPACE`, `IO` or `IN_USE_ELSEWHERE`. */
  async start(): Promise<void> {
    if (this.#level !== undefined) return
    try {
      this.#level = await this.#openWhole()
    } catch (cause) {
      if (!isDamage(cause)) throw this.#unusable(cause)
      await rm(this.#folder, { recursive: true, force: true })
      this.#wasRemade = true
      this.#level = await this.#openWhole().catch((again: unknown) => {
        throw this.#unusable(again)
      })
    }
    await keepToOwner(this.#folder).catch((cause: unknown) => {
      throw storeIoError('open the index', this.#folder, cause)
    })
    this.#isLogTorn = false
  }

  /** Whether the index was damaged and knows nothing of what is on the disk. */
  get wasRemade(): boolean {
    return this.#wasRemade
  }

  /** Opens the database and looks at every part of it: damage of a table shows only where it is read. */
  async #openWhole(): Promise<Database> {
    const level: Database = new Level(this.#folder, { valueEncoding: 'view' })
    try {
      await level.open()
      for await (const _ of level.keys());
      return level
    } catch (error) {
      await level.close().catch(() => {})
      throw error
    }
  }

  #unusable(cause: unknown): StoreError {
    if (levelCodeOf(cause) !== 'LEVEL_LOCKED') return storeIoError('open the index', this.#folder, cause)
    return new StoreError(
      'IN_USE_ELSEWHERE',
      `can not open the index ${this.#folder}: another process uses this data folder; stop it, or choose another dataDir`,
      { cause },
    )
  }

  async stop(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    await this.#reopening?.catch(() => {})
    await level?.close()
  }

  /** A value by its whole key. Throws StoreError. */
  get(key: string): Promise<Uint8Array | undefined> {
    return this.#use('read', (level) => level.get(key))
  }

  /** Throws StoreError. */
  put(key: string, value: Uint8Array): Promise<void> {
    return this.#write((level) => level.put(key, value))
  }

  /** Throws StoreError. */
  remove(key: string): Promise<void> {
    return this.#write((level) => level.del(key))
  }

  /** All keys that begin with `prefix`. */
  async *keys(prefix: string): AsyncGenerator<string> {
    yield* this.#opened().keys({ gte: prefix, lt: prefix + END })
  }

  /** All keys that begin with `prefix`, with their values. */
  async *entries(prefix: string): AsyncGenerator<[key: string, value: Uint8Array]> {
    yield* this.#opened().iterator({ gte: prefix, lt: prefix + END })
  }

  async *blobs(): AsyncGenerator<[digest: string, record: BlobRecord]> {
    for await (const [key, value] of this.entries(BLOB)) {
      const record = decodeRecord(value)
      if (record !== undefined) yield [key.slice(BLOB.length), record]
    }
  }

  putBlob(digest: string, record: BlobRecord): Promise<void> {
    return this.put(BLOB + digest, encode(record))
  }

  putBlobs(records: Iterable<readonly [digest: string, record: BlobRecord]>): Promise<void> {
    const puts = [...records].map(([digest, record]) => ({
      type: 'put' as const,
      key: BLOB + digest,
      value: encode(record),
    }))
    return this.#write((level) => level.batch(puts))
  }

  /** All piece digests of a whole blob as they were written; undefined when they were not. Throws StoreError. */
  pieceMap(digest: string): Promise<Uint8Array | undefined> {
    return this.get(MAP + digest)
  }

  /** Throws StoreError. */
  putPieceMap(digest: string, pieceMap: Uint8Array): Promise<void> {
    return this.put(MAP + digest, pieceMap)
  }

  /**
   * Makes a blob whole in one step: its record and its piece map.
   * @param isForced whether it is on the disk when this resolves; else a power cut may undo it
   */
  complete(digest: string, record: BlobRecord, pieceMap: Uint8Array, isForced: boolean): Promise<void> {
    return this.#write((level) =>
      level
        .batch()
        .put(BLOB + digest, encode(record))
        .put(MAP + digest, pieceMap)
        .write({ sync: isForced }),
    )
  }

  /** Forgets a blob. */
  delete(digest: string): Promise<void> {
    return this.#write((level) =>
      level
        .batch()
        .del(BLOB + digest)
        .del(MAP + digest)
        .write(),
    )
  }

  async #write(work: (level: Database) => Promise<void>): Promise<void> {
    if (this.#isLogTorn) await this.#reopenOnce()
    try {
      await this.#use('write', work)
    } catch (error) {
      if (isDiskFull(error)) this.#isLogTorn = true
      throw error
    }
  }

  /** Runs `work`, not while the database is opened anew. */
  async #use<T>(verb: 'read' | 'write', work: (level: Database) => Promise<T>): Promise<T> {
    await this.#reopening?.catch(() => {})
    const running = work(this.#opened())
    this.#running.add(running)
    try {
      return await running
    } catch (cause) {
      throw storeIoError(`${verb} the index`, this.#folder, cause)
    } finally {
      this.#running.delete(running)
    }
  }

  #reopenOnce(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined
    })
    return this.#reopening
  }

  async #reopen(): Promise<void> {
    try {
      const needed = (await logBytes(this.#folder)) + REOPEN_SPARE_BYTES
      const isRoomy = freeBytesAt(this.#folder) >= needed
      if (!isRoomy) throw new StoreError('NO_SPACE', `the index ${this.#folder} needs ${needed} free bytes to go on`)
      await Promise.allSettled(this.#running)
      await this.#opened().close()
      await this.#opened().open()
      this.#isLogTorn = false
    } catch (cause) {
      throw storeIoError('open the index', this.#folder, cause)
    }
  }

  #opened(): Database {
    if (this.#level === undefined) throw new Error('the index is not open')
    return this.#level
  }
}

/** LevelDB's own code, which is that of the cause when the database could not be opened. */
function levelCodeOf(error: unknown): string | undefined {
  const { code, cause } = error as { code?: string; cause?: unknown }
  return code === 'LEVEL_DATABASE_NOT_OPEN' && cause instanceof Error ? levelCodeOf(cause) : code
}

/** Whether the database is not what LevelDB wrote. A lack of files, space or rights to open it is no damage. */
function isDamage(error: unknown): boolean {
  const code = levelCodeOf(error)
  if (code === 'LEVEL_CORRUPTION') return true
  return code === 'LEVEL_IO_ERROR' && /No such file|Invalid argument|Is a directory/.test(errorChain(error))
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

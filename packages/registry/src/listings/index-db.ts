import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { CoreError, type Startable } from '@shoal/core'
import { Level } from 'level'
import type { FactsShelf, ManifestFacts } from './manifest-facts.ts'

/** One change of the index. */
export type IndexChange =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'del'; readonly key: string }

/** Keys of one kind, in their order. */
export interface KeyRange {
  readonly gt: string
  readonly lt: string
}

const FACTS = 'manifest!'
const CHECKSUM_DIGITS = 8
/** Sorts after all keys that have `!` in its place. */
const AFTER = '"'

/** Keys of the index. No name, tag or digest can hold a `!`, which sorts before all that they can hold. */
export const indexKeys = {
  repository: (name: string): string => `repository!${inParts(name)}`,
  repositories: (after?: string): KeyRange => ({
    gt: `repository!${after === undefined ? '' : inParts(after)}`,
    lt: `repository${AFTER}`,
  }),
  repositoryIn: (key: string): string => lastOf(key).replaceAll(PART_END, '/'),
  tag: (repository: string, tag: string): string => `tag!${repository}!${tag}`,
  tags: (repository: string, after = ''): KeyRange => ({
    gt: `tag!${repository}!${after}`,
    lt: `tag!${repository}${AFTER}`,
  }),
  referrer: (repository: string, subject: string, digest: string): string =>
    `referrer!${repository}!${subject}!${digest}`,
  referrers: (repository: string, subject: string, after = ''): KeyRange => ({
    gt: `referrer!${repository}!${subject}!${after}`,
    lt: `referrer!${repository}!${subject}${AFTER}`,
  }),
  allReferrers: (repository: string): KeyRange => ({
    gt: `referrer!${repository}!`,
    lt: `referrer!${repository}${AFTER}`,
  }),
} as const

/** Sorts before all that names can hold, so that names sort part by part. */
const PART_END = '\u0001'

function inParts(name: string): string {
  return name.replaceAll('/', PART_END)
}

/** What a key ends with: a name, a tag, a digest. */
export function lastOf(key: string): string {
  return key.slice(key.lastIndexOf('!') + 1)
}

/**
 * The index in `level`: `repository!<name>`, `tag!<repository>!<tag>` and `referrer!<repository>!<subject>!<digest>`, all
 * without a value, and `manifest!<digest>` → what lists need to know of a manifest. Only the last outlives a start: what
 * a manifest says never changes, but another registry may have changed the storage meanwhile.
 */
export class IndexDb implements Startable, FactsShelf {
  readonly #folder: string
  #level: Level<string, string> | undefined
  #lastWrite: Promise<unknown> = Promise.resolve()

  constructor(dataDir: string) {
    this.#folder = join(dataDir, 'index')
  }

  /** Makes the index anew when it is damaged. Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    if (this.#level !== undefined) return
    try {
      this.#level = await this.#open()
    } catch (error) {
      if (isLocked(error)) throw this.#unusable(error)
      await rm(this.#folder, { recursive: true, force: true })
      this.#level = await this.#open().catch((cause) => {
        throw this.#unusable(cause)
      })
    }
  }

  async stop(): Promise<void> {
    const level = this.#level
    this.#level = undefined
    await this.#lastWrite.catch(() => {})
    await level?.close()
  }

  /** Makes changes, all or none, after those that were asked for before. */
  write(changes: readonly IndexChange[]): Promise<void> {
    const written = this.#lastWrite.catch(() => {}).then(() => this.#opened().batch([...changes]))
    this.#lastWrite = written
    return written
  }

  /** At most `limit` keys; all when left out. */
  async keys(range: KeyRange, limit?: number): Promise<string[]> {
    return this.#opened()
      .keys({ ...range, ...(limit === undefined ? {} : { limit }) })
      .all()
  }

  /** Keys one by one: there may be many. */
  eachKey(range: KeyRange): AsyncIterable<string> {
    return this.#opened().keys(range)
  }

  async get(digest: string): Promise<ManifestFacts | undefined> {
    const value = await this.#opened().get(FACTS + digest)
    return value === undefined ? undefined : decode(digest, value)
  }

  put(digest: string, facts: ManifestFacts): Promise<void> {
    return this.write([{ type: 'put', key: FACTS + digest, value: encode(facts) }])
  }

  /** Of a manifest that is gone from the storage. */
  forget(digest: string): Promise<void> {
    return this.write([{ type: 'del', key: FACTS + digest }])
  }

  async #open(): Promise<Level<string, string>> {
    const level = new Level<string, string>(this.#folder)
    try {
      await level.open()
      for (const kind of ['repository', 'tag', 'referrer']) {
        await level.clear({ gt: `${kind}!`, lt: `${kind}${AFTER}` })
      }
      return level
    } catch (error) {
      await level.close().catch(() => {})
      throw error
    }
  }

  #unusable(cause: unknown): CoreError {
    return new CoreError(
      'DATA_FOLDER_UNUSABLE',
      `can not open the index ${this.#folder}: another process uses it, the disk is full, or the folder may not be written; stop the other process, free space, or delete the folder, which is made anew`,
      { cause },
    )
  }

  #opened(): Level<string, string> {
    if (this.#level === undefined) throw new Error('the index is not open')
    return this.#level
  }
}

function isLocked(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: string } }
  return cause?.code === 'LEVEL_LOCKED'
}

/** With a checksum: what is collected goes by it. */
function encode(facts: ManifestFacts): string {
  const json = JSON.stringify(facts)
  return `${crc32(json).toString(16).padStart(CHECKSUM_DIGITS, '0')}${json}`
}

/** undefined for what was damaged on the disk, or is of another version: it is read from the manifest again. */
function decode(digest: string, value: string): ManifestFacts | undefined {
  const json = value.slice(CHECKSUM_DIGITS)
  if (crc32(json) !== Number.parseInt(value.slice(0, CHECKSUM_DIGITS), 16)) return undefined
  const facts = JSON.parse(json) as ManifestFacts
  return facts.descriptor === undefined || facts.descriptor.digest === digest ? facts : undefined
}

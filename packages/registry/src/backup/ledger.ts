import { createHash } from 'node:crypto'
import { RegistryError } from '../errors.ts'
import type { Appender, StorageDriver } from '../storage/driver.ts'

/**
 * What a backup has: a line of JSON for each file in the order in which they are restored, then one that seals it.
 * A backup without it is not whole.
 */
export const LEDGER = 'backup.jsonl'
const PARTIAL = 'backup.jsonl.partial'
const FORMAT = { format: 'shoal-registry-backup', version: 1 } as const
const MAX_LINE_BYTES = 4096
const WRITE_BYTES = 64 * 1024
/** Paths of Distribution's layout: nothing else is in a backup. */
const PATH = /^docker\/registry\/v2\/(?:blobs|repositories)(?:\/[a-zA-Z0-9_.-]+)+$/

/** One file of a backup. */
export interface BackedUpFile {
  readonly path: string
  readonly sizeBytes: number
  /** Hex. */
  readonly sha256: string
}

interface Seal {
  readonly files: number
  readonly bytes: number
  /** Of all lines before. */
  readonly sha256: string
}

/** Writes the ledger of a backup, which takes its place when it is sealed. */
export class LedgerWriter {
  readonly #storage: StorageDriver
  readonly #appender: Appender
  readonly #hash = createHash('sha256')
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #files = 0
  #bytes = 0

  private constructor(storage: StorageDriver, appender: Appender) {
    this.#storage = storage
    this.#appender = appender
  }

  /** Breaks the seal of an earlier backup in the same place. */
  static async begin(storage: StorageDriver, nowMs: number): Promise<LedgerWriter> {
    await storage.remove(LEDGER)
    await storage.remove(PARTIAL)
    const writer = new LedgerWriter(storage, await storage.append(PARTIAL))
    await writer.#write({ ...FORMAT, startedAt: new Date(nowMs).toISOString() })
    return writer
  }

  async add(file: BackedUpFile): Promise<void> {
    this.#files++
    this.#bytes += file.sizeBytes
    await this.#write(file)
  }

  async seal(): Promise<void> {
    const seal: Seal = { files: this.#files, bytes: this.#bytes, sha256: this.#hash.copy().digest('hex') }
    await this.#write(seal)
    await this.#flush()
    await this.#appender.commit()
    await this.#appender.close()
    await this.#storage.move(PARTIAL, LEDGER)
  }

  /** Leaves what there is of it: it is no ledger. */
  async abandon(): Promise<void> {
    await this.#appender.close()
  }

  async #write(line: object): Promise<void> {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`)
    this.#hash.update(bytes)
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes >= WRITE_BYTES) await this.#flush()
  }

  async #flush(): Promise<void> {
    const chunks = this.#waiting
    this.#waiting = []
    this.#waitingBytes = 0
    await this.#appender.write(chunks)
  }
}

/** Throws RegistryError `UNKNOWN` when there is no ledger, or it is not one that was sealed. */
export async function checkLedger(storage: StorageDriver): Promise<{ readonly files: number; readonly bytes: number }> {
  const hash = createHash('sha256')
  let previous: string | undefined
  let first: string | undefined
  let [files, bytes] = [-1, 0]
  for await (const line of lines(storage)) {
    if (previous !== undefined) {
      hash.update(`${previous}\n`)
      bytes += files >= 0 ? fileOf(previous).sizeBytes : 0
      files++
    }
    first ??= line
    previous = line
  }
  const { format, version } = parse(first ?? '') as Partial<typeof FORMAT>
  if (format !== FORMAT.format || version !== FORMAT.version) throw damaged('it does not begin as one of this version')
  const seal = parse(previous ?? '') as Partial<Seal>
  if (seal.files !== files || seal.bytes !== bytes || seal.sha256 !== hash.digest('hex')) {
    throw damaged('it was not finished, or was changed afterwards')
  }
  return { files, bytes }
}

/** The files of a ledger that was checked. */
export async function* readLedger(storage: StorageDriver): AsyncGenerator<BackedUpFile> {
  let previous: string | undefined
  let count = 0
  for await (const line of lines(storage)) {
    // Neither the first line nor the last one is a file.
    if (previous !== undefined && count++ > 0) yield fileOf(previous)
    previous = line
  }
}

function fileOf(line: string): BackedUpFile {
  const { path, sizeBytes, sha256 } = parse(line) as Partial<Record<keyof BackedUpFile, unknown>>
  const isFile =
    typeof path === 'string' &&
    PATH.test(path) &&
    !path.split('/').some((part) => part === '.' || part === '..') &&
    Number.isSafeInteger(sizeBytes) &&
    (sizeBytes as number) >= 0 &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256)
  if (!isFile) throw damaged('a line of it names no file')
  return { path, sizeBytes: sizeBytes as number, sha256 }
}

async function* lines(storage: StorageDriver): AsyncGenerator<string> {
  const file = await storage.open(LEDGER)
  if (file === undefined) {
    throw new RegistryError('UNKNOWN', `there is no ${LEDGER}: the backup was not finished, or this is none`)
  }
  try {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of file.chunks({ start: 0, end: file.sizeBytes - 1 })) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = parts.pop() ?? ''
      if (rest.length > MAX_LINE_BYTES) throw damaged('a line of it is too long')
      yield* parts
    }
    if (rest !== '') throw damaged('its last line has no end')
  } finally {
    await file.close()
  }
}

function parse(line: string): object {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // Told below.
  }
  throw damaged('a line of it is no JSON')
}

function damaged(why: string): RegistryError {
  return new RegistryError('UNKNOWN', `${LEDGER} is damaged, ${why}: make a new backup`)
}

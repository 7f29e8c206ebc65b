import { posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { type Digest, formatDigest, MAX_MANIFEST_BYTES, tryParseDigest } from '@shoal/core'
import { extract, type Header } from 'tar-stream'
import { RegistryError } from '../errors.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { repositoryPath, uploadDataPath } from '../storage/paths.ts'
import { UploadHash } from '../storage/upload-hash.ts'
import { invalid, lacks } from './failure.ts'
import { DOCKER_FILE, digestOfFile, INDEX_FILE } from './layout.ts'

/** No repository can have this name, and who lists repositories does not look there. */
const STAGE = '_import'
const MOST_FILES = 100_000
const WRITE_BYTES = 1024 * 1024
const MAGIC_BYTES = 8
const JSON_FILES: ReadonlySet<string> = new Set([INDEX_FILE, DOCKER_FILE])

/** A file of an archive that waits in the storage. */
export interface StagedFile {
  readonly path: string
  readonly sizeBytes: number
  readonly sha256: Digest
  /** The first bytes. */
  readonly magic: Buffer
}

/** The content of an archive, in the storage, checked, and not yet to be seen. */
export class Staging {
  readonly #driver: StorageDriver
  readonly #progress: (bytes: number) => void
  /** By their names in the archive. */
  readonly #files = new Map<string, StagedFile>()
  readonly #links = new Map<string, string>()
  readonly #documents = new Map<string, Buffer>()
  readonly #byDigest = new Map<string, StagedFile>()
  #stored = 0

  /** @param progress told of bytes that came */
  constructor(driver: StorageDriver, progress: (bytes: number) => void) {
    this.#driver = driver
    this.#progress = progress
  }

  /** Takes in a tar. Throws RegistryError `MANIFEST_INVALID`. */
  async fill(from: AsyncIterable<Uint8Array>): Promise<void> {
    // What one that was killed left.
    await this.clear()
    const entries = extract()
    const reading = pipeline(await unzipped(from), entries)
    // Told by what reads the entries, or below.
    reading.catch(() => {})
    try {
      for await (const entry of entries) {
        await this.#take(entry.header, entry as AsyncIterable<Uint8Array>)
        if (this.#files.size + this.#links.size > MOST_FILES) throw invalid(`it has more than ${MOST_FILES} files`)
      }
      await reading
    } catch (error) {
      throw error instanceof RegistryError ? error : invalid('it can not be read as a tar', error)
    }
  }

  async clear(): Promise<void> {
    await this.#driver.remove(repositoryPath(STAGE))
  }

  /** `index.json` or `manifest.json`; undefined when the archive has none. */
  document(name: string): Buffer | undefined {
    return this.#documents.get(name)
  }

  /** A content by its digest, as text. */
  get(digest: string): StagedFile | undefined {
    return this.#byDigest.get(digest)
  }

  /** A content by its name in the archive, where that may be a link. Throws RegistryError `MANIFEST_INVALID`. */
  named(name: string): StagedFile {
    let at = posix.normalize(name)
    for (let hops = 0; hops < 8; hops++) {
      const staged = this.#files.get(at)
      if (staged !== undefined) return staged
      at = this.#links.get(at) ?? ''
    }
    throw invalid(`it lacks ${name.slice(0, 256)}, which an image needs`)
  }

  /** The bytes of a manifest. Throws RegistryError `MANIFEST_INVALID` when it is not there. */
  async read(digest: string): Promise<Uint8Array> {
    const staged = this.#byDigest.get(digest)
    const bytes = staged && (await this.#driver.read(staged.path, MAX_MANIFEST_BYTES))
    if (bytes === undefined) throw lacks(digest)
    return bytes
  }

  /** Adds a manifest that the archive does not have. */
  add(bytes: Buffer): Promise<StagedFile> {
    return this.#store('manifest', undefined, Readable.from([bytes]))
  }

  async #take({ name: path, type, linkname }: Header, body: AsyncIterable<Uint8Array>): Promise<void> {
    const name = posix.normalize(path).replace(/^\//, '')
    if (type === 'symlink' || type === 'link') {
      const target = type === 'symlink' ? posix.join(posix.dirname(name), linkname ?? '') : (linkname ?? '')
      this.#links.set(name, posix.normalize(target))
    }
    if (type !== 'file' && type !== 'contiguous-file') {
      for await (const _ of body);
    } else if (JSON_FILES.has(name)) {
      this.#documents.set(name, await wholeDocument(name, body))
    } else {
      const expected = digestOfFile(name)
      const digest = expected === undefined ? undefined : tryParseDigest(expected)
      this.#files.set(name, await this.#store(name, digest, body))
    }
  }

  async #store(name: string, expected: Digest | undefined, body: AsyncIterable<Uint8Array>): Promise<StagedFile> {
    const path = uploadDataPath(STAGE, String(this.#stored++))
    const algorithm = expected?.algorithm ?? 'sha256'
    const hash = new UploadHash(algorithm)
    const appender = await this.#driver.append(path)
    let magic = Buffer.alloc(0)
    let waiting: Uint8Array[] = []
    let waitingBytes = 0
    try {
      for await (const chunk of body) {
        if (magic.length < MAGIC_BYTES) magic = Buffer.concat([magic, chunk.subarray(0, MAGIC_BYTES - magic.length)])
        hash.update(chunk)
        waiting.push(chunk)
        waitingBytes += chunk.byteLength
        this.#progress(chunk.byteLength)
        if (waitingBytes < WRITE_BYTES) continue
        await appender.write(waiting)
        waiting = []
        waitingBytes = 0
      }
      await appender.write(waiting)
      await appender.commit()
    } finally {
      await appender.close()
    }
    const [sha256, found] = [hash.digest('sha256'), hash.digest(algorithm)]
    if (expected !== undefined && expected.hex !== found.hex) {
      throw invalid(`${name} is damaged: it has the digest ${formatDigest(found)}`)
    }
    const staged = { path, sizeBytes: appender.offset, sha256, magic }
    const known = this.#byDigest.get(formatDigest(found))
    if (known === undefined) this.#byDigest.set(formatDigest(found), staged)
    // The same content may have several names.
    else await this.#driver.remove(path)
    return known ?? staged
  }
}

/** The tar in a stream that may be gzipped. */
async function unzipped(from: AsyncIterable<Uint8Array>): Promise<Readable> {
  const chunks = from[Symbol.asyncIterator]()
  const first = await chunks.next()
  const head = first.done === true ? Buffer.alloc(0) : first.value
  const all = Readable.from(
    (async function* () {
      yield head
      yield* { [Symbol.asyncIterator]: () => chunks }
    })(),
  )
  if (head[0] !== 0x1f || head[1] !== 0x8b) return all
  const gunzip = createGunzip()
  pipeline(all, gunzip).catch((error) => gunzip.destroy(error))
  return gunzip
}

async function wholeDocument(name: string, body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.byteLength
    if (bytes > MAX_MANIFEST_BYTES) throw invalid(`${name} is larger than ${MAX_MANIFEST_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

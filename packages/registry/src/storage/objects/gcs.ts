import { EventEmitter } from 'node:events'
import { ApiError, type Bucket, type File, IdempotencyStrategy, Storage } from '@google-cloud/storage'
import type { ByteRange } from '@shoal/core'
import { GoogleAuth, JWT } from 'google-auth-library'
import { RegistryError } from '../../errors.ts'
import type { Appender } from '../driver.ts'
import { attempt, attemptEach, unlessAbsent } from './failure.ts'
import type { Listed, Listing, ObjectContent, ObjectStore, StoredObject } from './object-store.ts'
import { PartAppender, type PartedFile, type PartedFileState } from './part-appender.ts'

const MIB = 1024 * 1024
/** May read, write and delete objects. */
const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write'
/** Google composes 32 objects at a time: these and what they are added to. */
const MAX_COMPOSED = 31

// Each stream of Google's client has eleven listeners, of which Node would warn as of a leak.
EventEmitter.defaultMaxListeners = Math.max(EventEmitter.defaultMaxListeners, 16)

/** What signs for a service account. */
export interface GcsKey {
  readonly client_email: string
  readonly private_key: string
}

/** A bucket of Google Cloud Storage. */
export interface GcsOptions {
  readonly bucket: string
  /** A service account's, by the names of Google's key files; the machine's own account is used when undefined. */
  readonly key?: GcsKey | undefined
  /** URL of the API, where it is not Google's. */
  readonly endpoint?: string | undefined
  readonly partMiB: number
}

/** Signs by a key at hand; Google's own class asks a server who it signs for, unless it has read the key itself. */
class KeyAuth extends GoogleAuth<JWT> {
  readonly #email: string

  constructor({ client_email, private_key }: GcsKey) {
    super({ authClient: new JWT({ email: client_email, key: private_key, scopes: [SCOPE] }) })
    this.#email = client_email
  }

  override async getCredentials(): Promise<{ client_email: string }> {
    return { client_email: this.#email }
  }
}

/** Objects in a bucket of Google Cloud Storage. */
export class GcsStore implements ObjectStore {
  readonly #bucket: Bucket
  readonly #partBytes: number

  constructor({ bucket, key, endpoint, partMiB }: GcsOptions) {
    const storage = new Storage({
      // All requests may be made twice: what may not be done twice says so by a condition.
      retryOptions: { idempotencyStrategy: IdempotencyStrategy.RetryAlways },
      ...(key === undefined ? {} : { authClient: new KeyAuth(key) }),
      ...(endpoint === undefined ? {} : { apiEndpoint: endpoint }),
    })
    this.#bucket = storage.bucket(bucket)
    this.#partBytes = partMiB * MIB
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = await unlessAbsent(() => this.#bucket.file(key).getMetadata(), saysAbsent)
    if (found === undefined) return undefined
    const [{ size, updated }] = found
    return { sizeBytes: Number(size), modifiedAtMs: Date.parse(updated ?? '') }
  }

  async get(key: string, range?: ByteRange): Promise<ObjectContent | undefined> {
    // The client gives no size with the bytes.
    const sizeBytes = range === undefined ? (await this.head(key))?.sizeBytes : range.end - range.start + 1
    if (sizeBytes === undefined) return undefined
    // Checked by digest further up; and a stored gzip file is one, not what is in it.
    const options = { validation: false, decompress: false, ...range } as const
    const body = this.#bucket.file(key).createReadStream(options)
    return { sizeBytes, body: attemptEach(body as AsyncIterable<Uint8Array>), discard: () => void body.destroy() }
  }

  async put(key: string, content: Uint8Array): Promise<void> {
    await attempt(() => this.#bucket.file(key).save(Buffer.from(content), { resumable: false }))
  }

  async *list(prefix: string, { isFolded, limit }: Listing): AsyncGenerator<Listed> {
    let rest = limit ?? Number.POSITIVE_INFINITY
    let pageToken: string | undefined
    do {
      const [files, next, answer] = await attempt(() =>
        this.#bucket.getFiles({
          prefix,
          autoPaginate: false,
          maxResults: Math.min(1000, rest),
          ...(isFolded ? { delimiter: '/' } : {}),
          ...(pageToken === undefined ? {} : { pageToken }),
        }),
      )
      const { prefixes = [] } = (answer ?? {}) as { prefixes?: string[] }
      for (const key of prefixes) yield { key, sizeBytes: 0, modifiedAtMs: 0 }
      for (const { name, metadata } of files) {
        yield { key: name, sizeBytes: Number(metadata.size), modifiedAtMs: Date.parse(metadata.updated ?? '') }
      }
      rest -= prefixes.length + files.length
      pageToken = (next as { pageToken?: string } | null)?.pageToken
    } while (pageToken !== undefined && rest > 0)
  }

  async remove(key: string): Promise<void> {
    await attempt(() => this.#bucket.file(key).delete({ ignoreNotFound: true }))
  }

  async move(from: string, to: string): Promise<void> {
    const source = this.#bucket.file(from)
    const moved = await unlessAbsent(() => source.copy(this.#bucket.file(to)), saysAbsent)
    if (moved === undefined) throw new RegistryError('UNKNOWN', `there is no stored file ${from} to be moved`)
    await this.remove(from)
  }

  async presign(key: string, seconds: number): Promise<string> {
    const options = { version: 'v4', action: 'read', expires: Date.now() + seconds * 1000 } as const
    const [url] = await attempt(() => this.#bucket.file(key).getSignedUrl(options))
    return url
  }

  async append(key: string): Promise<Appender> {
    const found = await this.head(key)
    const state = { sizeBytes: found?.sizeBytes ?? 0, exists: found !== undefined }
    return new PartAppender(new ComposedFile(this.#bucket, key, state), state, this.#partBytes)
  }
}

function saysAbsent(error: unknown): boolean {
  return error instanceof ApiError && error.code === 404
}

/** An object that grows: parts are objects of their own until they are composed with what is there. */
class ComposedFile implements PartedFile {
  readonly #bucket: Bucket
  readonly #key: string
  #sizeBytes: number
  /** Where the parts are. */
  #parts: File[] = []
  #partsBytes = 0

  constructor(bucket: Bucket, key: string, { sizeBytes }: PartedFileState) {
    this.#bucket = bucket
    this.#key = key
    this.#sizeBytes = sizeBytes
  }

  async put(part: Uint8Array): Promise<void> {
    const file = this.#bucket.file(`${this.#key}.${this.#sizeBytes + this.#partsBytes}`)
    await file.save(Buffer.from(part), { resumable: false })
    this.#parts.push(file)
    this.#partsBytes += part.byteLength
    const [first] = this.#parts
    if (first !== undefined && this.#parts.length === MAX_COMPOSED) {
      await this.#combine(this.#parts, first)
      await removeAll(this.#parts.splice(1))
    }
  }

  async finish(rest: Uint8Array): Promise<void> {
    const whole = this.#bucket.file(this.#key)
    if (this.#parts.length === 0 && this.#sizeBytes === 0) {
      await whole.save(Buffer.from(rest), { resumable: false })
      this.#sizeBytes = rest.byteLength
      return
    }
    if (rest.byteLength > 0) await this.put(rest)
    if (this.#sizeBytes === 0) await this.#bucket.combine(namesOf(this.#parts), whole)
    else await this.#combine([whole, ...this.#parts], whole)
    this.#sizeBytes += this.#partsBytes
    await this.drop()
  }

  async drop(): Promise<void> {
    this.#partsBytes = 0
    await removeAll(this.#parts.splice(0))
  }

  async commit(): Promise<void> {}

  /** Adds objects to the first of them, once, however often the request is made. */
  async #combine(files: readonly File[], first: File): Promise<void> {
    const [{ generation }] = await first.getMetadata()
    const condition = generation === undefined ? {} : { ifGenerationMatch: generation }
    await this.#bucket.combine(namesOf(files), first, condition)
  }
}

/** The client asks for a `File` as it was when it last saw it, which it does not see again when it is added to. */
function namesOf(files: readonly File[]): string[] {
  return files.map(({ name }) => name)
}

async function removeAll(files: readonly File[]): Promise<void> {
  for (const file of files) await file.delete({ ignoreNotFound: true })
}

import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import type { ByteRange } from '@shoal/core'
import { RegistryError } from '../../errors.ts'
import type { Appender } from '../driver.ts'
import { attempt, attemptEach, unlessAbsent } from './failure.ts'
import type { Listed, Listing, ObjectContent, ObjectStore, StoredObject } from './object-store.ts'
import { PartAppender, type PartedFile } from './part-appender.ts'
import { PartBuffer } from './part-buffer.ts'

const MIB = 1024 * 1024
/** S3 takes no smaller parts, except for the last one. */
const MIN_PART_BYTES = 5 * MIB
/** S3 takes no more parts of one object. */
const MAX_PARTS = 10_000
/** S3 copies no larger ones. */
const MAX_COPY_BYTES = 4096 * MIB
/** Larger objects are copied in parts of this size, several at a time. */
const COPY_PART_BYTES = 64 * MIB
const COPIES_AT_ONCE = 8
/** Time for a connection, and for a silent server, before the request is made again. */
const CONNECT_MS = 10_000
const SILENCE_MS = 60_000

/** A bucket of S3, or of a store that speaks its protocol. */
export interface S3Options {
  readonly bucket: string
  readonly region: string
  /** URL of the store; that of AWS in `region` when undefined. */
  readonly endpoint?: string | undefined
  /** Whether the bucket is named in the path, not in the host name. */
  readonly forcePathStyle: boolean
  /** Where the SDK looks by itself (environment, files, the machine's role) when undefined. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  readonly partMiB: number
}

/** Objects in a bucket of S3. */
export class S3Store implements ObjectStore {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #partBytes: number

  constructor({ bucket, region, endpoint, forcePathStyle, credentials, partMiB }: S3Options) {
    this.#bucket = bucket
    this.#partBytes = partMiB * MIB
    this.#client = new S3Client({
      region,
      forcePathStyle,
      // Checksums that S3 alone knows keep other stores from understanding a request.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: CONNECT_MS, socketTimeout: SILENCE_MS },
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
    })
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = await unlessAbsent(() => this.#client.send(new HeadObjectCommand(this.#at(key))), saysAbsent)
    if (found === undefined) return undefined
    return { sizeBytes: found.ContentLength ?? 0, modifiedAtMs: found.LastModified?.getTime() ?? 0 }
  }

  async get(key: string, range?: ByteRange): Promise<ObjectContent | undefined> {
    const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end}` }
    const found = await unlessAbsent(
      () => this.#client.send(new GetObjectCommand({ ...this.#at(key), ...Range })),
      saysAbsent,
    )
    if (found === undefined) return undefined
    const { Body: body, ContentLength: sizeBytes = 0 } = found
    if (!(body instanceof Readable)) throw new Error('the client of S3 gives no stream')
    return { sizeBytes, body: attemptEach(body), discard: () => body.destroy() }
  }

  async put(key: string, content: Uint8Array): Promise<void> {
    await attempt(() => this.#client.send(new PutObjectCommand({ ...this.#at(key), Body: content })))
  }

  async *list(prefix: string, { isFolded, limit }: Listing): AsyncGenerator<Listed> {
    let rest = limit ?? Number.POSITIVE_INFINITY
    let token: string | undefined
    do {
      const page = await attempt(() =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#bucket,
            Prefix: prefix,
            MaxKeys: Math.min(1000, rest),
            ...(isFolded ? { Delimiter: '/' } : {}),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      )
      for (const { Prefix: key = '' } of page.CommonPrefixes ?? []) yield { key, sizeBytes: 0, modifiedAtMs: 0 }
      for (const { Key: key = '', Size: sizeBytes = 0, LastModified } of page.Contents ?? []) {
        yield { key, sizeBytes, modifiedAtMs: LastModified?.getTime() ?? 0 }
      }
      rest -= (page.CommonPrefixes?.length ?? 0) + (page.Contents?.length ?? 0)
      token = page.NextContinuationToken
    } while (token !== undefined && rest > 0)
  }

  async remove(key: string): Promise<void> {
    await unlessAbsent(() => this.#client.send(new DeleteObjectCommand(this.#at(key))), saysAbsent)
  }

  async move(from: string, to: string): Promise<void> {
    const source = await this.head(from)
    if (source === undefined) throw new RegistryError('UNKNOWN', `there is no stored file ${from} to be moved`)
    await this.#copy({ key: from, sizeBytes: source.sizeBytes }, to)
    await this.remove(from)
  }

  /**
   * An object that grows is a row of them until it is committed: `<key>`, and `<key>.<offset>` for what each further
   * appender brought. S3 can not append, and to copy the object each time would cost the square of its size.
   */
  async append(key: string): Promise<Appender> {
    const found = new Map<number, Segment>()
    for await (const { key: name, sizeBytes } of this.list(key, { isFolded: true })) {
      if (name === key) found.set(0, { key, sizeBytes })
      const offset = /^\.(\d{1,15})$/.exec(name.slice(key.length))?.[1]
      if (offset !== undefined) found.set(Number(offset), { key: name, sizeBytes })
    }
    const segments: Segment[] = []
    let offset = 0
    // What does not begin where the row ends was joined already, when a process died before it could remove it.
    for (let next = found.get(0); next !== undefined && !segments.includes(next); next = found.get(offset)) {
      segments.push(next)
      offset += next.sizeBytes
    }
    const state = { sizeBytes: offset, exists: segments.length > 0 }
    return new PartAppender(new ObjectRow(key, segments, this), state, this.#partBytes)
  }

  presign(key: string, seconds: number): Promise<string> {
    return attempt(() => getSignedUrl(this.#client, new GetObjectCommand(this.#at(key)), { expiresIn: seconds }))
  }

  /** Begins an object that comes in parts. */
  async startParts(key: string): Promise<PartedUpload> {
    const { UploadId: id } = await attempt(() => this.#client.send(new CreateMultipartUploadCommand(this.#at(key))))
    if (id === undefined) throw new Error('the store gives no id of the multipart upload')
    const at = { ...this.#at(key), UploadId: id }
    const parts: CompletedPart[] = []
    const add = (number: number, etag: string | undefined) => {
      parts[number - 1] = { PartNumber: number, ...(etag === undefined ? {} : { ETag: etag }) }
    }
    return {
      put: async (PartNumber, Body) => {
        const { ETag } = await attempt(() => this.#client.send(new UploadPartCommand({ ...at, PartNumber, Body })))
        add(PartNumber, ETag)
      },
      copy: async (PartNumber, source, { start, end }) => {
        const range = { CopySource: this.#sourceOf(source), CopySourceRange: `bytes=${start}-${end}` }
        const { CopyPartResult: copied } = await attempt(() =>
          this.#client.send(new UploadPartCopyCommand({ ...at, PartNumber, ...range })),
        )
        add(PartNumber, copied?.ETag)
      },
      finish: async () => {
        const MultipartUpload = { Parts: parts }
        await attempt(() => this.#client.send(new CompleteMultipartUploadCommand({ ...at, MultipartUpload })))
      },
      abandon: async () => {
        await attempt(() => this.#client.send(new AbortMultipartUploadCommand(at)))
      },
    }
  }

  async #copy({ key: from, sizeBytes }: Segment, to: string): Promise<void> {
    if (sizeBytes <= COPY_PART_BYTES) {
      const command = new CopyObjectCommand({ ...this.#at(to), CopySource: this.#sourceOf(from) })
      await attempt(() => this.#client.send(command))
      return
    }
    const partBytes = Math.max(COPY_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS))
    const count = Math.ceil(sizeBytes / partBytes)
    await inParts(await this.startParts(to), async (upload) => {
      let next = 0
      const copySome = async () => {
        for (let part = next++; part < count; part = next++) {
          const start = part * partBytes
          await upload.copy(part + 1, from, { start, end: Math.min(sizeBytes, start + partBytes) - 1 })
        }
      }
      await Promise.all(Array.from({ length: COPIES_AT_ONCE }, copySome))
    })
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: key }
  }

  #sourceOf(key: string): string {
    return `${this.#bucket}/${key.split('/').map(encodeURIComponent).join('/')}`
  }
}

function saysAbsent(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404 && error.name !== 'NoSuchBucket'
}

/** An object that comes in parts, numbered from 1, in any order. */
interface PartedUpload {
  readonly put: (number: number, bytes: Uint8Array) => Promise<void>
  /** A part that is a range of another object. */
  readonly copy: (number: number, source: string, range: ByteRange) => Promise<void>
  /** Makes the parts one object. */
  readonly finish: () => Promise<void>
  /** Throws the parts away. */
  readonly abandon: () => Promise<void>
}

interface Segment {
  readonly key: string
  readonly sizeBytes: number
}

/** A row of objects that is one file, as `S3Store.append` describes. */
class ObjectRow implements PartedFile {
  readonly #key: string
  readonly #store: S3Store
  readonly #segments: Segment[]
  /** The next segment, when it comes in parts. */
  #next: { readonly upload: PartedUpload; parts: number; sizeBytes: number } | undefined

  constructor(key: string, segments: Segment[], store: S3Store) {
    this.#key = key
    this.#segments = segments
    this.#store = store
  }

  async put(part: Uint8Array): Promise<void> {
    this.#next ??= { upload: await this.#store.startParts(this.#nextKey), parts: 0, sizeBytes: 0 }
    await this.#next.upload.put(++this.#next.parts, part)
    this.#next.sizeBytes += part.byteLength
  }

  async finish(rest: Uint8Array): Promise<void> {
    const key = this.#nextKey
    if (this.#next === undefined) {
      await this.#store.put(key, rest)
    } else {
      if (rest.byteLength > 0) await this.#next.upload.put(++this.#next.parts, rest)
      await this.#next.upload.finish()
    }
    // The first one may take the place of an empty object.
    if (key === this.#key) this.#segments.length = 0
    this.#segments.push({ key, sizeBytes: (this.#next?.sizeBytes ?? 0) + rest.byteLength })
    this.#next = undefined
  }

  async drop(): Promise<void> {
    const dropped = this.#next
    this.#next = undefined
    await dropped?.upload.abandon()
  }

  /** Makes the row one object: large segments are copied inside the store, small ones go through here. */
  async commit(): Promise<void> {
    if (this.#segments.length <= 1) return
    await inParts(await this.#store.startParts(this.#key), async (upload) => {
      const small = new PartBuffer(MIN_PART_BYTES)
      let parts = 0
      for (const { key, sizeBytes } of this.#segments) {
        if (small.bytes === 0 && sizeBytes >= MIN_PART_BYTES) {
          for (let start = 0; start < sizeBytes; start += MAX_COPY_BYTES) {
            await upload.copy(++parts, key, { start, end: Math.min(sizeBytes, start + MAX_COPY_BYTES) - 1 })
          }
          continue
        }
        for await (const chunk of (await this.#store.get(key))?.body ?? []) {
          for (const part of small.add(chunk)) await upload.put(++parts, part)
        }
      }
      if (small.bytes > 0) await upload.put(++parts, small.take())
    })
    const sizeBytes = sizeOf(this.#segments)
    for (const { key } of this.#segments.splice(0)) {
      if (key !== this.#key) await this.#store.remove(key)
    }
    this.#segments.push({ key: this.#key, sizeBytes })
  }

  get #nextKey(): string {
    const sizeBytes = sizeOf(this.#segments)
    return sizeBytes === 0 ? this.#key : `${this.#key}.${sizeBytes}`
  }
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
}

/** Does `work` and makes the parts one object; when that fails, nothing is left of them. */
async function inParts(upload: PartedUpload, work: (upload: PartedUpload) => Promise<void>): Promise<void> {
  try {
    await work(upload)
    await upload.finish()
  } catch (error) {
    await upload.abandon().catch(() => {})
    throw error
  }
}

import { createHmac, randomUUID } from 'node:crypto'
import type { ByteRange } from '@shoal/core'
import { RegistryError } from '../../errors.ts'
import type { Appender } from '../driver.ts'
import { attempt, attemptEach } from './failure.ts'
import type { Listed, Listing, ObjectContent, ObjectStore, StoredObject } from './object-store.ts'
import { type SwiftLogin, type SwiftRequest, SwiftSession } from './swift-session.ts'

const MIB = 1024 * 1024
/** Swift takes 5 GiB in one object and 1000 segments in a manifest, unless it is set up otherwise. */
const SEGMENT_BYTES = 1024 * MIB
const PAGE = 1000

/** A container of OpenStack Swift. */
export interface SwiftOptions extends SwiftLogin {
  readonly container: string
  /** What the names of all objects begin with, `/` at the end; may be empty. */
  readonly prefix: string
  /** The account's or the container's key for temporary URLs; without it none are given. */
  readonly tempUrlKey?: string | undefined
}

/**
 * Objects in a container of OpenStack Swift, spoken to by its own protocol: no client of it for Node is being kept up.
 * Files are
 * below `<prefix>files/` and the segments of large ones below `<prefix>segments/`, as Distribution's driver had it.
 */
export class SwiftStore implements ObjectStore {
  readonly #session: SwiftSession
  readonly #container: string
  readonly #prefix: string
  readonly #tempUrlKey: string | undefined

  constructor({ container, prefix, tempUrlKey, ...login }: SwiftOptions) {
    this.#container = container
    this.#tempUrlKey = tempUrlKey
    this.#prefix = prefix
    this.#session = new SwiftSession(login)
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const response = await this.#send({ method: 'HEAD', path: this.#path(key), expected: [404] })
    if (response.status === 404) return undefined
    const modifiedAtMs = Date.parse(response.headers.get('last-modified') ?? '')
    return { sizeBytes: Number(response.headers.get('content-length')), modifiedAtMs }
  }

  async get(key: string, range?: ByteRange): Promise<ObjectContent | undefined> {
    const headers = range === undefined ? {} : { headers: { range: `bytes=${range.start}-${range.end}` } }
    const response = await this.#send({ method: 'GET', path: this.#path(key), ...headers, expected: [404] })
    if (response.status === 404) {
      await response.body?.cancel()
      return undefined
    }
    const { body } = response
    if (body === null) throw new Error('fetch gives no body')
    return {
      sizeBytes: Number(response.headers.get('content-length')),
      body: attemptEach(body),
      discard: () => void body.cancel(),
    }
  }

  async put(key: string, content: Uint8Array): Promise<void> {
    await this.#send({ method: 'PUT', path: this.#path(key), body: content })
  }

  async *list(prefix: string, { isFolded, limit }: Listing): AsyncGenerator<Listed> {
    let rest = limit ?? Number.POSITIVE_INFINITY
    let marker = ''
    while (rest > 0) {
      const count = Math.min(PAGE, rest)
      const folded = isFolded ? { delimiter: '/' } : {}
      const query = {
        format: 'json',
        prefix: `${this.#prefix}files/${prefix}`,
        marker,
        limit: String(count),
        ...folded,
      }
      const response = await this.#send({ method: 'GET', path: this.#container, query })
      const page = (await response.json()) as {
        name?: string
        subdir?: string
        bytes?: number
        last_modified?: string
      }[]
      for (const { name, subdir, bytes = 0, last_modified } of page) {
        marker = subdir ?? name ?? ''
        // Swift's times are UTC and do not say so.
        const modifiedAtMs = last_modified === undefined ? 0 : Date.parse(`${last_modified}Z`)
        yield { key: marker.slice(`${this.#prefix}files/`.length), sizeBytes: bytes, modifiedAtMs }
      }
      if (page.length < count) return
      rest -= page.length
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key)
    const response = await this.#send({ method: 'HEAD', path, expected: [404] })
    if (response.status === 404) return
    // What this leaves of one of Distribution's manifests, whose segments are known by their prefix alone, goes after it.
    const dynamic = response.headers.get('x-object-manifest')
    await this.#delete(path, isManifest(response) ? { 'multipart-manifest': 'delete' } : {})
    if (dynamic !== null) await this.#removeSegments(decodeURIComponent(dynamic))
  }

  /** A manifest moves alone: the segments stay where they are. */
  async move(from: string, to: string): Promise<void> {
    const replaced = (await this.#segmentsOf(to)) ?? []
    const query = { 'multipart-manifest': 'get' }
    const headers = { destination: encodeURI(`/${this.#path(to)}`) }
    const copied = await this.#send({ method: 'COPY', path: this.#path(from), query, headers, expected: [404] })
    await copied.body?.cancel()
    if (copied.status === 404) throw new RegistryError('UNKNOWN', `there is no stored file ${from} to be moved`)
    await this.#delete(this.#path(from))
    for (const { path } of replaced) await this.#delete(path.slice(1))
  }

  async append(key: string): Promise<Appender> {
    const found = await this.head(key)
    const segments = await this.#segmentsOf(key)
    if ((found?.sizeBytes ?? 0) > 0 && segments === undefined) {
      throw new RegistryError('BLOB_UPLOAD_INVALID', 'the upload was begun by another registry: begin a new one')
    }
    return new SegmentAppender(this, key, { exists: found !== undefined, segments: segments ?? [] })
  }

  /** Source: Swift, middleware tempurl; SHA-256 is what every Swift since 2015 takes. */
  async presign(key: string, seconds: number): Promise<string | undefined> {
    if (this.#tempUrlKey === undefined) return undefined
    const url = new URL(await attempt(() => this.#session.urlOf(this.#path(key))))
    const expires = Math.floor(Date.now() / 1000) + seconds
    const signed = `GET\n${expires}\n${decodeURI(url.pathname)}`
    url.searchParams.set('temp_url_sig', createHmac('sha256', this.#tempUrlKey).update(signed).digest('hex'))
    url.searchParams.set('temp_url_expires', String(expires))
    return url.href
  }

  async putSegments(key: string, segments: readonly Segment[]): Promise<void> {
    const body = new TextEncoder().encode(JSON.stringify(segments))
    const query = { 'multipart-manifest': 'put' }
    const response = await this.#send({ method: 'PUT', path: this.#path(key), query, body })
    await response.body?.cancel()
  }

  /** Begins a segment, whose bytes are then written to it. */
  openSegment(): OpenSegment {
    const path = `${this.#container}/${this.#prefix}segments/${randomUUID()}`
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const answer = this.#send({ method: 'PUT', path, body: readable })
    answer.catch(() => {})
    return new OpenSegment(`/${path}`, writable.getWriter(), answer)
  }

  async removeSegment({ path }: Segment): Promise<void> {
    await this.#delete(path.slice(1))
  }

  /** The segments of an object that has them in a manifest. */
  async #segmentsOf(key: string): Promise<Segment[] | undefined> {
    const query = { 'multipart-manifest': 'get', format: 'raw' }
    const response = await this.#send({ method: 'GET', path: this.#path(key), query, expected: [404] })
    if (response.status !== 404 && isManifest(response)) return (await response.json()) as Segment[]
    await response.body?.cancel()
    return undefined
  }

  async #delete(path: string, query: Readonly<Record<string, string>> = {}): Promise<void> {
    const response = await this.#send({ method: 'DELETE', path, query, expected: [404] })
    await response.body?.cancel()
  }

  /** @param prefix container and beginning of their names, as in `X-Object-Manifest` */
  async #removeSegments(prefix: string): Promise<void> {
    const [container = '', ...rest] = prefix.split('/')
    const query = { format: 'json', prefix: rest.join('/') }
    for (;;) {
      const response = await this.#send({ method: 'GET', path: container, query })
      const names = ((await response.json()) as { name: string }[]).map(({ name }) => name)
      for (const name of names) await this.#delete(`${container}/${name}`)
      if (names.length === 0) return
    }
  }

  #path(key: string): string {
    return `${this.#container}/${this.#prefix}files/${key}`
  }

  #send(request: SwiftRequest): Promise<Response> {
    return attempt(() => this.#session.send(request))
  }
}

function isManifest({ headers }: Response): boolean {
  return headers.get('x-static-large-object')?.toLowerCase() === 'true'
}

/** A segment as Swift wants it in a manifest. */
interface Segment {
  readonly path: string
  readonly etag: string
  readonly size_bytes: number
}

/** A segment that is being sent. */
class OpenSegment {
  readonly #path: string
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>
  readonly #answer: Promise<Response>
  sizeBytes = 0

  constructor(path: string, writer: WritableStreamDefaultWriter<Uint8Array>, answer: Promise<Response>) {
    this.#path = path
    this.#writer = writer
    this.#answer = answer
  }

  async write(chunk: Uint8Array): Promise<void> {
    // An answer before the end is a refusal, or the end of the connection.
    await Promise.race([this.#writer.write(chunk), this.#answer.then(() => Promise.reject(endedEarly()))])
    this.sizeBytes += chunk.byteLength
  }

  async finish(): Promise<Segment> {
    await this.#writer.close()
    const response = await this.#answer
    await response.body?.cancel()
    return { path: this.#path, etag: response.headers.get('etag') ?? '', size_bytes: this.sizeBytes }
  }

  abandon(): void {
    this.#writer.abort().catch(() => {})
  }
}

function endedEarly(): Error {
  return new Error('Swift ended the request before all was sent')
}

/** An object that grows by segments, which a manifest makes one object when the appender is closed. */
class SegmentAppender implements Appender {
  readonly #store: SwiftStore
  readonly #key: string
  /** In the manifest, if there is one. */
  #stored: readonly Segment[]
  #exists: boolean
  /** Sent, not yet in the manifest. */
  #sent: Segment[] = []
  #open: OpenSegment | undefined
  #isBroken = false

  constructor(
    store: SwiftStore,
    key: string,
    { exists, segments }: { readonly exists: boolean; readonly segments: readonly Segment[] },
  ) {
    this.#store = store
    this.#key = key
    this.#stored = segments
    this.#exists = exists
  }

  get offset(): number {
    const sizeBytes = [...this.#stored, ...this.#sent].reduce((sum, segment) => sum + segment.size_bytes, 0)
    return sizeBytes + (this.#open?.sizeBytes ?? 0)
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#isBroken) throw new RegistryError('UNAVAILABLE', 'an earlier write to the object store failed')
    await this.#orDrop(async () => {
      for (const chunk of chunks) {
        if (chunk.byteLength === 0) continue
        this.#open ??= this.#store.openSegment()
        await this.#open.write(chunk)
        if (this.#open.sizeBytes >= SEGMENT_BYTES) await this.#endSegment()
      }
    })
  }

  async commit(): Promise<void> {
    if (this.#isBroken) return
    await this.#orDrop(async () => {
      await this.#endSegment()
      const segments = [...this.#stored, ...this.#sent]
      if (this.#sent.length > 0) await this.#store.putSegments(this.#key, segments)
      else if (!this.#exists) await this.#store.put(this.#key, new Uint8Array())
      this.#stored = segments
      this.#sent = []
      this.#exists = true
    })
  }

  async close(): Promise<void> {
    await this.commit()
  }

  async #endSegment(): Promise<void> {
    if (this.#open === undefined) return
    this.#sent.push(await this.#open.finish())
    this.#open = undefined
  }

  /** Does `work`; when it fails, what is not in the manifest is dropped, so that `offset` stays true. */
  async #orDrop(work: () => Promise<void>): Promise<void> {
    try {
      await attempt(work)
    } catch (error) {
      this.#isBroken = true
      this.#open?.abandon()
      this.#open = undefined
      for (const segment of this.#sent.splice(0)) await this.#store.removeSegment(segment).catch(() => {})
      throw error
    }
  }
}

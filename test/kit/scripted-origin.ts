import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { digestOf, parseRange } from '@shoal/core'
import type { TestBed } from './test-bed.ts'

/** A repository of a scripted origin. */
export interface ScriptedRepository {
  /** `Authorization` header that may read it; undefined: anybody may. */
  readonly reader?: string
  /** By digest. */
  readonly blobs: Map<string, Buffer>
  /** By tag and by digest. */
  readonly manifests: Map<string, Buffer>
}

export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

/** An origin with rights per repository, which no registry of Debian's has. It remembers what it was asked. */
export class ScriptedOrigin {
  /** `host:port`. */
  readonly registry: string
  readonly repositories = new Map<string, ScriptedRepository>()
  /** `METHOD /path` with the range asked for, if any. */
  readonly asked: string[] = []
  /** Answers in the place of the usual answer; returns whether it did. */
  instead: (request: IncomingMessage, response: ServerResponse) => boolean = () => false

  private constructor(registry: string) {
    this.registry = registry
  }

  static async start(bed: TestBed): Promise<ScriptedOrigin> {
    const server = createServer((request, response) => origin.#answer(request, response))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const origin = new ScriptedOrigin(`127.0.0.1:${(server.address() as AddressInfo).port}`)
    bed.use({
      stop: async () => {
        server.closeAllConnections()
        server.close()
      },
    })
    return origin
  }

  /** Adds a repository with these blobs. */
  add(name: string, reader: string | undefined, blobs: readonly Buffer[] = []): ScriptedRepository {
    const held = new Map(blobs.map((blob) => [digestOf(blob), blob]))
    const repository = { ...(reader === undefined ? {} : { reader }), blobs: held, manifests: new Map() }
    this.repositories.set(name, repository)
    return repository
  }

  /** Pushes an image manifest that names `layers`, whether they are here or not; its digest. */
  pushManifest(
    name: string,
    tag: string,
    layers: readonly { digest: string; size: number; mediaType?: string }[],
  ): string {
    const config = Buffer.from('{}')
    const repository = this.repositories.get(name)
    repository?.blobs.set(digestOf(config), config)
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST_TYPE,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(config), size: 2 },
        layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', ...layer })),
      }),
    )
    for (const reference of [tag, digestOf(manifest)]) repository?.manifests.set(reference, manifest)
    return digestOf(manifest)
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? ''
    const { range } = request.headers
    this.asked.push(`${request.method} ${path}${range === undefined ? '' : ` ${range}`}`)
    if (this.instead(request, response)) return
    const [, name = '', kind = '', reference = ''] = /^\/v2\/(.+)\/(blobs|manifests)\/([^/?]+)/.exec(path) ?? []
    const repository = this.repositories.get(name)
    if (repository === undefined) return void response.writeHead(404).end()
    if (repository.reader !== undefined && request.headers.authorization !== repository.reader) {
      return void response.writeHead(401, { 'www-authenticate': 'Basic realm="scripted"' }).end()
    }
    const bytes = kind === 'blobs' ? repository.blobs.get(reference) : repository.manifests.get(reference)
    if (bytes === undefined) return void response.writeHead(404).end()
    sendBytes(request, response, bytes, kind === 'manifests' ? MANIFEST_TYPE : 'application/octet-stream')
  }
}

/** Answers GET and HEAD, whole or a range. */
export function sendBytes(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  type = 'application/octet-stream',
): void {
  const wanted = parseRange(request.headers.range, bytes.byteLength)
  const isPart = wanted.kind === 'part'
  const { start, end } = isPart ? wanted.range : { start: 0, end: bytes.byteLength - 1 }
  response.writeHead(isPart ? 206 : 200, {
    'content-type': type,
    'docker-content-digest': digestOf(bytes),
    'content-length': end - start + 1,
    ...(isPart ? { 'content-range': `bytes ${start}-${end}/${bytes.byteLength}` } : {}),
  })
  response.end(request.method === 'HEAD' ? undefined : bytes.subarray(start, end + 1))
}

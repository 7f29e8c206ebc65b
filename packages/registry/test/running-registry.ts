import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf, MEDIA_TYPES } from '@shoal/core'
import { resolveConfig, type Service } from '@shoal/core/service'
import { type RegistryOptions, registryService } from '../src/index.ts'

/** A registry that listens on free ports and keeps its data in a folder of its own. */
export interface RunningRegistry {
  readonly url: string
  readonly metricsUrl: string
  readonly dataDir: string
  /** As its configuration says, with the defaults. */
  readonly options: RegistryOptions
  readonly service: Service
  /** Stops it; keeps the data. */
  stop(): Promise<void>
  /** Stops it and removes the data. */
  dispose(): Promise<void>
}

export async function temporaryFolder(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'shoal-registry-'))
}

export async function startRegistry(values: Record<string, unknown> = {}): Promise<RunningRegistry> {
  if (typeof values.dataDir === 'string') return startIn(values.dataDir, values)
  const dataDir = await temporaryFolder()
  try {
    return await startIn(dataDir, values)
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true })
    throw error
  }
}

async function startIn(dataDir: string, values: Record<string, unknown>): Promise<RunningRegistry> {
  const layer = { port: 0, metrics: { port: 0 }, log: { level: 'silent' }, ...values, dataDir }
  const { values: options } = resolveConfig(registryService.schema, [{ source: 'test', values: layer }])
  const service = await registryService.create(options, createLogger('registry', options.log.level))
  await service.start()
  const { registry: url = '', metrics: metricsUrl = '' } = service.addresses()
  const stop = () => service.stop()
  const dispose = async () => {
    await stop()
    await rm(dataDir, { recursive: true, force: true })
  }
  return { url, metricsUrl, dataDir, options, service, stop, dispose }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Buffer
}

export interface Ask {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array | ReadableStream<Uint8Array>
  readonly signal?: AbortSignal
}

export async function ask(url: string, { method = 'GET', headers = {}, body, signal }: Ask = {}): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers,
    redirect: 'error',
    ...(signal === undefined ? {} : { signal }),
    ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer>, duplex: 'half' }),
  })
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) }
}

/** `status CODE` of an OCI error answer, and its message. */
export function errorOf(answer: Answer): { readonly code: string; readonly message: string } {
  const { errors } = JSON.parse(answer.bytes.toString()) as { errors: { code: string; message: string }[] }
  const [first] = errors
  if (first === undefined || errors.length !== 1) throw new Error('not one error')
  return { code: `${answer.status} ${first.code}`, message: first.message }
}

/** Bytes that are the same on every run and different for every seed. */
export function content(seed: string, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0, block = Buffer.from(seed); at < length; at += block.length) {
    block = Buffer.from(digestOf(block).slice('sha256:'.length), 'hex')
    block.copy(bytes, at)
  }
  return bytes
}

/** Begins an upload and returns its absolute URL. */
export async function beginUpload(base: string, repository: string, query = ''): Promise<string> {
  const answer = await ask(`${base}/v2/${repository}/blobs/uploads/${query}`, { method: 'POST' })
  if (answer.status !== 202) throw new Error(`POST answered ${answer.status}: ${answer.bytes}`)
  return new URL(answer.headers.get('location') ?? '', base).href
}

/** Pushes a blob and returns its digest. */
export async function pushBlob(base: string, repository: string, bytes: Uint8Array): Promise<string> {
  const digest = digestOf(bytes)
  const upload = new URL(await beginUpload(base, repository))
  upload.searchParams.set('digest', digest)
  const answer = await ask(upload.href, { method: 'PUT', body: bytes })
  if (answer.status !== 201) throw new Error(`PUT answered ${answer.status}: ${answer.bytes}`)
  return digest
}

export async function pushManifest(
  base: string,
  repository: string,
  reference: string,
  manifest: object,
): Promise<{ readonly digest: string; readonly bytes: Buffer; readonly answer: Answer }> {
  const bytes = Buffer.from(JSON.stringify(manifest))
  const { mediaType = MEDIA_TYPES.ociManifest } = manifest as { mediaType?: string }
  const answer = await ask(`${base}/v2/${repository}/manifests/${reference}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: bytes,
  })
  return { digest: digestOf(bytes), bytes, answer }
}

/** Pushes an image's blobs and returns its manifest, not yet pushed. */
export async function pushImageBlobs(base: string, repository: string, seed: string): Promise<Record<string, unknown>> {
  const config = content(`${seed} config`, 200)
  const layer = content(`${seed} layer`, 3000)
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptor(MEDIA_TYPES.ociConfig, config, await pushBlob(base, repository, config)),
    layers: [descriptor('application/vnd.oci.image.layer.v1.tar+gzip', layer, await pushBlob(base, repository, layer))],
  }
}

export function descriptor(mediaType: string, bytes: Uint8Array, digest = digestOf(bytes)) {
  return { mediaType, size: bytes.byteLength, digest }
}

/** The value of a metric without labels, or with exactly these. */
export async function metric(metricsUrl: string, name: string): Promise<number> {
  const text = (await ask(`${metricsUrl}/metrics`)).bytes.toString()
  const line = text.split('\n').find((each) => each.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? Number.NaN)
}

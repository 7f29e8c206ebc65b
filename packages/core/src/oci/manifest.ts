import { isDigest } from '../digest.ts'
import { CoreError } from '../errors.ts'

/** Media types that manifests and indexes go by. */
export const MEDIA_TYPES = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
} as const

/** What a client that takes any manifest of ours sends as `Accept`. */
export const MANIFEST_ACCEPT = [
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerList,
  MEDIA_TYPES.dockerManifest,
].join(', ')

/** The largest manifest that is accepted, in bytes. Source: OCI distribution-spec 1.1, "Pushing manifests". */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

/** A reference to content. Source: OCI image-spec 1.1, descriptor.md. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  /** Bytes. */
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Readonly<Record<string, unknown>>
  /** Present when the content is elsewhere (foreign layers): a registry need not hold it. */
  readonly urls?: readonly string[]
}

/** The parts of an image manifest or index that a registry and a node need. */
export interface Manifest {
  /** The manifest's own media type: its `mediaType`, or what its shape says. */
  readonly mediaType: string
  readonly kind: 'image' | 'index'
  readonly config?: Descriptor
  /** Empty for an index. */
  readonly layers: readonly Descriptor[]
  /** Children of an index; empty for an image. */
  readonly manifests: readonly Descriptor[]
  readonly subject?: Descriptor
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
}

const INDEX_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerList])
const IMAGE_TYPES: ReadonlySet<string> = new Set([MEDIA_TYPES.ociManifest, MEDIA_TYPES.dockerManifest])
const MAX_DESCRIPTORS = 20_000

/** Whether `mediaType` (without parameters) is a manifest or index we know. */
export function isManifestMediaType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType) || IMAGE_TYPES.has(mediaType)
}

/**
 * Reads an image manifest or index, OCI or Docker schema 2, from bytes off the wire.
 * @param contentType the `Content-Type` it came with; must agree with the body's own `mediaType`
 * @throws CoreError `MANIFEST_INVALID` when it is too large, not JSON, of another type, or a descriptor is not right
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw invalid(`it is larger than ${MAX_MANIFEST_BYTES} bytes`)
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (cause) {
    throw invalid('it is not JSON', cause)
  }
  if (!isRecord(json)) throw invalid('it is not a JSON object')
  if (json.schemaVersion !== 2) throw invalid('schemaVersion must be 2')
  const declared = optionalString(json, 'mediaType')
  const sent = contentType?.split(';')[0]?.trim().toLowerCase()
  if (declared !== undefined && sent !== undefined && sent !== '' && declared !== sent) {
    throw invalid(`its mediaType is ${declared} but it was sent as ${sent}`)
  }
  const mediaType =
    declared ?? (sent || (Array.isArray(json.manifests) ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest))
  if (!isManifestMediaType(mediaType)) throw invalid(`${mediaType} is not a manifest media type we know`)
  const kind = INDEX_TYPES.has(mediaType) ? 'index' : 'image'
  if (kind === 'index' && json.manifests === undefined) throw invalid('an index must have manifests')
  if (kind === 'index' && (json.layers !== undefined || json.config !== undefined)) {
    throw invalid('an index must not have config or layers')
  }
  if (kind === 'image' && json.config === undefined) throw invalid('an image manifest must have a config')
  if (kind === 'image' && json.layers === undefined) throw invalid('an image manifest must have layers')
  if (kind === 'image' && json.manifests !== undefined) throw invalid('an image manifest must not have manifests')
  const subject = json.subject === undefined ? undefined : descriptor(json.subject, 'subject')
  const artifactType = optionalString(json, 'artifactType')
  const annotations = optionalStrings(json, 'annotations')
  return {
    mediaType,
    kind,
    layers: kind === 'image' ? descriptors(json.layers, 'layers') : [],
    manifests: kind === 'index' ? descriptors(json.manifests, 'manifests') : [],
    ...(kind === 'image' ? { config: descriptor(json.config, 'config') } : {}),
    ...(subject === undefined ? {} : { subject }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  }
}

/** The blobs an image manifest needs, config first, each digest once; none for an index. */
export function blobsOf(manifest: Manifest): Descriptor[] {
  const all = manifest.config === undefined ? manifest.layers : [manifest.config, ...manifest.layers]
  return [...new Map(all.map((entry) => [entry.digest, entry])).values()]
}

function descriptors(value: unknown, where: string): Descriptor[] {
  if (!Array.isArray(value)) throw invalid(`${where} must be a list`)
  if (value.length > MAX_DESCRIPTORS) throw invalid(`${where} has more than ${MAX_DESCRIPTORS} entries`)
  return value.map((entry, i) => descriptor(entry, `${where}[${i}]`))
}

function descriptor(value: unknown, where: string): Descriptor {
  if (!isRecord(value)) throw invalid(`${where} must be a descriptor`)
  const { mediaType, digest, size } = value
  if (typeof mediaType !== 'string' || mediaType === '') throw invalid(`${where}.mediaType must be a string`)
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalid(`${where}.digest is not a digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`${where}.size must be a whole number of bytes`)
  }
  const artifactType = optionalString(value, 'artifactType')
  const annotations = optionalStrings(value, 'annotations')
  const platform = isRecord(value.platform) ? value.platform : undefined
  const urls = Array.isArray(value.urls) ? value.urls.filter((url) => typeof url === 'string') : undefined
  return {
    mediaType,
    digest,
    size,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(platform === undefined ? {} : { platform }),
    ...(urls === undefined ? {} : { urls }),
  }
}

function optionalString(from: Record<string, unknown>, key: string): string | undefined {
  const value = from[key]
  if (value === undefined || value === '') return undefined
  if (typeof value !== 'string') throw invalid(`${key} must be a string`)
  return value
}

function optionalStrings(from: Record<string, unknown>, key: string): Record<string, string> | undefined {
  const value = from[key]
  if (value === undefined || value === null) return undefined
  if (!isRecord(value) || Object.values(value).some((entry) => typeof entry !== 'string')) {
    throw invalid(`${key} must map strings to strings`)
  }
  return value as Record<string, string>
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(why: string, cause?: unknown): CoreError {
  return new CoreError('MANIFEST_INVALID', `the manifest is not valid: ${why}`, { cause })
}

import {
  type Descriptor,
  invalidManifest,
  isRecord,
  readAnnotations,
  readDescriptor,
  readDescriptors,
  readText,
} from './descriptor.ts'
import { type JsonBounds, outlineJson, tryParseJson } from './json.ts'

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

/**
 * What a manifest may hold. 4 MiB of JSON can be 1.3 million values, which take seconds and 800 MiB to read; an index of
 * ten thousand images with platforms has less than a hundred thousand.
 */
export const MANIFEST_BOUNDS: JsonBounds = { maxDepth: 64, maxValues: 100_000 }

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

/** Whether `mediaType` (without parameters) is a manifest or index we know. */
export function isManifestMediaType(mediaType: string): boolean {
  return INDEX_TYPES.has(mediaType) || IMAGE_TYPES.has(mediaType)
}

/**
 * Reads an image manifest or index, OCI or Docker schema 2, from bytes off the wire. A member that is null is absent.
 * @param contentType the `Content-Type` it came with; must agree with the body's own `mediaType`
 * @throws CoreError `MANIFEST_INVALID` when it is too large, not JSON, past `MANIFEST_BOUNDS`, of another type, or a
 * descriptor is not right
 */
export function parseManifest(bytes: Uint8Array, contentType?: string): Manifest {
  if (bytes.byteLength > MAX_MANIFEST_BYTES) throw invalidManifest(`it is larger than ${MAX_MANIFEST_BYTES} bytes`)
  const json = parseBounded(bytes)
  if (!isRecord(json)) throw invalidManifest('it is not a JSON object')
  if (json.schemaVersion !== 2) throw invalidManifest('schemaVersion must be 2')
  const [config, layers] = [json.config ?? undefined, json.layers ?? undefined]
  const [manifests, subject] = [json.manifests ?? undefined, json.subject ?? undefined]
  const declared = readText(json.mediaType, 'mediaType')
  const sent = contentType?.split(';')[0]?.trim().toLowerCase()
  if (declared !== undefined && sent !== undefined && sent !== '' && declared !== sent) {
    throw invalidManifest(`its mediaType is ${declared} but it was sent as ${sent}`)
  }
  const mediaType = declared ?? (sent || (Array.isArray(manifests) ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest))
  if (!isManifestMediaType(mediaType)) throw invalidManifest(`${mediaType} is not a manifest media type we know`)
  const kind = INDEX_TYPES.has(mediaType) ? 'index' : 'image'
  if (kind === 'index' && (layers !== undefined || config !== undefined)) {
    throw invalidManifest('an index must not have config or layers')
  }
  if (kind === 'image' && config === undefined) throw invalidManifest('an image manifest must have a config')
  if (kind === 'image' && manifests !== undefined) throw invalidManifest('an image manifest must not have manifests')
  const artifactType = readText(json.artifactType, 'artifactType')
  const annotations = readAnnotations(json.annotations, 'annotations')
  return {
    mediaType,
    kind,
    layers: readDescriptors(layers, 'layers'),
    manifests: readDescriptors(manifests, 'manifests'),
    ...(config === undefined ? {} : { config: readDescriptor(config, 'config') }),
    ...(subject === undefined ? {} : { subject: readDescriptor(subject, 'subject') }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
  }
}

function parseBounded(bytes: Uint8Array): unknown {
  const { exceeds } = outlineJson(bytes, MANIFEST_BOUNDS)
  if (exceeds === 'maxDepth') {
    throw invalidManifest(`its objects and lists are nested more than ${MANIFEST_BOUNDS.maxDepth} deep`)
  }
  if (exceeds === 'maxValues') {
    throw invalidManifest(`it has more than ${MANIFEST_BOUNDS.maxValues} values (objects, lists, strings, numbers)`)
  }
  const json = tryParseJson(bytes)
  if (json === undefined) throw invalidManifest('it is not JSON')
  return json
}

const NO_BOUNDS: JsonBounds = { maxDepth: Number.POSITIVE_INFINITY, maxValues: Number.POSITIVE_INFINITY }
/** Media types of manifests that are served but not read: Docker's before 2016. Source: Distribution 2.8, schema 1. */
const SCHEMA_1 = {
  signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  plain: 'application/vnd.docker.distribution.manifest.v1+json',
} as const
/** How much of a member's value is looked at: a media type, and room for spaces. */
const MAX_SHOWN_BYTES = 1024
/** Source: RFC 6838 §4.2. */
const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i

/**
 * The media type of a stored manifest: what it says, or what its shape says. It is not parsed for that, so it can be of
 * any kind, past all bounds, and no JSON: what a storage holds is served.
 */
export function mediaTypeOfManifest(bytes: Uint8Array): string {
  const { members } = outlineJson(bytes, NO_BOUNDS, ['mediaType', 'manifests', 'schemaVersion', 'signatures'])
  const textOf = (name: string) => {
    const [start = 0, end = 0] = members.get(name) ?? []
    return Buffer.from(bytes.subarray(start, Math.min(end, start + MAX_SHOWN_BYTES)))
      .toString()
      .trim()
  }
  const declared = tryParseJson(Buffer.from(textOf('mediaType')))
  if (typeof declared === 'string' && MEDIA_TYPE.test(declared)) return declared
  if (textOf('schemaVersion') === '1') return members.has('signatures') ? SCHEMA_1.signed : SCHEMA_1.plain
  return textOf('manifests').startsWith('[') ? MEDIA_TYPES.ociIndex : MEDIA_TYPES.ociManifest
}

/** The blobs an image manifest needs, config first, each digest once; none for an index. */
export function blobsOf(manifest: Manifest): Descriptor[] {
  const all = manifest.config === undefined ? manifest.layers : [manifest.config, ...manifest.layers]
  return [...new Map(all.map((entry) => [entry.digest, entry])).values()]
}

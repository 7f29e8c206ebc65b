import { isDigest } from '../digest.ts'
import { CoreError } from '../errors.ts'

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

const MAX_DESCRIPTORS = 20_000

/*
 * Programs in Go write null for a list, map or pointer that is nil, and read null as one: so null is read as absent here,
 * as Distribution reads it.
 */

/** A list of descriptors, empty when it is absent. Throws CoreError `MANIFEST_INVALID`. */
export function readDescriptors(value: unknown, where: string): Descriptor[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalidManifest(`${where} must be a list`)
  if (value.length > MAX_DESCRIPTORS) throw invalidManifest(`${where} has more than ${MAX_DESCRIPTORS} entries`)
  return value.map((entry, i) => readDescriptor(entry, `${where}[${i}]`))
}

/** One descriptor. Throws CoreError `MANIFEST_INVALID`. */
export function readDescriptor(value: unknown, where: string): Descriptor {
  if (!isRecord(value)) throw invalidManifest(`${where} must be a descriptor`)
  const { mediaType, digest, size } = value
  if (typeof mediaType !== 'string' || mediaType === '') throw invalidManifest(`${where}.mediaType must be a string`)
  if (typeof digest !== 'string' || !isDigest(digest)) throw invalidManifest(`${where}.digest is not a digest`)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalidManifest(`${where}.size must be a whole number of bytes`)
  }
  const artifactType = readText(value.artifactType, 'artifactType')
  const annotations = readAnnotations(value.annotations, 'annotations')
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

/** A text; undefined when it is absent or empty. Throws CoreError `MANIFEST_INVALID`. */
export function readText(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (typeof value !== 'string') throw invalidManifest(`${where} must be a string`)
  return value
}

/** Annotations without those that are null; undefined when they are absent. Throws CoreError `MANIFEST_INVALID`. */
export function readAnnotations(value: unknown, where: string): Record<string, string> | undefined {
  if (value === undefined || value === null) return undefined
  if (!isRecord(value)) throw invalidManifest(`${where} must map strings to strings`)
  const present = Object.entries(value).filter(([, text]) => text !== null)
  if (present.some(([, text]) => typeof text !== 'string')) {
    throw invalidManifest(`${where} must map strings to strings`)
  }
  return Object.fromEntries(present) as Record<string, string>
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The error for a manifest that is not one. */
export function invalidManifest(why: string, cause?: unknown): CoreError {
  return new CoreError('MANIFEST_INVALID', `the manifest is not valid: ${why}`, { cause })
}

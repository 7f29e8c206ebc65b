import { type Digest, formatDigest, parseDigest, tryParseDigest } from '../digest.ts'
import { CoreError } from '../errors.ts'

const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const REGISTRY =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]{2,45}\])(?::[0-9]{1,5})?$/

/** Whether `text` is a repository name of at most 255 characters. Source: OCI distribution-spec 1.1, "Pulling manifests". */
export function isRepositoryName(text: string): boolean {
  return text.length <= 255 && NAME.test(text)
}

/** Whether `text` is a tag. Source: OCI distribution-spec 1.1, "Pulling manifests". */
export function isTag(text: string): boolean {
  return TAG.test(text)
}

/** Whether `text` is `host[:port]` as an image reference and a mirror's `ns` parameter carry it. */
export function isRegistryHost(text: string): boolean {
  return text.length <= 261 && REGISTRY.test(text) && Number(/:([0-9]+)$/.exec(text)?.[1] ?? 1) <= 65_535
}

/** What a manifest is asked for by: a tag, or a digest. */
export type ManifestReference = { readonly tag: string } | { readonly digest: string }

/** The tag or digest in `text`; undefined when it is neither. */
export function tryParseManifestReference(text: string): ManifestReference | undefined {
  if (tryParseDigest(text) !== undefined) return { digest: text }
  return isTag(text) ? { tag: text } : undefined
}

const DOCKER_HUB: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

/** Docker Hub, by any of its names, has no repositories of one part: `nginx` there means `library/nginx`. */
export function fullRepositoryName(registry: string, repository: string): string {
  const isShort = DOCKER_HUB.has(registry.toLowerCase()) && !repository.includes('/')
  return isShort ? `library/${repository}` : repository
}

/** An image reference in its parts, with Docker's defaults filled in. */
export interface ImageReference {
  /** Registry, `host[:port]`; `docker.io` when the text names none. */
  readonly registry: string
  readonly repository: string
  /** Present unless a digest alone was given; `latest` when neither was given. */
  readonly tag?: string
  readonly digest?: Digest
}

/**
 * Reads `[registry/]repository[:tag][@digest]` the way Docker and containerd do: the first part is a registry
 * when it has a dot or a colon or is `localhost`. Throws CoreError `REFERENCE_INVALID` or `DIGEST_INVALID`.
 */
export function parseImageReference(text: string): ImageReference {
  const invalid = (why: string) =>
    new CoreError('REFERENCE_INVALID', `"${text.slice(0, 300)}" is not an image reference: ${why}`)
  const [named = '', digestText, ...rest] = text.split('@')
  if (rest.length > 0) throw invalid('it has more than one @')
  const digest = digestText === undefined ? undefined : parseDigest(digestText)
  const slash = named.indexOf('/')
  const first = slash < 0 ? '' : named.slice(0, slash)
  const hasRegistry = /[.:]/.test(first) || first === 'localhost'
  const registry = hasRegistry ? first : 'docker.io'
  let path = hasRegistry ? named.slice(slash + 1) : named
  let tag: string | undefined
  const colon = path.lastIndexOf(':')
  if (colon >= 0) {
    tag = path.slice(colon + 1)
    path = path.slice(0, colon)
    if (!isTag(tag)) throw invalid(`"${tag}" is not a tag`)
  }
  path = fullRepositoryName(registry, path)
  if (!isRegistryHost(registry)) throw invalid(`"${registry}" is not a host or host:port`)
  if (!isRepositoryName(path))
    throw invalid(`"${path}" is not a repository name (lower-case letters, digits, . _ - and /)`)
  if (tag === undefined && digest === undefined) tag = 'latest'
  return {
    registry,
    repository: path,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  }
}

/** What the manifest of a reference is asked for by: the digest where there is one, else the tag. */
export function manifestReferenceOf(reference: ImageReference): string {
  return reference.digest === undefined ? (reference.tag ?? 'latest') : formatDigest(reference.digest)
}

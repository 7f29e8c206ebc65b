import {
  type Digest,
  isRepositoryName,
  type ManifestReference,
  parseDigest,
  tryParseManifestReference,
} from '@shoal/core'
import { RegistryError } from '../errors.ts'

/** What a request is about: its path, read and checked. */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'catalog' }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: Digest }
  | { readonly kind: 'uploads'; readonly repository: string }
  | { readonly kind: 'upload'; readonly repository: string; readonly id: string }
  /** `reference` is undefined when the text can be neither a tag nor a digest. */
  | {
      readonly kind: 'manifest'
      readonly repository: string
      readonly text: string
      readonly reference: ManifestReference | undefined
    }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: Digest }

export type RouteKind = Route['kind']

/**
 * Reads the path of a request below `/v2`. A repository's name may have any number of parts, `manifests` and `blobs`
 * among them, so the path is read from its end. Source: OCI distribution-spec 1.1, "Endpoints".
 * @param path as it came, percent-encoded, without the query
 * @throws RegistryError `NAME_INVALID`, `DIGEST_INVALID`, or `UNSUPPORTED` (404) when it is no path of the API
 */
export function parsePath(path: string): Route {
  const parts = decode(path).split('/')
  if (parts[0] !== '' || parts[1] !== 'v2') throw noSuchPath()
  const rest = parts.slice(2)
  if (rest.length === 0 || (rest.length === 1 && rest[0] === '')) return { kind: 'base' }
  if (rest.length === 1 && rest[0] === '_catalog') return { kind: 'catalog' }
  const [thirdLast, secondLast, last] = [rest.at(-3), rest.at(-2), rest.at(-1) ?? '']
  if (thirdLast === 'blobs' && secondLast === 'uploads') {
    const repository = repositoryOf(rest.slice(0, -3))
    return last === '' ? { kind: 'uploads', repository } : { kind: 'upload', repository, id: last }
  }
  const repository = () => repositoryOf(rest.slice(0, -2))
  switch (secondLast) {
    case 'blobs':
      if (last === 'uploads') return { kind: 'uploads', repository: repository() }
      return { kind: 'blob', repository: repository(), digest: parseDigest(last) }
    case 'manifests':
      return manifestRoute(repository(), last)
    case 'tags':
      if (last !== 'list') throw noSuchPath()
      return { kind: 'tags', repository: repository() }
    case 'referrers':
      return { kind: 'referrers', repository: repository(), digest: parseDigest(last) }
    default:
      throw noSuchPath()
  }
}

function manifestRoute(repository: string, text: string): Route {
  // A tag has no colon, so what has one was meant as a digest.
  if (text.includes(':')) parseDigest(text)
  return { kind: 'manifest', repository, text, reference: tryParseManifestReference(text) }
}

function repositoryOf(parts: readonly string[]): string {
  const name = parts.join('/')
  if (isRepositoryName(name)) return name
  throw new RegistryError(
    'NAME_INVALID',
    `"${name.slice(0, 255)}" is not a repository name: use lower-case letters and digits, with . _ - between them and / between parts, at most 255 characters`,
  )
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch (cause) {
    throw new RegistryError('NAME_INVALID', 'the path has a % that does not begin an encoded UTF-8 character', {
      cause,
    })
  }
}

function noSuchPath(): RegistryError {
  return new RegistryError(
    'UNSUPPORTED',
    'there is nothing at this path: the API is /v2/<name>/{blobs,manifests,referrers}/…, /v2/<name>/tags/list and /v2/_catalog',
    { status: 404 },
  )
}

import { isRepositoryName, tryParseDigest, tryParseManifestReference } from '@shoal/core'

/** What a request to the mirror is about. `repository` may start with a registry (see upstream.ts). */
export type MirrorTarget =
  | { readonly kind: 'ping' }
  | { readonly kind: 'manifest'; readonly repository: string; readonly reference: string }
  | { readonly kind: 'blob'; readonly repository: string; readonly digest: string }
  | { readonly kind: 'tags'; readonly repository: string }
  | { readonly kind: 'referrers'; readonly repository: string; readonly digest: string }
  | {
      readonly kind: 'invalid'
      readonly code: 'NAME_INVALID' | 'DIGEST_INVALID' | 'TAG_INVALID'
      readonly message: string
    }
  | { readonly kind: 'unknown' }

const MAX_PATH = 1024

/** Reads a path below `/v2/`, without its query. Source: OCI distribution-spec 1.1, "Endpoints". */
export function parseMirrorPath(path: string): MirrorTarget {
  if (path === '/v2' || path === '/v2/') return { kind: 'ping' }
  if (!path.startsWith('/v2/') || path.length > MAX_PATH) return { kind: 'unknown' }
  const rest = path.slice(4)
  if (rest.endsWith('/tags/list'))
    return named(rest.slice(0, -'/tags/list'.length), (repository) => ({ kind: 'tags', repository }))
  const last = rest.lastIndexOf('/')
  const before = rest.lastIndexOf('/', last - 1)
  if (before < 1) return { kind: 'unknown' }
  const noun = rest.slice(before + 1, last)
  const reference = rest.slice(last + 1)
  if (noun !== 'manifests' && noun !== 'blobs' && noun !== 'referrers') return { kind: 'unknown' }
  return named(rest.slice(0, before), (repository) => {
    if (noun === 'manifests') {
      if (tryParseManifestReference(reference) !== undefined) return { kind: 'manifest', repository, reference }
      const isDigestLike = reference.includes(':')
      const message = `"${reference.slice(0, 160)}" is not a ${isDigestLike ? 'digest (sha256: and 64 hex characters)' : 'tag (letters, digits, . _ -, at most 128)'}`
      return { kind: 'invalid', code: isDigestLike ? 'DIGEST_INVALID' : 'TAG_INVALID', message }
    }
    if (tryParseDigest(reference) === undefined) {
      const message = `"${reference.slice(0, 160)}" is not a digest (sha256: and 64 hex characters)`
      return { kind: 'invalid', code: 'DIGEST_INVALID', message }
    }
    return noun === 'blobs'
      ? { kind: 'blob', repository, digest: reference }
      : { kind: 'referrers', repository, digest: reference }
  })
}

function named(repository: string, target: (repository: string) => MirrorTarget): MirrorTarget {
  // A first part that is host:port is for upstream.ts to judge; what follows must be a name either way.
  const [first = '', ...others] = repository.split('/')
  const name = first.includes(':') ? others.join('/') : repository
  if (isRepositoryName(name)) return target(repository)
  const message = `"${repository.slice(0, 255)}" is not a repository name (lower-case letters, digits, . _ - and /)`
  return { kind: 'invalid', code: 'NAME_INVALID', message }
}

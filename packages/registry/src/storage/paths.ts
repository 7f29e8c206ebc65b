import { type Digest, tryParseDigest } from '@shoal/core'

/**
 * Distribution's layout, below its `rootdirectory`. Source: distribution/distribution, registry/storage/paths.go.
 * Repository names, tags, digests and upload ids were checked before they come here: none can hold `..` or a name
 * that begins with `_`.
 */
const ROOT = 'docker/registry/v2'

/** Folder that holds all repositories. */
export const REPOSITORIES = `${ROOT}/repositories`

/** Folder of a repository. */
export const repositoryPath = (name: string): string => `${REPOSITORIES}/${name}`

/** Folder that holds the content of all blobs and manifests. */
export const BLOBS = `${ROOT}/blobs`

/** The content of a blob or manifest. */
export const blobPath = ({ algorithm, hex }: Digest): string => `${BLOBS}/${algorithm}/${hex.slice(0, 2)}/${hex}/data`

/** Where a content is that was found to be damaged. Distribution does not look there. */
export const quarantinePath = ({ algorithm, hex }: Digest): string => `${ROOT}/quarantine/${algorithm}/${hex}`

/** Folder of a repository's blobs of one digest algorithm. */
export const layersPath = (name: string, algorithm: string): string => `${repositoryPath(name)}/_layers/${algorithm}`

/** The link that makes a blob visible in a repository. */
export const layerLinkPath = (name: string, { algorithm, hex }: Digest): string =>
  `${layersPath(name, algorithm)}/${hex}/link`

const manifestsPath = (name: string): string => `${repositoryPath(name)}/_manifests`

/** Folder of a repository's manifests of one digest algorithm. */
export const revisionsPath = (name: string, algorithm: string): string =>
  `${manifestsPath(name)}/revisions/${algorithm}`

/** The link that makes a manifest visible in a repository. */
export const revisionLinkPath = (name: string, { algorithm, hex }: Digest): string =>
  `${revisionsPath(name, algorithm)}/${hex}/link`

/** Folder of a repository's tags. */
export const tagsPath = (name: string): string => `${manifestsPath(name)}/tags`

/** Folder of one tag. */
export const tagPath = (name: string, tag: string): string => `${tagsPath(name)}/${tag}`

/** The link to the manifest that a tag points at. */
export const tagCurrentPath = (name: string, tag: string): string => `${tagPath(name, tag)}/current/link`

/** Folder of the manifests of one digest algorithm that a tag points, or once pointed, at. */
export const tagHistoryPath = (name: string, tag: string, algorithm: string): string =>
  `${tagPath(name, tag)}/index/${algorithm}`

/** The link that says that a tag points, or once pointed, at a manifest. */
export const tagIndexPath = (name: string, tag: string, { algorithm, hex }: Digest): string =>
  `${tagHistoryPath(name, tag, algorithm)}/${hex}/link`

/** Folder of a repository's unfinished uploads. */
export const uploadsPath = (name: string): string => `${repositoryPath(name)}/_uploads`

/** Folder of one upload. */
export const uploadPath = (name: string, id: string): string => `${uploadsPath(name)}/${id}`

/** The bytes of an upload so far. */
export const uploadDataPath = (name: string, id: string): string => `${uploadPath(name, id)}/data`

/** When an upload was started, RFC 3339; its presence is what makes the upload exist. */
export const uploadStartedAtPath = (name: string, id: string): string => `${uploadPath(name, id)}/startedat`

/** What a path of the layout is about, as far as lists go by it. */
export type StoredPlace =
  /** A tag's folder, or the link to what it points at. */
  | { readonly kind: 'tag'; readonly repository: string; readonly tag: string }
  /** A manifest's link, or its folder. */
  | { readonly kind: 'revision'; readonly repository: string; readonly digest: Digest }
  /** Something else of what a repository holds. */
  | { readonly kind: 'held'; readonly repository: string }
  /** A content's file, or its folder. */
  | { readonly kind: 'content'; readonly digest: Digest }
  /** Something of an upload, or of another layout. */
  | { readonly kind: 'other' }
  /** A folder of more than one of these. */
  | { readonly kind: 'many' }

const HELD = new RegExp(`^${REPOSITORIES}/(.+?)/_(?:manifests|layers)/(.+)$`)
const UPLOAD = new RegExp(`^${REPOSITORIES}/.+?/_uploads(?:/|$)`)
const TAG_LINK = /^tags\/([^/]+)(?:\/current(?:\/link)?)?$/
const REVISION_LINK = /^revisions\/([^/]+)\/([^/]+)(?:\/link)?$/
const CONTENT = new RegExp(`^${BLOBS}/([^/]+)/[^/]+/([^/]+)(?:/data)?$`)

/** What a path is about. */
export function placeOf(path: string): StoredPlace {
  const digest = digestIn(CONTENT.exec(path))
  if (digest !== undefined) return { kind: 'content', digest }
  const [, repository, rest] = HELD.exec(path) ?? []
  if (repository === undefined || rest === undefined) {
    return { kind: UPLOAD.test(path) || !`${path}/`.startsWith(`${ROOT}/`) ? 'other' : 'many' }
  }
  const [, tag] = TAG_LINK.exec(rest) ?? []
  if (tag !== undefined) return { kind: 'tag', repository, tag }
  const revision = digestIn(REVISION_LINK.exec(rest))
  if (revision !== undefined) return { kind: 'revision', repository, digest: revision }
  return { kind: 'held', repository }
}

function digestIn(match: RegExpExecArray | null): Digest | undefined {
  return match === null ? undefined : tryParseDigest(`${match[1]}:${match[2]}`)
}

import { type Digest, isRepositoryName, tryParseDigest } from '@shoal/core'
import type { StorageDriver } from './driver.ts'
import { BLOBS, REPOSITORIES, repositoryPath } from './paths.ts'

/** Names of a repository's folders for its own use; other folders are parts of longer names. */
const INTERNAL = '_'

/** Folders that are listed before their turn. */
const LISTED_AHEAD = 16

/** Repositories that hold, or held, content: name by name, ordered part by part (`a`, `a/b`, `a-b`). */
export function repositories(driver: StorageDriver, after?: string): AsyncGenerator<string> {
  return walk(driver, '', after?.split('/'), holdsContent)
}

/** All folders that hold, or held, content; also those whose names no repository can have. */
export function foldersWithContent(driver: StorageDriver): AsyncGenerator<string> {
  return walk(driver, '', undefined, holdsContent, () => true)
}

/** Repositories that somebody uploads to, or did. */
export function repositoriesWithUploads(driver: StorageDriver): AsyncGenerator<string> {
  return walk(driver, '', undefined, (children) => children.includes('_uploads'))
}

/** Digests of all that is stored, whoever holds it: of blobs and of manifests. */
export async function* storedContents(driver: StorageDriver): AsyncGenerator<Digest> {
  for (const algorithm of await driver.list(BLOBS)) {
    for (const prefix of await driver.list(`${BLOBS}/${algorithm}`)) {
      for (const hex of await driver.list(`${BLOBS}/${algorithm}/${prefix}`)) {
        const digest = tryParseDigest(`${algorithm}:${hex}`)
        if (digest !== undefined) yield digest
      }
    }
  }
}

function holdsContent(children: readonly string[]): boolean {
  return children.includes('_layers') || children.includes('_manifests')
}

/**
 * @param after the parts below `name` of the name to continue after; undefined once past it. Folders that sort before
 * it are not read, so that a page of a large catalog costs what the page holds.
 * @param listing what is in the folder `name`
 */
async function* walk(
  driver: StorageDriver,
  name: string,
  after: readonly string[] | undefined,
  isWanted: (children: readonly string[]) => boolean,
  isName: (path: string) => boolean = isRepositoryName,
  listing: Promise<readonly string[]> = driver.list(REPOSITORIES),
): AsyncGenerator<string> {
  const children = await listing
  if (name !== '' && after === undefined && isWanted(children)) yield name
  const first = after?.[0]
  const below = children
    .filter((child) => !child.startsWith(INTERNAL) && (first === undefined || child >= first))
    .map((child) => ({ child, path: name === '' ? child : `${name}/${child}` }))
    .filter(({ path }) => isName(path))
  // An object store takes as long for one listing as for many at once.
  const ahead: Promise<readonly string[]>[] = []
  for (const [at, { child, path }] of below.entries()) {
    for (const { path: later } of below.slice(at + ahead.length, at + LISTED_AHEAD)) {
      const listed = driver.list(repositoryPath(later))
      // Told when its turn comes, if it comes.
      listed.catch(() => {})
      ahead.push(listed)
    }
    const rest = child === first ? after?.slice(1) : undefined
    yield* walk(driver, path, rest, isWanted, isName, ahead.shift())
  }
}

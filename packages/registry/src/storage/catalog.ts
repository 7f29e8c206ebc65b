import { type Digest, isRepositoryName, tryParseDigest } from '@shoal/core'
import type { StorageDriver } from './driver.ts'
import { BLOBS, REPOSITORIES, repositoryPath } from './paths.ts'

/** Names of a repository's folders for its own use; other folders are parts of longer names. */
const INTERNAL = '_'

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
 */
async function* walk(
  driver: StorageDriver,
  name: string,
  after: readonly string[] | undefined,
  isWanted: (children: readonly string[]) => boolean,
  isName: (path: string) => boolean = isRepositoryName,
): AsyncGenerator<string> {
  const children = await driver.list(name === '' ? REPOSITORIES : repositoryPath(name))
  if (name !== '' && after === undefined && isWanted(children)) yield name
  const first = after?.[0]
  for (const child of children) {
    if (child.startsWith(INTERNAL) || (first !== undefined && child < first)) continue
    const path = name === '' ? child : `${name}/${child}`
    if (isName(path)) yield* walk(driver, path, child === first ? after?.slice(1) : undefined, isWanted, isName)
  }
}

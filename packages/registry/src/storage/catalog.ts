import { isRepositoryName } from '@shoal/core'
import type { StorageDriver } from './driver.ts'
import { REPOSITORIES, repositoryPath } from './paths.ts'

/** Names of a repository's folders for its own use; other folders are parts of longer names. */
const INTERNAL = '_'

/** Repositories that hold, or held, content: name by name, ordered part by part (`a`, `a/b`, `a-b`). */
export function repositories(driver: StorageDriver, after?: string): AsyncGenerator<string> {
  const holdsContent = (children: readonly string[]) => children.includes('_layers') || children.includes('_manifests')
  return walk(driver, '', after?.split('/'), holdsContent)
}

/** Repositories that somebody uploads to, or did. */
export function repositoriesWithUploads(driver: StorageDriver): AsyncGenerator<string> {
  return walk(driver, '', undefined, (children) => children.includes('_uploads'))
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
): AsyncGenerator<string> {
  const children = await driver.list(name === '' ? REPOSITORIES : repositoryPath(name))
  if (name !== '' && after === undefined && isWanted(children)) yield name
  const first = after?.[0]
  for (const child of children) {
    if (child.startsWith(INTERNAL) || (first !== undefined && child < first)) continue
    const path = name === '' ? child : `${name}/${child}`
    if (isRepositoryName(path)) yield* walk(driver, path, child === first ? after?.slice(1) : undefined, isWanted)
  }
}

import { createHash } from 'node:crypto'
import { dirname } from 'node:path/posix'
import { type Digest, formatDigest, isRepositoryName } from '@shoal/core'
import { DigestSet } from '../gc/digest-set.ts'
import { foldersWithContent, storedContents } from '../storage/catalog.ts'
import { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { listDigests, readLink } from '../storage/links.ts'
import { ManifestStore } from '../storage/manifests.ts'
import {
  blobPath,
  layerLinkPath,
  layersPath,
  REPOSITORIES,
  revisionLinkPath,
  revisionsPath,
  tagCurrentPath,
  tagIndexPath,
} from '../storage/paths.ts'
import { copyFile, hashFile } from './copy.ts'
import { LedgerWriter } from './ledger.ts'

/** What a backup, or a restore, has done so far, or in all. */
export interface BackupProgress {
  readonly repositories: number
  readonly files: number
  readonly bytes: number
  /** Of these, what had to be copied: the rest was there from an earlier time. */
  readonly copiedBytes: number
}

interface BackupOptions {
  readonly progress?: (soFar: BackupProgress) => void
  /** Told of what can not be backed up, as it is damaged or not there. */
  readonly problem: (what: string) => void
  readonly now?: () => number
}

/** A link of a repository and what it points at. */
interface Link {
  readonly path: string
  readonly target: Digest
}

/**
 * Makes `target` a copy of what a registry stores, which may run meanwhile: a folder that a registry can serve. What an
 * earlier backup has left there is used, so that only what is new is copied.
 *
 * Consistent without a lock: pushes store blobs before the manifest that names them and the manifest before its tags, so
 * these are read the other way round, and whatever is seen has what it needs. What is deleted meanwhile may be in it
 * or not, and never by half.
 */
export async function backUp(
  source: StorageDriver,
  target: StorageDriver,
  { progress, problem, now = Date.now }: BackupOptions,
): Promise<BackupProgress> {
  const seen = { repositories: 0, files: 0, bytes: 0, copiedBytes: 0 }
  const ledger = await LedgerWriter.begin(target, now())
  try {
    // Tags and manifests that are gone from the registry are to be gone from the backup.
    await target.remove(REPOSITORIES)
    const manifests = new ManifestStore(source, new ContentUses())
    const copied = new DigestSet()
    const missing = new DigestSet()

    const copyContent = async (digest: Digest): Promise<boolean> => {
      if (copied.has(digest)) return true
      if (missing.has(digest)) return false
      try {
        const { sizeBytes, sha256, isNew } = await copyBlob(source, target, digest)
        copied.add(digest)
        await ledger.add({ path: blobPath(digest), sizeBytes, sha256 })
        seen.files++
        seen.bytes += sizeBytes
        if (isNew) seen.copiedBytes += sizeBytes
        return true
      } catch (error) {
        missing.add(digest)
        problem(`${formatDigest(digest)}: ${error instanceof Error ? error.message : String(error)}`)
        return false
      } finally {
        progress?.(seen)
      }
    }

    /** A link and what it points at; false when that can not be copied. */
    const copyLink = async (link: Link): Promise<boolean> => {
      if (!(await copyContent(link.target))) return false
      await writeLink(target, ledger, link)
      seen.files++
      return true
    }

    for await (const repository of foldersWithContent(source)) {
      if (!isRepositoryName(repository)) {
        problem(`${repository}: no repository can have this name`)
        continue
      }
      const tags = await tagsOf(manifests, repository)
      const revisions = await linksOf(
        source,
        (algorithm) => revisionsPath(repository, algorithm),
        (digest) => revisionLinkPath(repository, digest),
      )
      const layers = await linksOf(
        source,
        (algorithm) => layersPath(repository, algorithm),
        (digest) => layerLinkPath(repository, digest),
      )
      for (const link of layers) await copyLink(link)
      const held = new Set<string>()
      for (const link of revisions) if (await copyLink(link)) held.add(formatDigest(link.target))
      for (const [tag, digest] of tags) {
        // Deleted since, or not to be read.
        if (!held.has(formatDigest(digest))) continue
        await copyLink({ path: tagIndexPath(repository, tag, digest), target: digest })
        await copyLink({ path: tagCurrentPath(repository, tag), target: digest })
      }
      seen.repositories++
      progress?.(seen)
    }
    await ledger.seal()
    for await (const digest of storedContents(target)) {
      if (!copied.has(digest)) await target.remove(dirname(blobPath(digest)))
    }
  } catch (error) {
    await ledger.abandon().catch(() => {})
    throw error
  }
  return seen
}

async function tagsOf(manifests: ManifestStore, repository: string): Promise<Map<string, Digest>> {
  const tags = new Map<string, Digest>()
  for (const tag of await manifests.tags(repository, Number.POSITIVE_INFINITY)) {
    const digest = await manifests.resolve(repository, { tag })
    if (digest !== undefined) tags.set(tag, digest)
  }
  return tags
}

async function linksOf(
  source: StorageDriver,
  folder: (algorithm: string) => string,
  pathOf: (digest: Digest) => string,
): Promise<Link[]> {
  const links: Link[] = []
  for (const digest of await listDigests(source, folder)) {
    const path = pathOf(digest)
    const target = await readLink(source, path)
    if (target !== undefined) links.push({ path, target })
  }
  return links
}

async function writeLink(target: StorageDriver, ledger: LedgerWriter, { path, target: to }: Link): Promise<void> {
  const text = formatDigest(to)
  await target.write(path, text)
  await ledger.add({ path, sizeBytes: text.length, sha256: createHash('sha256').update(text).digest('hex') })
}

/** Copies a content, unless the target has one of its size; throws when it is not there or damaged. */
async function copyBlob(
  source: StorageDriver,
  target: StorageDriver,
  digest: Digest,
): Promise<{ readonly sizeBytes: number; readonly sha256: string; readonly isNew: boolean }> {
  const path = blobPath(digest)
  const algorithms = ['sha256', digest.algorithm]
  const [stored, there] = [await source.stat(path), await target.stat(path)]
  if (stored === undefined) throw new Error('it is not there')
  if (there?.sizeBytes === stored.sizeBytes) {
    if (digest.algorithm === 'sha256') return { sizeBytes: stored.sizeBytes, sha256: digest.hex, isNew: false }
    const { digests } = await hashFile(target, path, algorithms)
    if (digests[digest.algorithm] === digest.hex) {
      return { sizeBytes: stored.sizeBytes, sha256: digests.sha256 ?? '', isNew: false }
    }
  }
  const { sizeBytes, digests } = await copyFile({ from: source, path, to: target }, algorithms, (copied) => {
    if (copied.digests[digest.algorithm] !== digest.hex) throw new Error('what is stored is damaged')
  })
  return { sizeBytes, sha256: digests.sha256 ?? '', isNew: true }
}

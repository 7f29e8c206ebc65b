import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PushedBlob } from './blobs.ts'

const SMALLEST_BYTES = 1024
const LARGEST_BYTES = 64 * 1024
const AT_ONCE = 64

/**
 * Puts `count` blobs of 1 to 64 KiB, sizes log-uniform, into the folder of a registry, in Distribution's layout; a
 * push of each would take longer than all that is measured. Other blobs for another `seed`.
 */
export async function layOutSmallBlobs(
  root: string,
  repository: string,
  seed: string,
  count: number,
): Promise<PushedBlob[]> {
  const blobs: PushedBlob[] = []
  for (let first = 0; first < count; first += AT_ONCE) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - first) }, (_, i) => contentOf(seed, first + i))
    blobs.push(...(await Promise.all(batch.map((content) => layOut(root, repository, content)))))
  }
  return blobs
}

function contentOf(seed: string, index: number): Buffer {
  const name = `${seed} ${index}`
  const draw = createHash('sha256').update(name).digest().readUInt32LE() / 2 ** 32
  const sizeBytes = Math.round(SMALLEST_BYTES * (LARGEST_BYTES / SMALLEST_BYTES) ** draw)
  return createHash('shake256', { outputLength: sizeBytes }).update(name).digest()
}

async function layOut(root: string, repository: string, content: Buffer): Promise<PushedBlob> {
  const hex = createHash('sha256').update(content).digest('hex')
  const blob = join(root, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex)
  const link = join(root, 'docker/registry/v2/repositories', repository, '_layers/sha256', hex)
  await Promise.all([mkdir(blob, { recursive: true }), mkdir(link, { recursive: true })])
  await writeFile(join(blob, 'data'), content)
  await writeFile(join(link, 'link'), `sha256:${hex}`)
  return { repository, digest: `sha256:${hex}`, sizeBytes: content.byteLength }
}

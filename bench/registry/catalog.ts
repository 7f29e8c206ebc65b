import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const AT_ONCE = 32

/**
 * Lays out, in Distribution's layout, repositories `app-0000` and so on with tags `v0000` and so on, all of one manifest:
 * pushes would take longer than all that is measured.
 */
export async function layOutTags(root: string, repositories: number, tags: number): Promise<void> {
  const base = join(root, 'docker/registry/v2')
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: [],
  })
  const hex = createHash('sha256').update(manifest).digest('hex')
  await put(join(base, 'blobs/sha256', hex.slice(0, 2), hex, 'data'), manifest)
  const layOut = async (repository: string) => {
    const folder = join(base, 'repositories', repository, '_manifests')
    await put(join(folder, 'revisions/sha256', hex, 'link'), `sha256:${hex}`)
    for (let tag = 0; tag < tags; tag++) {
      await put(join(folder, 'tags', nameOf('v', tag), 'current/link'), `sha256:${hex}`)
    }
  }
  for (let first = 0; first < repositories; first += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, repositories - first) }, (_, i) => nameOf('app-', first + i))
    await Promise.all(some.map(layOut))
  }
}

/** Name of the repository, or tag, with this number. */
export function nameOf(start: string, number: number): string {
  return `${start}${String(number).padStart(4, '0')}`
}

async function put(path: string, content: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true })
  await writeFile(path, content)
}

import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PushedBlob } from './blobs.ts'

const SMALLEST_BYTES = 1024
const LARGEST_BYTES = 64 * 1024
/** Of one image: as many as a large image has. */
const LAYERS = 50

const CONFIG_TYPE = 'application/vnd.oci.image.config.v1+json'
const LAYER_TYPE = 'application/vnd.oci.image.layer.v1.tar+gzip'
/** Of the images' manifests; docker-registry gives them to no one who does not accept it by name. */
export const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

/** An image of small layers in the registry. */
export interface SmallImage {
  /** Its path below a registry's URL. */
  readonly manifestPath: string
  readonly layers: readonly PushedBlob[]
}

/**
 * Puts images with `count` layers in all, each of 1 to 64 KiB, sizes log-uniform, into the folder of a registry, in
 * Distribution's layout; a push of each would take longer than all that is measured. Other layers for another `seed`.
 */
export async function layOutSmallImages(
  root: string,
  repository: string,
  seed: string,
  count: number,
): Promise<SmallImage[]> {
  const images: SmallImage[] = []
  for (let first = 0; first < count; first += LAYERS) {
    const contents = Array.from({ length: Math.min(LAYERS, count - first) }, (_, i) => contentOf(seed, first + i))
    const layers = await Promise.all(contents.map((content) => layOutBlob(root, repository, content)))
    images.push(await layOutImage(root, repository, layers))
  }
  return images
}

function contentOf(seed: string, index: number): Buffer {
  const name = `${seed} ${index}`
  const draw = createHash('sha256').update(name).digest().readUInt32LE() / 2 ** 32
  const sizeBytes = Math.round(SMALLEST_BYTES * (LARGEST_BYTES / SMALLEST_BYTES) ** draw)
  return createHash('shake256', { outputLength: sizeBytes }).update(name).digest()
}

async function layOutImage(root: string, repository: string, layers: readonly PushedBlob[]): Promise<SmallImage> {
  const config = await layOutBlob(root, repository, Buffer.from(JSON.stringify({ layers: layers.length })))
  const descriptor = ({ digest, sizeBytes }: PushedBlob, mediaType: string) => ({ mediaType, digest, size: sizeBytes })
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    config: descriptor(config, CONFIG_TYPE),
    layers: layers.map((layer) => descriptor(layer, LAYER_TYPE)),
  }
  const { digest } = await layOut(root, repository, '_manifests/revisions', Buffer.from(JSON.stringify(manifest)))
  return { manifestPath: `/v2/${repository}/manifests/${digest}`, layers }
}

function layOutBlob(root: string, repository: string, content: Buffer): Promise<PushedBlob> {
  return layOut(root, repository, '_layers', content)
}

/** Content and the link that makes it the repository's. */
async function layOut(root: string, repository: string, links: string, content: Buffer): Promise<PushedBlob> {
  const hex = createHash('sha256').update(content).digest('hex')
  const blob = join(root, 'docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex)
  const link = join(root, 'docker/registry/v2/repositories', repository, links, 'sha256', hex)
  await Promise.all([mkdir(blob, { recursive: true }), mkdir(link, { recursive: true })])
  await writeFile(join(blob, 'data'), content)
  await writeFile(join(link, 'link'), `sha256:${hex}`)
  return { repository, digest: `sha256:${hex}`, sizeBytes: content.byteLength }
}

import {
  type Descriptor,
  formatDigest,
  isRepositoryName,
  isTag,
  type Manifest,
  MEDIA_TYPES,
  parseManifest,
} from '@shoal/core'
import { RegistryError } from '../errors.ts'
import { invalid } from './failure.ts'
import { type ImageName, isPlatform, type Platform } from './image-name.ts'
import { CONTAINERD_NAME, DOCKER_FILE, type DockerImage, INDEX_FILE, REF_NAME } from './layout.ts'
import type { StagedFile, Staging } from './staging.ts'

/** What the images of an archive are to be. */
export interface RootOptions {
  /** What the images are called here; as the archive calls them when left out. */
  readonly as?: ImageName | undefined
  /** Of an index, only the image for it. */
  readonly platform?: Platform | undefined
}

/** An image of an archive, and what it is called here. */
export interface Image {
  readonly descriptor: Descriptor
  readonly name: ImageName
}

/** What refers to an image. */
export interface Referrer {
  readonly descriptor: Descriptor
  /** Digest. */
  readonly subject: string
}

/** Something that the archive names, or lists without a name. */
interface Root {
  readonly descriptor: Descriptor
  readonly name: string | undefined
}

/** What an archive says that it holds. Throws RegistryError `MANIFEST_INVALID`, `NAME_INVALID`. */
export async function findRoots(
  staging: Staging,
  { as, platform }: RootOptions,
): Promise<{ readonly images: Image[]; readonly referrers: Referrer[] }> {
  const referrers: Referrer[] = []
  const images: Root[] = []
  for (const { descriptor, name } of await listedRoots(staging)) {
    const root = { descriptor: await imageFor(staging, descriptor, platform), name }
    const { subject } = await manifestOf(staging, root.descriptor.digest)
    if (name !== undefined || subject === undefined) images.push(root)
    else referrers.push({ descriptor, subject: subject.digest })
  }
  return { images: named(images, as), referrers }
}

/** Throws RegistryError `MANIFEST_INVALID` when the archive does not hold it. */
async function manifestOf(staging: Staging, digest: string): Promise<Manifest> {
  return parseManifest(await staging.read(digest))
}

async function listedRoots(staging: Staging): Promise<Root[]> {
  const index = staging.document(INDEX_FILE)
  if (index !== undefined) {
    return parseIndex(index).map((descriptor) => {
      const { annotations } = descriptor
      return { descriptor, name: annotations?.[CONTAINERD_NAME] ?? annotations?.[REF_NAME] }
    })
  }
  const docker = staging.document(DOCKER_FILE)
  if (docker !== undefined) return dockerRoots(staging, docker)
  throw invalid(`it has neither ${INDEX_FILE} nor ${DOCKER_FILE}: make it with skopeo, podman, ctr or docker save`)
}

/** Docker's own archives have no manifests: they are made here. */
async function dockerRoots(staging: Staging, bytes: Buffer): Promise<Root[]> {
  const roots: Root[] = []
  for (const { Config, RepoTags, Layers } of parseDocker(bytes)) {
    const describe = (name: string, typeOf: (staged: StagedFile) => string): Descriptor => {
      const staged = staging.named(name)
      return { mediaType: typeOf(staged), digest: formatDigest(staged.sha256), size: staged.sizeBytes }
    }
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: describe(Config, () => MEDIA_TYPES.ociConfig),
      layers: Layers.map((name) => describe(name, layerType)),
    }
    const { sha256, sizeBytes } = await staging.add(Buffer.from(JSON.stringify(manifest)))
    const descriptor = { mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(sha256), size: sizeBytes }
    for (const name of RepoTags ?? [undefined]) roots.push({ descriptor, name })
  }
  return roots
}

async function imageFor(staging: Staging, descriptor: Descriptor, platform: Platform | undefined): Promise<Descriptor> {
  if (platform === undefined) return descriptor
  const { kind, manifests } = await manifestOf(staging, descriptor.digest)
  if (kind !== 'index') return descriptor
  const child = manifests.find((each) => isPlatform(platform, each.platform))
  if (child === undefined) throw invalid(`${descriptor.digest} has no image for that platform`)
  return child
}

function named(images: readonly Root[], as: ImageName | undefined): Image[] {
  if (as?.tag !== undefined && images.length > 1) {
    throw new RegistryError('NAME_INVALID', `it has ${images.length} images: give them a name without a tag`)
  }
  return images.map(({ descriptor, name: called }) => {
    const { repository, tag } = { ...(called === undefined ? {} : nameOf(called)), ...as }
    if (repository === undefined) {
      const why = `${descriptor.digest} has no name in the archive: give it one with --as`
      throw new RegistryError('NAME_INVALID', why)
    }
    return { descriptor, name: { repository, ...(tag === undefined ? {} : { tag }) } }
  })
}

/** What an archive calls an image: a tag, or a name, which may begin with a registry's. */
function nameOf(text: string): { readonly repository?: string; readonly tag?: string } {
  if (isTag(text)) return { tag: text }
  const [, path = '', tag = 'latest'] = /^(.*?)(?::([^:/@]+))?(?:@.*)?$/.exec(text) ?? []
  const [first = '', ...rest] = path.split('/')
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost')
  const repository = isHost ? rest.join('/') : path
  if (!isRepositoryName(repository) || !isTag(tag)) {
    throw new RegistryError('NAME_INVALID', `"${text.slice(0, 256)}" can be no name here: give another one with --as`)
  }
  return { repository, tag }
}

const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd])

/** Docker's layers are not compressed, podman's may be. */
function layerType({ magic }: StagedFile): string {
  const type = 'application/vnd.oci.image.layer.v1.tar'
  if (magic[0] === 0x1f && magic[1] === 0x8b) return `${type}+gzip`
  return magic.subarray(0, ZSTD.length).equals(ZSTD) ? `${type}+zstd` : type
}

function parseIndex(bytes: Buffer): readonly Descriptor[] {
  try {
    return parseManifest(bytes, MEDIA_TYPES.ociIndex).manifests
  } catch (cause) {
    throw invalid(`${INDEX_FILE} can not be read`, cause)
  }
}

function parseDocker(bytes: Buffer): DockerImage[] {
  let images: unknown
  try {
    images = JSON.parse(bytes.toString())
  } catch (cause) {
    throw invalid(`${DOCKER_FILE} is no JSON`, cause)
  }
  const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 4096
  const isImage = (value: unknown): value is DockerImage => {
    const { Config, RepoTags, Layers } = (value ?? {}) as Partial<Record<keyof DockerImage, unknown>>
    const areTags = RepoTags === null || (Array.isArray(RepoTags) && RepoTags.every(isText))
    return isText(Config) && Array.isArray(Layers) && Layers.every(isText) && areTags
  }
  if (!Array.isArray(images) || !images.every(isImage)) throw invalid(`${DOCKER_FILE} can not be read`)
  return images
}

import { type DigestAlgorithm, digestOf, MEDIA_TYPES } from '@shoal/core'
import { type AskTarget, pushBlob } from './target.ts'

/** A manifest that a registry must take, and give back as it is. */
export interface Pushed {
  readonly digest: string
  readonly bytes: Buffer
  readonly mediaType: string
}

/** Pushes what a manifest needs and then the manifest, to a repository; by digest, or by a tag. */
export type DataSet = (target: AskTarget, repository: string, reference?: string) => Promise<Pushed>

const LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip'

async function part(target: AskTarget, repository: string, mediaType: string, content: string | Buffer, more = {}) {
  const bytes = Buffer.from(content)
  return { mediaType, digest: await pushBlob(target, repository, bytes), size: bytes.length, ...more }
}

async function put(
  target: AskTarget,
  repository: string,
  manifest: object,
  reference?: string,
  algorithm: DigestAlgorithm = 'sha256',
): Promise<Pushed> {
  const bytes = Buffer.from(JSON.stringify(manifest))
  const digest = digestOf(bytes, algorithm)
  const { mediaType = MEDIA_TYPES.ociManifest } = manifest as { mediaType?: string }
  const path = `/v2/${repository}/manifests/${reference ?? digest}`
  const answer = await target('PUT', path, { body: bytes, headers: { 'content-type': mediaType } })
  if (answer.status !== 201) throw new Error(`the push of a manifest was answered ${answer.status}: ${answer.bytes}`)
  return { digest, bytes, mediaType }
}

/** An image whose parts follow from `seed`, with more or other fields. */
export function image(seed: string, more: object = {}, algorithm?: DigestAlgorithm): DataSet {
  return async (target, repository, reference) => {
    const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Env: [seed] }, rootfs: {} })
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: await part(target, repository, MEDIA_TYPES.ociConfig, config),
      layers: [await part(target, repository, LAYER, `layer of ${seed}`)],
      ...more,
    }
    return put(target, repository, manifest, reference, algorithm)
  }
}

/** An artifact; its type is that of its config when `artifactType` is undefined. */
export function artifact(
  seed: string,
  { artifactType, configType = MEDIA_TYPES.ociEmpty as string, subject, annotations = {} }: ArtifactOptions = {},
): DataSet {
  return async (target, repository, reference) => {
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      ...(artifactType === undefined ? {} : { artifactType }),
      config: await part(target, repository, configType, '{}', { data: 'e30=' }),
      layers: [await part(target, repository, 'application/octet-stream', seed)],
      ...(subject === undefined ? {} : { subject }),
      annotations: { 'org.example.seed': seed, ...annotations },
    }
    return put(target, repository, manifest, reference)
  }
}

interface ArtifactOptions {
  readonly artifactType?: string
  readonly configType?: string
  readonly subject?: object
  readonly annotations?: Record<string, string>
}

/** What the manifest of a data set is called by others. */
export function descriptorOf({ digest, bytes, mediaType }: Pushed): object {
  return { mediaType, digest, size: bytes.length }
}

/** An index of data sets. */
export function index(children: readonly DataSet[], more: object = {}): DataSet {
  return async (target, repository, reference) => {
    const manifests: object[] = []
    for (const child of children) {
      const platform = { os: 'linux', architecture: `arch${manifests.length}` }
      manifests.push({ ...descriptorOf(await child(target, repository)), platform })
    }
    const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests, ...more }
    return put(target, repository, manifest, reference)
  }
}

/** One of Docker's, of before there was OCI. */
const docker: DataSet = async (target, repository, reference) => {
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.dockerManifest,
    config: await part(target, repository, 'application/vnd.docker.container.image.v1+json', '{"os": "linux"}'),
    layers: [await part(target, repository, 'application/vnd.docker.image.rootfs.diff.tar.gzip', 'docker layer')],
  }
  return put(target, repository, manifest, reference)
}

const dockerList: DataSet = async (target, repository, reference) => {
  const platform = { os: 'linux', architecture: 'amd64' }
  const manifests = [{ ...descriptorOf(await docker(target, repository)), platform }]
  return put(target, repository, { schemaVersion: 2, mediaType: MEDIA_TYPES.dockerList, manifests }, reference)
}

/** Layers that are elsewhere need not be in the registry. */
const nondistributable: DataSet = async (target, repository, reference) => {
  const mediaType = 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
  const foreign = { mediaType, digest: digestOf('not here'), size: 8, urls: ['https://example.org/layer'] }
  return image('foreign', { layers: [foreign] })(target, repository, reference)
}

/** Bytes that fill a manifest to nearly the 4 MiB that every registry must take. */
const LARGE = 'x'.repeat(3_900_000)

/** The manifests that the suite pushes, by what they are. */
export const DATA_SETS: Readonly<Record<string, DataSet>> = {
  image: image('plain'),
  'image by sha512': image('by sha512', {}, 'sha512'),
  'image without layers': image('no layers', { layers: [] }),
  'image with fields of its own': image('custom fields', { 'org.example.field': { any: [1, null] } }),
  'image without a media type in it': image('no media type', { mediaType: undefined }),
  'image of nearly 4 MiB': image('large', { annotations: { 'org.example.large': LARGE } }),
  'image with nondistributable layers': nondistributable,
  index: index([image('one'), image('two')]),
  'index of nothing': index([]),
  'index of an index': index([index([image('deep')]), image('beside')]),
  'index with a subject that is not there': index([image('a')], {
    subject: { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf('nothing'), size: 7 },
    artifactType: 'application/vnd.example.index',
  }),
  'artifact with a type': artifact('typed', { artifactType: 'application/vnd.example.sbom' }),
  'artifact with the type of its config': artifact('config', { configType: 'application/vnd.example.config.v1+json' }),
  'wasm module': artifact('wasm', { configType: 'application/vnd.wasm.config.v0+json' }),
  "Docker's manifest": docker,
  "Docker's list": dockerList,
}

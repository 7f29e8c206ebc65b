import { readFile } from 'node:fs/promises'
import { type Descriptor, MEDIA_TYPES } from '@shoal/core'
import { KitError } from './errors.ts'
import { type Layer, type LayerEncoding, type Layout, LayoutWriter } from './layout.ts'
import { findCommand } from './missing.ts'
import { randomContent } from './random-content.ts'
import type { TarEntry } from './tar.ts'

/** A layer beside busybox's own, with one file of incompressible content. */
interface ExtraLayer {
  /** Bytes of the file; the layer is a little larger. */
  readonly sizeBytes: number
  /** Equal seeds and sizes make equal layers, also in different images; the layer's number unless told. */
  readonly seed?: string
  /** `stored` unless told. */
  readonly encoding?: LayerEncoding
}

/** What a runnable image is made of. */
export interface ImageSpec {
  /** What its command prints, on a line of its own. */
  readonly line: string
  readonly tag?: string
  /** Media types: OCI, or Docker schema 2. */
  readonly format?: 'oci' | 'docker'
  readonly extraLayers?: readonly ExtraLayer[]
  /**
   * More than one makes an index, or a Docker manifest list. Only the one of this machine can run: the others hold
   * its busybox, and a layer that tells them apart.
   */
  readonly architectures?: readonly ('amd64' | 'arm64')[]
}

const TYPES = {
  oci: {
    manifest: MEDIA_TYPES.ociManifest,
    index: MEDIA_TYPES.ociIndex,
    config: MEDIA_TYPES.ociConfig,
    layer: { gzip: 'application/vnd.oci.image.layer.v1.tar+gzip', tar: 'application/vnd.oci.image.layer.v1.tar' },
  },
  docker: {
    manifest: MEDIA_TYPES.dockerManifest,
    index: MEDIA_TYPES.dockerList,
    config: 'application/vnd.docker.container.image.v1+json',
    layer: {
      gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
      tar: 'application/vnd.docker.image.rootfs.diff.tar',
    },
  },
} as const

/** This machine's architecture, by its OCI name. */
export const HOST_ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64'

/** Makes an image in the empty `folder`, whose command prints a line. Needs busybox-static. */
export async function buildImage(folder: string, spec: ImageSpec): Promise<Layout> {
  const { tag = 'latest', format = 'oci', architectures = [HOST_ARCHITECTURE] } = spec
  const writer = new LayoutWriter(folder)
  const layers = [await busyboxLayer(writer, format)]
  for (const [index, layer] of (spec.extraLayers ?? []).entries()) {
    const { sizeBytes, seed = String(index), encoding = 'stored' } = layer
    layers.push(await randomLayer(writer, format, sizeBytes, seed, encoding))
  }
  const manifests: Descriptor[] = []
  for (const architecture of architectures) {
    const own =
      architecture === HOST_ARCHITECTURE ? [] : [await randomLayer(writer, format, 65_536, architecture, 'stored')]
    manifests.push(await imageManifest(writer, format, architecture, [...layers, ...own], spec.line))
  }
  const [only] = manifests
  if (only === undefined) throw new KitError('FIXTURE_INVALID', 'an image needs an architecture')
  if (manifests.length === 1) {
    const { platform: _, ...root } = only
    return writer.finish(root, tag)
  }
  const index = { schemaVersion: 2, mediaType: TYPES[format].index, manifests }
  return writer.finish(await writer.addJson(index.mediaType, index), tag)
}

/**
 * An OCI artifact whose layers are the given bytes as they are, for example none or one: no runtime can unpack such
 * layers, so they are for raw HTTP and for tools that only copy.
 * Source: OCI image-spec 1.1, manifest.md, "Guidelines for Artifact Usage".
 */
export async function buildArtifact(folder: string, contents: readonly Uint8Array[], tag = 'latest'): Promise<Layout> {
  const writer = new LayoutWriter(folder)
  const layers: Descriptor[] = []
  for (const content of contents) layers.push(await writer.addBlob('application/octet-stream', content))
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    artifactType: 'application/vnd.shoal.test',
    config: await writer.addBlob(MEDIA_TYPES.ociEmpty, '{}'),
    layers,
  }
  return writer.finish(await writer.addJson(manifest.mediaType, manifest), tag)
}

async function imageManifest(
  writer: LayoutWriter,
  format: 'oci' | 'docker',
  architecture: string,
  layers: readonly Layer[],
  line: string,
): Promise<Descriptor> {
  const types = TYPES[format]
  const config = await writer.addJson(types.config, {
    created: '1970-01-01T00:00:00Z',
    architecture,
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/echo', line] },
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
  })
  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config,
    layers: layers.map((layer) => layer.descriptor),
  }
  return { ...(await writer.addJson(types.manifest, manifest)), platform: { architecture, os: 'linux' } }
}

async function busyboxLayer(writer: LayoutWriter, format: 'oci' | 'docker'): Promise<Layer> {
  const path = findCommand('busybox')
  if (path === undefined) throw new KitError('FIXTURE_INVALID', 'no busybox: apt-get install busybox-static')
  const busybox = await readFile(path)
  const entries: TarEntry[] = [
    { kind: 'folder', path: 'bin' },
    { kind: 'file', path: 'bin/busybox', mode: 0o755, sizeBytes: busybox.length, content: [busybox] },
    ...['cat', 'echo', 'sh'].map((name): TarEntry => ({ kind: 'link', path: `bin/${name}`, target: 'busybox' })),
  ]
  return writer.addLayer(TYPES[format].layer.gzip, entries, 'gzip')
}

function randomLayer(
  writer: LayoutWriter,
  format: 'oci' | 'docker',
  sizeBytes: number,
  seed: string,
  encoding: LayerEncoding,
): Promise<Layer> {
  const entries: TarEntry[] = [
    { kind: 'folder', path: 'data' },
    { kind: 'file', path: `data/random-${seed}`, sizeBytes, content: randomContent(seed, sizeBytes) },
  ]
  return writer.addLayer(TYPES[format].layer[encoding === 'tar' ? 'tar' : 'gzip'], entries, encoding)
}

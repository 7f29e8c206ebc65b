/** Files of an image layout. Source: OCI image-spec 1.1, image-layout.md. */
export const LAYOUT_FILE = 'oci-layout'
export const INDEX_FILE = 'index.json'
export const LAYOUT = JSON.stringify({ imageLayoutVersion: '1.0.0' })

/** File of `docker save`, which old Dockers load. Source: moby/moby, image/spec/v1.2.md. */
export const DOCKER_FILE = 'manifest.json'

/** The tag of an image in a layout. Source: OCI image-spec 1.1, annotations.md. */
export const REF_NAME = 'org.opencontainers.image.ref.name'
/** The image's whole name in containerd's archives. */
export const CONTAINERD_NAME = 'io.containerd.image.name'

/** One image of `docker save`. */
export interface DockerImage {
  readonly Config: string
  readonly RepoTags: readonly string[] | null
  readonly Layers: readonly string[]
}

const BLOB = /^blobs\/([a-z0-9]+)\/([0-9a-f]+)$/

/** Where a content is in a layout. */
export function blobFile({ algorithm, hex }: { readonly algorithm: string; readonly hex: string }): string {
  return `blobs/${algorithm}/${hex}`
}

/** The digest, as text, that a file of a layout must have; undefined for other files. */
export function digestOfFile(name: string): string | undefined {
  const [, algorithm, hex] = BLOB.exec(name) ?? []
  return hex === undefined ? undefined : `${algorithm}:${hex}`
}

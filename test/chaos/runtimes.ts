import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Place, Places } from '@shoal/bench'
import { buildImage } from '../kit/images.ts'
import { blobPath } from '../kit/layout.ts'
import { pushLayout } from '../kit/push-layout.ts'
import { type Containerd, startContainerd } from '../kit/runtimes/containerd.ts'
import { type Docker, startDocker } from '../kit/runtimes/docker.ts'
import { TestBed } from '../kit/test-bed.ts'

const REPOSITORY = 'chaos/runtimes'
const LAYER_BYTES = 8 * 1024 * 1024

/** An image that was pushed for the runtimes. */
interface PushedImage {
  readonly tag: string
  /** Digest of its config: the id that runtimes give it. */
  readonly id: string
  readonly sizeBytes: number
}

/**
 * A containerd and a Docker, each beside a peer that no row strikes, of which every run has them pull an image through
 * their peer while all pull the blob. containerd pulls as it does for the kubelet, Docker by the mirror's address.
 */
export class Runtimes {
  readonly #bed: TestBed
  readonly #registry: string
  readonly #mirror: string
  readonly #containerd: Containerd
  readonly #docker: Docker
  #images = 0

  private constructor(bed: TestBed, registry: Place, mirror: string, containerd: Containerd, docker: Docker) {
    this.#bed = bed
    this.#registry = `${registry.host}:${registry.ports[0]}`
    this.#mirror = mirror
    this.#containerd = containerd
    this.#docker = docker
  }

  /** Starts both, in the network namespaces of the second and the third node. */
  static async start({ registry, nodes }: Places): Promise<Runtimes> {
    const bed = new TestBed()
    const [, second, third] = nodes
    if (second === undefined || third === undefined) throw new Error('the runtimes need three nodes')
    const mirror = `127.0.0.1:${second.ports[0]}`
    const name = `${registry.host}:${registry.ports[0]}`
    try {
      const hosts = [{ registry: name, mirrors: [`http://${mirror}`], server: `http://${name}` }]
      const containerd = await startContainerd(bed, { hosts, launcher: inNetworkOf(second) })
      const docker = await startDocker(bed, { launcher: inNetworkOf(third) })
      return new Runtimes(bed, registry, mirror, containerd, docker)
    } catch (error) {
      await bed.tearDown()
      throw error
    }
  }

  /** Pushes an image that nobody has seen before. */
  async push(): Promise<PushedImage> {
    const tag = `image-${this.#images++}`
    const folder = await this.#bed.folder(tag)
    const layout = await buildImage(folder, { line: tag, extraLayers: [{ sizeBytes: LAYER_BYTES, seed: tag }] })
    await pushLayout(`http://${this.#registry}`, REPOSITORY, tag, layout)
    const manifest = JSON.parse(await readFile(blobPath(layout.folder, layout.root.digest), 'utf8')) as Manifest
    const blobs = [manifest.config, ...manifest.layers]
    await rm(folder, { recursive: true })
    return { tag, id: manifest.config.digest, sizeBytes: blobs.reduce((sum, { size }) => sum + size, 0) }
  }

  /** Has both pull the image, once; why they could not, none when all went well. */
  async pull({ tag, id }: PushedImage): Promise<string[]> {
    const byContainerd = `${this.#registry}/${REPOSITORY}:${tag}`
    const byDocker = `${this.#mirror}/${REPOSITORY}:${tag}`
    const pulls = {
      containerd: this.#containerd.criPull(byContainerd),
      Docker: this.#docker.pull(byDocker).then(() => this.#docker.idOf(byDocker)),
    }
    const complaints = Object.entries(pulls).map(async ([name, pull]) => {
      try {
        const got = await pull
        return got === id ? [] : [`${name} has the image ${got}, not ${id}`]
      } catch (error) {
        return [`${name} could not pull: ${error instanceof Error ? error.message : error}`]
      }
    })
    return (await Promise.all(complaints)).flat()
  }

  /** Ends both. */
  stop(): Promise<void> {
    return this.#bed.tearDown()
  }
}

interface Manifest {
  readonly config: { readonly digest: string; readonly size: number }
  readonly layers: readonly { readonly size: number }[]
}

/** The command that starts another in the network of a place, and leaves it the machine's mounts, unlike `ip netns`. */
function inNetworkOf({ namespace }: Place): string[] {
  return ['nsenter', `--net=${join('/run/netns', namespace ?? '')}`]
}

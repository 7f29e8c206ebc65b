import { join } from 'node:path'
import type { Place, Places, Workload } from '@shoal/bench'
import { MEDIA_TYPES } from '@shoal/core'
import { HOST_ARCHITECTURE } from '../kit/images.ts'
import { LayoutWriter } from '../kit/layout.ts'
import { pushLayout } from '../kit/push-layout.ts'
import { type Containerd, startContainerd } from '../kit/runtimes/containerd.ts'
import { type Docker, startDocker } from '../kit/runtimes/docker.ts'
import { writeTar } from '../kit/tar.ts'
import { TestBed } from '../kit/test-bed.ts'

const TAG = 'runtimes'
const TAR_BLOCK_BYTES = 512

/** An image that was pushed for the runtimes. */
interface PushedImage {
  readonly repository: string
  /** Digest of its config: the id that runtimes give it. */
  readonly id: string
}

/**
 * A containerd and a Docker, each beside a peer that no row kills or stops, which have every run's blob pulled through
 * their peers too, as the one layer of an image, while all pull it. containerd pulls as it does for the kubelet, and
 * may go on to the registry where its peer is gone, as users are told to set it up; Docker pulls by the mirror's
 * address, and has no other way than to ask it again.
 */
export class Runtimes {
  readonly #bed: TestBed
  readonly #registry: string
  readonly #mirror: string
  readonly #containerd: Containerd
  readonly #docker: Docker
  #layers = 0

  private constructor(bed: TestBed, registry: string, mirror: string, containerd: Containerd, docker: Docker) {
    this.#bed = bed
    this.#registry = registry
    this.#mirror = mirror
    this.#containerd = containerd
    this.#docker = docker
  }

  /** Starts both, in the network namespaces of the second and the third node, with all that they keep in `folder`. */
  static async start({ registry, nodes }: Places, folder: string): Promise<Runtimes> {
    const [, second, third] = nodes
    if (second === undefined || third === undefined) throw new Error('the runtimes need three nodes')
    const bed = new TestBed(folder)
    const mirror = `127.0.0.1:${second.ports[0]}`
    const name = `${registry.host}:${registry.ports[0]}`
    try {
      const hosts = [{ registry: name, mirrors: [`http://${mirror}`], server: `http://${name}` }]
      const containerd = await startContainerd(bed, { hosts, launcher: inNetworkOf(second) })
      const docker = await startDocker(bed, { launcher: inNetworkOf(third) })
      return new Runtimes(bed, name, mirror, containerd, docker)
    } catch (error) {
      await bed.tearDown()
      throw error
    }
  }

  /**
   * What makes a layer of a blob that begins with it: the head of a tar of one file. The tar has no end mark, which Go's
   * reader, that of both runtimes, does without. No two are equal, so that no runtime has the layer from another run.
   * @param sizeBytes of the blob, whole blocks of 512
   */
  layerStart(sizeBytes: number): Buffer {
    const path = `layer-${this.#layers++}`
    const [head] = writeTar([{ kind: 'file', path, sizeBytes: sizeBytes - TAR_BLOCK_BYTES, content: [] }])
    return Buffer.from(head as Uint8Array)
  }

  /** Pushes an image whose one layer is the blob of a workload, which the registry has. */
  async push({ blobs: [blob] }: Workload): Promise<PushedImage> {
    if (blob === undefined) throw new Error('the workload has no blob')
    const { repository, digest, sizeBytes: size } = blob
    const writer = new LayoutWriter(await this.#bed.folder(TAG))
    const config = await writer.addJson(MEDIA_TYPES.ociConfig, {
      architecture: HOST_ARCHITECTURE,
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [digest] },
    })
    const mediaType = MEDIA_TYPES.ociManifest
    const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest, size }]
    const root = await writer.addJson(mediaType, { schemaVersion: 2, mediaType, config, layers })
    await pushLayout(`http://${this.#registry}`, repository, TAG, await writer.finish(root, TAG))
    return { repository, id: config.digest }
  }

  /** Has both pull the image, once, and remove it; why they could not, none when all went well. */
  async pull({ repository, id }: PushedImage): Promise<string[]> {
    const byContainerd = `${this.#registry}/${repository}:${TAG}`
    const byDocker = `${this.#mirror}/${repository}:${TAG}`
    const pulls = {
      containerd: async () => {
        const got = await this.#containerd.criPull(byContainerd)
        await this.#containerd.criRemove(byContainerd)
        return got
      },
      Docker: async () => {
        await this.#docker.pull(byDocker)
        const got = await this.#docker.idOf(byDocker)
        await this.#docker.remove(byDocker)
        return got
      },
    }
    const complaints = Object.entries(pulls).map(async ([name, pull]) => {
      try {
        const got = await pull()
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

/** The command that starts another in the network of a place, and leaves it the machine's mounts, unlike `ip netns`. */
function inNetworkOf({ namespace }: Place): string[] {
  return ['nsenter', `--net=${join('/run/netns', namespace ?? '')}`]
}

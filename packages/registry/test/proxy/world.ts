import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { content, pushImageBlobs, pushManifest, type RunningRegistry, startRegistry } from '../running-registry.ts'
import { Gate } from './gate.ts'

export const HUB = 'docker.io'
export const APP = 'library/app'
export const LOCAL = `${HUB}/${APP}`
export const BIG = content('big', 3_000_000)

/** A registry, a gate before it, and registries that take the gate for Docker Hub. */
export class World {
  readonly upstream: RunningRegistry
  readonly gate: Gate
  readonly #cleanups: (() => Promise<unknown>)[]

  private constructor(upstream: RunningRegistry, gate: Gate) {
    this.upstream = upstream
    this.gate = gate
    this.#cleanups = [upstream.dispose, () => gate.close()]
  }

  static async start(): Promise<World> {
    const upstream = await startRegistry()
    return new World(upstream, await Gate.before(upstream.url))
  }

  /** Has something done when the test is over, before what was asked for earlier. */
  atEnd(cleanup: () => Promise<unknown>): void {
    this.#cleanups.push(cleanup)
  }

  async dispose(): Promise<void> {
    this.gate.release()
    for (const cleanup of this.#cleanups.reverse()) await cleanup()
  }

  async startProxy(proxy: object = {}, more: Record<string, unknown> = {}): Promise<RunningRegistry> {
    const upstreams = { [HUB]: { url: this.gate.url } }
    const limits = { progressTimeoutMs: 1000 }
    const registry = await startRegistry({ proxy: { upstreams, limits, ...proxy }, ...more })
    this.atEnd(registry.dispose)
    return registry
  }

  /** An image of the upstream; returns its manifest's digest and bytes, and the digest of its layer. */
  async pushImage(tag: string, seed = tag, repository = APP) {
    const manifest = await pushImageBlobs(this.upstream.url, repository, seed)
    const { digest, bytes } = await pushManifest(this.upstream.url, repository, tag, manifest)
    const [layer] = manifest.layers as { digest: string }[]
    return { digest, bytes, layer: layer?.digest ?? '' }
  }
}

export const filesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => [])

/** Waits until a blob is kept, as the upstream is not asked for it any more. */
export async function kept(proxy: RunningRegistry, digest: string): Promise<void> {
  const path = join(proxy.dataDir, 'docker/registry/v2/repositories', LOCAL, '_layers', ...digest.split(':'))
  while (!(await filesIn(path)).includes('link')) await new Promise((resolve) => setTimeout(resolve, 5))
}

export const blobUrl = (proxy: RunningRegistry, digest: string) => `${proxy.url}/v2/${LOCAL}/blobs/${digest}`
export const manifestUrl = (proxy: RunningRegistry, reference: string) =>
  `${proxy.url}/v2/${LOCAL}/manifests/${reference}`

import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type RegistryHosts, writeHostsToml } from '../certs-d.ts'
import { unmountUnder } from '../mounts.ts'
import { type Launched, launch, run } from '../process.ts'
import { killProcessesNaming } from '../process-table.ts'
import type { TestBed } from '../test-bed.ts'
import { criAnswers, criPullImage, criRemoveImage, type PullSecret } from './cri.ts'

/** Where the kubelet's images are; `ctr` uses `default` unless told. */
export const CRI_NAMESPACE = 'k8s.io'

/** How a containerd is started. */
export interface ContainerdOptions {
  /** Shown in errors, where several run side by side. */
  readonly name?: string
  /** Mirrors that every pull goes through, by registry. */
  readonly hosts?: readonly RegistryHosts[]
  /** A command that starts another, e.g. in a namespace; none unless told. */
  readonly launcher?: readonly string[]
}

/** A containerd with root, state and socket of its own; several run side by side. */
export class Containerd {
  readonly socketPath: string
  /** Its `certs.d`, read anew at each pull. */
  readonly certsFolder: string
  /** Where it keeps blobs. */
  readonly contentFolder: string
  readonly #folder: string
  readonly #daemon: Launched

  constructor(folder: string, daemon: Launched) {
    this.#folder = folder
    this.#daemon = daemon
    this.socketPath = join(folder, 'containerd.sock')
    this.certsFolder = join(folder, 'certs.d')
    this.contentFolder = join(folder, 'root/io.containerd.content.v1.content')
  }

  /** Runs `ctr` against it; returns what it printed. */
  async ctr(args: readonly string[], namespace = 'default'): Promise<string> {
    return (await run('ctr', ['--address', this.socketPath, '--namespace', namespace, ...args])).stdout
  }

  /**
   * Pulls as `ctr images pull` does; mirrors come from `certsFolder`.
   * @param reference with its registry, for example `docker.io/library/app:1`
   * @param args more of its flags, for example `['--user', 'name:password']`
   */
  async pull(reference: string, args: readonly string[] = []): Promise<void> {
    await this.ctr(['images', 'pull', '--hosts-dir', this.certsFolder, ...args, reference])
  }

  /** Pulls as the kubelet does. Returns the image's id (the digest of its config). */
  criPull(reference: string, secret?: PullSecret): Promise<string> {
    return criPullImage(this.socketPath, reference, secret)
  }

  /** Removes an image, and what only it used, as the kubelet does. */
  criRemove(reference: string): Promise<void> {
    return criRemoveImage(this.socketPath, reference)
  }

  /** Runs a pulled image's command in a container; returns what it printed. */
  async run(reference: string, namespace = 'default'): Promise<string> {
    return this.ctr(['run', '--rm', reference, `run-${randomUUID()}`], namespace)
  }

  /** Digests of all content it holds. */
  async contentDigests(namespace = 'default'): Promise<ReadonlySet<string>> {
    const lines = (await this.ctr(['content', 'ls', '--quiet'], namespace)).split('\n')
    return new Set(lines.filter((line) => line !== ''))
  }

  /** Removes an image and what only it used. */
  async remove(reference: string, namespace = 'default'): Promise<void> {
    await this.ctr(['images', 'rm', '--sync', reference], namespace)
  }

  /** Ends it, its shims, and its mounts. */
  async stop(): Promise<void> {
    await this.#daemon.stop()
    await killProcessesNaming(this.#folder)
    await unmountUnder(this.#folder)
  }
}

/** Starts a containerd with the CRI plugin and waits until it answers. */
export async function startContainerd(bed: TestBed, options: ContainerdOptions = {}): Promise<Containerd> {
  const { name = 'containerd', hosts = [], launcher = [] } = options
  const folder = await bed.folder(name)
  const configPath = join(folder, 'config.toml')
  await writeFile(configPath, config(folder))
  await mkdir(join(folder, 'certs.d'))
  for (const entry of hosts) await writeHostsToml(join(folder, 'certs.d'), entry)
  const [command = '', ...args] = [...launcher, 'containerd', '--config', configPath]
  const daemon = await launch(name, command, args)
  const containerd = bed.use(new Containerd(folder, daemon))
  await daemon.waitForLine(/containerd successfully booted/)
  // The CRI plugin comes a little later.
  await daemon.waitUntil('CRI', () => criAnswers(containerd.socketPath))
  return containerd
}

// Content is kept apart by namespace, so that a pull in one is never satisfied by what another holds. The plugins left
// out write outside the folder, or want devices.
function config(folder: string): string {
  return `version = 2
root = ${JSON.stringify(join(folder, 'root'))}
state = ${JSON.stringify(join(folder, 'state'))}
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]

[grpc]
  address = ${JSON.stringify(join(folder, 'containerd.sock'))}

[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = ${JSON.stringify(join(folder, 'certs.d'))}
`
}

import { randomUUID } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { type RegistryHosts, writeHostsToml } from '../certs-d.ts'
import { unmountUnder } from '../mounts.ts'
import { type Launched, launch, run } from '../process.ts'
import { killProcessesNaming } from '../process-table.ts'
import type { TestBed } from '../test-bed.ts'
import { CONTAINERD2_FOLDER, containerd2 } from './containerd2.ts'
import { criAnswers, criPullImage, criRemoveImage, type PullSecret } from './cri.ts'

const DEBIAN: ContainerdRelease = { release: '1.x', configVersion: 2 }

interface Programs {
  readonly containerd: string
  readonly ctr: string
}
const ON_PATH: Programs = { containerd: 'containerd', ctr: 'ctr' }

const table = (plugin: string) => `[plugins."${plugin}".registry]\n  config_path = "/etc/containerd/certs.d"`
const TABLES = {
  2: table('io.containerd.grpc.v1.cri'),
  3: table('io.containerd.cri.v1.images'),
  4: table('io.containerd.cri.v1.images'),
} as const

/** Where the kubelet's images are; `ctr` uses `default` unless told. */
export const CRI_NAMESPACE = 'k8s.io'

/** A containerd with a version of its configuration that it reads. */
export type ContainerdRelease =
  | { readonly release: '1.x'; readonly configVersion: 2 }
  | { readonly release: '2.x'; readonly configVersion: 2 | 3 | 4 }

/** How a containerd is started. */
export interface ContainerdOptions {
  /** Debian's 1.x unless told. */
  readonly kind?: ContainerdRelease
  /** Lines of its configuration that name `/etc/containerd/certs.d`, which stands for its own folder. */
  readonly registryTable?: string
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
  readonly #programs: Programs

  constructor(folder: string, daemon: Launched, programs: Programs) {
    this.#folder = folder
    this.#daemon = daemon
    this.#programs = programs
    this.socketPath = join(folder, 'containerd.sock')
    this.certsFolder = join(folder, 'certs.d')
    this.contentFolder = join(folder, 'root/io.containerd.content.v1.content')
  }

  /** Runs `ctr` against it; returns what it printed. */
  async ctr(args: readonly string[], namespace = 'default'): Promise<string> {
    return (await run(this.#programs.ctr, ['--address', this.socketPath, '--namespace', namespace, ...args])).stdout
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
  const {
    name = 'containerd',
    hosts = [],
    launcher = [],
    kind = DEBIAN,
    registryTable = TABLES[kind.configVersion],
  } = options
  const folder = await bed.folder(name)
  const configPath = join(folder, 'config.toml')
  await writeFile(configPath, config(folder, kind.configVersion, registryTable))
  await mkdir(join(folder, 'certs.d'))
  for (const entry of hosts) await writeHostsToml(join(folder, 'certs.d'), entry)
  const programs = kind.release === '2.x' ? { containerd: containerd2('containerd'), ctr: containerd2('ctr') } : ON_PATH
  const [command = '', ...args] = [...launcher, programs.containerd, '--config', configPath]
  // Its shim is looked for on the PATH.
  const env = kind.release === '2.x' ? { PATH: `${CONTAINERD2_FOLDER}${delimiter}${process.env.PATH}` } : {}
  const daemon = await launch(name, command, args, { env })
  const containerd = bed.use(new Containerd(folder, daemon, programs))
  await daemon.waitForLine(/containerd successfully booted/)
  // The CRI plugin comes a little later.
  await daemon.waitUntil('CRI', () => criAnswers(containerd.socketPath))
  return containerd
}

// Content is kept apart by namespace, so that a pull in one is never satisfied by what another holds. The plugins left
// out write outside the folder, or want devices. Without CAP_SYS_RESOURCE no process may have a lower oom_score_adj.
function config(folder: string, version: 2 | 3 | 4, registryTable: string): string {
  const server = version === 4 ? '[plugins."io.containerd.server.v1.grpc"]' : '[grpc]'
  return `version = ${version}
root = ${JSON.stringify(join(folder, 'root'))}
state = ${JSON.stringify(join(folder, 'state'))}
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

${server}
  address = ${JSON.stringify(join(folder, 'containerd.sock'))}

[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"

${registryTable.replace('/etc/containerd/certs.d', join(folder, 'certs.d'))}
`
}

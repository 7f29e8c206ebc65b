import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unmountUnder } from '../mounts.ts'
import { type CommandOutput, run } from '../process.ts'
import { killProcessesNaming } from '../process-table.ts'
import type { TestBed } from '../test-bed.ts'

/** Where podman is to look for the images of a registry. */
interface PodmanRegistry {
  /** The registry as references name it, for example `registry.test`. */
  readonly registry: string
  /** `host:port` asked first, in this order, without TLS. */
  readonly mirrors: readonly string[]
  /** `host:port` asked last; the registry's own name unless told. */
  readonly location?: string
}

/** How podman is set up. */
export interface PodmanOptions {
  readonly storageDriver?: 'overlay' | 'vfs'
  readonly registries?: readonly PodmanRegistry[]
}

/** A podman with storage and configuration of its own. It has no daemon. */
export class Podman {
  readonly #folder: string
  readonly #storageDriver: string

  constructor(folder: string, storageDriver: string) {
    this.#folder = folder
    this.#storageDriver = storageDriver
  }

  /** Runs podman. */
  podman(args: readonly string[], input?: string): Promise<CommandOutput> {
    const storage = ['--root', join(this.#folder, 'root'), '--runroot', join(this.#folder, 'run')]
    return run('podman', [...storage, '--storage-driver', this.#storageDriver, ...args], {
      env: {
        CONTAINERS_CONF: join(this.#folder, 'containers.conf'),
        CONTAINERS_REGISTRIES_CONF: join(this.#folder, 'registries.conf'),
        REGISTRY_AUTH_FILE: join(this.#folder, 'auth.json'),
        TMPDIR: this.#folder,
      },
      ...(input === undefined ? {} : { input }),
    })
  }

  async pull(reference: string): Promise<void> {
    await this.podman(['pull', '--quiet', reference])
  }

  /** Pushes without TLS. */
  async push(reference: string): Promise<void> {
    await this.podman(['push', '--quiet', '--tls-verify=false', reference])
  }

  async tag(source: string, target: string): Promise<void> {
    await this.podman(['tag', source, target])
  }

  async login(registry: string, username: string, password: string): Promise<void> {
    await this.podman(['login', '--tls-verify=false', '-u', username, '--password-stdin', registry], password)
  }

  /** Runs an image's command in a container; returns what it printed. */
  async run(reference: string): Promise<string> {
    return (await this.podman(['run', '--rm', '--network', 'none', reference])).stdout
  }

  /** Ends what containers it left, and its mounts. */
  async stop(): Promise<void> {
    await killProcessesNaming(this.#folder)
    await unmountUnder(this.#folder)
  }
}

/** Sets up a podman. */
export async function setUpPodman(bed: TestBed, options: PodmanOptions = {}): Promise<Podman> {
  const { storageDriver = 'overlay', registries = [] } = options
  const folder = await bed.folder('podman')
  await writeFile(join(folder, 'containers.conf'), containersConf(folder))
  await writeFile(join(folder, 'registries.conf'), registries.map(registryTable).join('\n'))
  await writeFile(join(folder, 'auth.json'), '{}')
  return bed.use(new Podman(folder, storageDriver))
}

// Limits are set because root's podman raises them to its own defaults, which takes CAP_SYS_RESOURCE: a machine inside
// a container or a micro-VM may lack it ("error setting rlimit type 7"). There is no systemd to ask for cgroups.
function containersConf(folder: string): string {
  return `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = ${JSON.stringify(join(folder, 'tmp'))}
`
}

function registryTable(entry: PodmanRegistry): string {
  const { registry, mirrors, location = registry } = entry
  const tables = mirrors.map((mirror) => `[[registry.mirror]]\nlocation = "${mirror}"\ninsecure = true\n`)
  return `[[registry]]\nprefix = "${registry}"\nlocation = "${location}"\ninsecure = true\n${tables.join('')}`
}

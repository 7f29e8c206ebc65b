import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { unmountUnder } from '../mounts.ts'
import { type CommandOutput, type Launched, launch, run } from '../process.ts'
import { killProcessesNaming } from '../process-table.ts'
import type { TestBed } from '../test-bed.ts'

// Debian's own client fits its daemon; one that came first on PATH may be too new to talk to it.
const DEBIAN_CLIENT = '/usr/bin/docker'

/** How a dockerd is started. */
export interface DockerOptions {
  readonly name?: string
  /** URLs of mirrors; Docker asks them for docker.io only. */
  readonly mirrors?: readonly string[]
  /** `host:port` of registries spoken to without TLS; 127.0.0.0/8 always is. */
  readonly insecureRegistries?: readonly string[]
  /** A command that starts another, e.g. in a namespace; none unless told. */
  readonly launcher?: readonly string[]
}

/** A dockerd (with a containerd of its own) that has no network of containers. */
export class Docker {
  readonly socketPath: string
  readonly #folder: string
  readonly #daemon: Launched

  constructor(folder: string, daemon: Launched) {
    this.#folder = folder
    this.#daemon = daemon
    this.socketPath = join(folder, 'docker.sock')
  }

  /** Runs the docker client against it. */
  docker(args: readonly string[], input?: string): Promise<CommandOutput> {
    return run(existsSync(DEBIAN_CLIENT) ? DEBIAN_CLIENT : 'docker', args, {
      env: { DOCKER_HOST: `unix://${this.socketPath}`, DOCKER_CONFIG: join(this.#folder, 'client') },
      ...(input === undefined ? {} : { input }),
    })
  }

  async pull(reference: string): Promise<void> {
    await this.docker(['pull', reference])
  }

  /** The id of an image that it has: the digest of its config. */
  async idOf(reference: string): Promise<string> {
    return (await this.docker(['image', 'inspect', '--format', '{{.Id}}', reference])).stdout.trim()
  }

  /** Removes an image and what only it used. */
  async remove(reference: string): Promise<void> {
    await this.docker(['image', 'rm', reference])
  }

  async push(reference: string): Promise<void> {
    await this.docker(['push', reference])
  }

  async tag(source: string, target: string): Promise<void> {
    await this.docker(['tag', source, target])
  }

  /** Loads an archive as `docker save`, or skopeo's `docker-archive:`, makes it. */
  async load(archivePath: string): Promise<void> {
    await this.docker(['load', '--input', archivePath])
  }

  async login(registry: string, username: string, password: string): Promise<void> {
    await this.docker(['login', '--username', username, '--password-stdin', registry], password)
  }

  /** Runs an image's command in a container; returns what it printed. */
  async run(reference: string): Promise<string> {
    return (await this.docker(['run', '--rm', '--network', 'none', reference])).stdout
  }

  /** Ends it, its containerd, its shims, and its mounts. */
  async stop(): Promise<void> {
    await this.#daemon.stop('SIGTERM', 20_000)
    await killProcessesNaming(this.#folder)
    await unmountUnder(this.#folder)
  }
}

/** Starts a dockerd and waits until it answers. */
export async function startDocker(bed: TestBed, options: DockerOptions = {}): Promise<Docker> {
  const { name = 'dockerd', mirrors = [], insecureRegistries = [], launcher = [] } = options
  const folder = await bed.folder(name)
  // In place of the machine's own /etc/docker/daemon.json.
  await writeFile(join(folder, 'daemon.json'), '{}')
  const [command = '', ...args] = [
    ...[...launcher, 'dockerd'],
    ...['--config-file', join(folder, 'daemon.json')],
    ...['--data-root', join(folder, 'data'), '--exec-root', join(folder, 'exec')],
    ...['--pidfile', join(folder, 'pid'), '--host', `unix://${join(folder, 'docker.sock')}`],
    ...['--iptables=false', '--ip6tables=false', '--ip-masq=false', '--bridge=none'],
    ...mirrors.flatMap((mirror) => ['--registry-mirror', mirror]),
    ...insecureRegistries.flatMap((registry) => ['--insecure-registry', registry]),
  ]
  const daemon = await launch(name, command, args)
  const docker = bed.use(new Docker(folder, daemon))
  await daemon.waitForLine(/API listen on/)
  return docker
}

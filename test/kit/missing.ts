import { accessSync, constants, readFileSync } from 'node:fs'
import { delimiter, isAbsolute, join } from 'node:path'
import { whyNotShaped } from '@shoal/bench'
import { describe, test } from 'vitest'
import { CONTAINERD2_PROGRAMS, containerd2 } from './runtimes/containerd2.ts'

interface Requirement {
  readonly commands: readonly string[]
  /** What brings them. */
  readonly get: string
  readonly alsoMissing?: () => string | undefined
}

const debian = (packages: string) => `apt-get install --no-install-recommends ${packages}`

const REQUIREMENTS = {
  containerd: { commands: ['containerd', 'ctr', 'runc'], get: debian('containerd runc') },
  containerd2: { commands: [...CONTAINERD2_PROGRAMS.map(containerd2), 'runc'], get: 'npm run test:install' },
  cc: { commands: ['cc'], get: debian('gcc libc6-dev') },
  docker: { commands: ['dockerd', 'docker', 'containerd', 'runc'], get: debian('docker.io containerd runc') },
  podman: { commands: ['podman', 'conmon', 'runc'], get: debian('podman conmon runc') },
  skopeo: { commands: ['skopeo'], get: debian('skopeo') },
  buildah: { commands: ['buildah'], get: debian('buildah') },
  'docker-registry': { commands: ['docker-registry'], get: debian('docker-registry') },
  namespaces: { commands: ['ip', 'tc', 'unshare'], get: debian('iproute2 util-linux'), alsoMissing: noNamespaces },
  busybox: { commands: ['busybox'], get: debian('busybox-static'), alsoMissing: dynamicBusybox },
} satisfies Record<string, Requirement>

const NEED_ROOT: ReadonlySet<string> = new Set([
  'containerd',
  'containerd2',
  'docker',
  'podman',
  'buildah',
  'namespaces',
])

/** A program that tests drive. */
export type Runtime = keyof typeof REQUIREMENTS

/** Path of a command on PATH or in the system folders, where the daemons of a user without sbin are; or a path itself. */
export function findCommand(name: string): string | undefined {
  const folders = isAbsolute(name) ? [''] : [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  for (const folder of folders) {
    const path = join(folder, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not there; perhaps in the next folder.
    }
  }
  return undefined
}

/** Why tests that need these can not run here, and what to do about it; undefined when they can. */
export function whyMissing(runtimes: readonly Runtime[]): string | undefined {
  const reasons: string[] = []
  const needsRoot = runtimes.some((name) => NEED_ROOT.has(name))
  if (needsRoot && process.getuid?.() !== 0) {
    reasons.push('not root: container runtimes and namespaces need it, run the tests as root')
  }
  for (const name of runtimes) {
    const { commands, get, alsoMissing }: Requirement = REQUIREMENTS[name]
    const absent = commands.filter((command) => findCommand(command) === undefined)
    const what = absent.length > 0 ? `no ${absent.join(', ')}` : alsoMissing?.()
    if (what !== undefined) reasons.push(`${what}: ${get}`)
  }
  return reasons.length === 0 ? undefined : reasons.join('; ')
}

/**
 * `describe` for tests that need real programs. Where one is missing they are skipped and the reason is printed;
 * under `CI=true` they fail with it, so that a build that tested nothing is never green.
 */
export function describeWith(runtimes: readonly Runtime[], title: string, define: () => void): void {
  const reason = whyMissing(runtimes)
  if (reason !== undefined && process.env.CI === 'true') {
    describe(title, () => {
      test('can run', () => {
        throw new Error(reason)
      })
    })
    return
  }
  if (reason !== undefined) process.stderr.write(`skipped: ${title}: ${reason}\n`)
  describe.skipIf(reason !== undefined)(title, define)
}

/** Why root can not make namespaces and shape links here. */
function noNamespaces(): string | undefined {
  return process.getuid?.() === 0 ? whyNotShaped() : undefined
}

/** A container holds busybox alone, so it must need no loader. Source: elf(5), program header type PT_INTERP. */
function dynamicBusybox(): string | undefined {
  const path = findCommand('busybox')
  if (path === undefined) return undefined
  const elf = readFileSync(path)
  const [offset, entrySize, entries] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)]
  for (let i = 0; i < entries; i++) {
    if (elf.readUInt32LE(offset + i * entrySize) === 3) return `${path} is not statically linked`
  }
  return undefined
}

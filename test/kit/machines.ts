import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './process.ts'
import type { TestBed } from './test-bed.ts'

/** A machine of its own on a LAN: a network namespace. */
export interface Machine {
  readonly name: string
  /** Its addresses with their prefixes. */
  readonly addresses: readonly string[]
}

/** Makes the machines and a switch between them; all is removed with `bed`. Each resolves its own name as Debian does. */
export async function connectMachines(bed: TestBed, machines: readonly Machine[]): Promise<void> {
  const hub = `hub-${process.pid}`
  bed.use({
    stop: async () => {
      for (const name of [...machines.map(namespaceOf), hub]) {
        // One that could not be made cannot be removed.
        await run('ip', ['netns', 'del', name]).catch(() => {})
        await rm(join('/etc/netns', name), { recursive: true, force: true })
      }
    },
  })
  await run('ip', ['netns', 'add', hub])
  await run('ip', ['-n', hub, 'link', 'add', 'br0', 'type', 'bridge'])
  await run('ip', ['-n', hub, 'link', 'set', 'br0', 'up'])
  for (const [i, machine] of machines.entries()) {
    const name = namespaceOf(machine)
    await run('ip', ['netns', 'add', name])
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
    await run('ip', ['-n', hub, 'link', 'add', `port${i}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name])
    await run('ip', ['-n', hub, 'link', 'set', `port${i}`, 'master', 'br0', 'up'])
    for (const address of machine.addresses) {
      // Without the second in which the kernel asks whether an IPv6 address is taken.
      await run('ip', ['-n', name, 'addr', 'add', address, 'dev', 'eth0', ...(address.includes(':') ? ['nodad'] : [])])
    }
    await run('ip', ['-n', name, 'link', 'set', 'eth0', 'up'])
    const folder = join('/etc/netns', name)
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'hosts'), `127.0.0.1 localhost\n127.0.1.1 ${machine.name}\n::1 localhost\n`)
  }
}

/** The command line that runs a command on a machine. */
export function commandOn(machine: Machine, command: string, args: readonly string[]): [string, string[]] {
  return ['ip', ['netns', 'exec', namespaceOf(machine), command, ...args]]
}

function namespaceOf({ name }: Machine): string {
  return `${name}-${process.pid}`
}

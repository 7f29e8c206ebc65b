import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Launched, type LaunchOptions, launch, run } from './process.ts'
import type { TestBed } from './test-bed.ts'

/** What a machine is like. */
export interface MachineOptions {
  readonly name: string
  /** Its own addresses on the network of all; none of a family: it does not speak that. */
  readonly ipv4?: string
  readonly ipv6?: string
}

/**
 * A machine of its own as far as names and the network go: namespaces for network, mounts and host name, joined to the
 * others by a switch. The kernel ends them with the process that holds them.
 */
export class Machine {
  readonly name: string
  readonly #holder: Launched

  constructor(name: string, holder: Launched) {
    this.name = name
    this.#holder = holder
  }

  /** The process whose namespaces are the machine's. */
  get pid(): number {
    return this.#holder.pid
  }

  /** The command that starts another on this machine. */
  get launcher(): readonly string[] {
    return ['nsenter', `--target=${this.pid}`, '--net', '--mount', '--uts', '--']
  }

  /** Starts a long-running program here. */
  launch(name: string, command: readonly string[], options: LaunchOptions = {}): Promise<Launched> {
    const [program = '', ...args] = [...this.launcher, ...command]
    return launch(`${name} on ${this.name}`, program, args, options)
  }

  /** Runs a command here to its end; returns what it printed. */
  async run(command: readonly string[]): Promise<string> {
    const [program = '', ...args] = [...this.launcher, ...command]
    return (await run(program, args)).stdout
  }

  /** The body of an answer to a GET from here. */
  get(url: string): Promise<string> {
    const script = `const r = await fetch(process.argv[1]); if (!r.ok) throw new Error(r.status); console.log(await r.text())`
    return this.run([process.execPath, '--input-type=module', '--eval', script, url])
  }
}

/**
 * Machines on one network. Each has the hosts file that Debian's installer writes, with its own name for `127.0.1.1`, and
 * then the others' names with the addresses of the families that it speaks itself.
 */
export async function startMachines(bed: TestBed, all: readonly MachineOptions[]): Promise<readonly Machine[]> {
  const folder = await bed.folder('machines')
  const hold = async (name: string, setUp: string) => {
    const script = `set -e; ip link set lo up; ${setUp}; echo held; exec sleep infinity`
    const holder = bed.use(await launch(name, 'unshare', ['--net', '--mount', '--uts', 'sh', '-c', script]))
    await holder.waitForLine(/^held$/, { stream: 'stdout' })
    return new Machine(name, holder)
  }
  const hub = await hold('switch', 'ip link add hub type bridge; ip link set hub up')
  const machines: Machine[] = []
  for (const options of all) {
    const hosts = join(folder, `${options.name}.hosts`)
    await writeFile(hosts, hostsFile(options, all))
    const machine = await hold(options.name, `mount --bind ${hosts} /etc/hosts; hostname ${options.name}`)
    await connect(hub, machine, options)
    machines.push(machine)
  }
  return machines
}

/** Source: Debian, netcfg `finish-install.d/55netcfg-copy-config`, "The hostname resolution" of the Debian Reference. */
function hostsFile({ name, ipv4, ipv6 }: MachineOptions, all: readonly MachineOptions[]): string {
  const lines = ['127.0.0.1 localhost', `127.0.1.1 ${name}`, '::1 localhost ip6-localhost ip6-loopback']
  for (const other of all.filter((machine) => machine.name !== name)) {
    if (ipv4 !== undefined && other.ipv4 !== undefined) lines.push(`${other.ipv4} ${other.name}`)
    if (ipv6 !== undefined && other.ipv6 !== undefined) lines.push(`${other.ipv6} ${other.name}`)
  }
  return `${lines.join('\n')}\n`
}

async function connect(hub: Machine, machine: Machine, { name, ipv4, ipv6 }: MachineOptions): Promise<void> {
  const cable = `to-${name}`
  await hub.run(['ip', 'link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(machine.pid)])
  await hub.run(['ip', 'link', 'set', cable, 'master', 'hub', 'up'])
  if (ipv6 === undefined) await machine.run(['sysctl', '-qw', 'net.ipv6.conf.eth0.disable_ipv6=1'])
  await machine.run(['ip', 'link', 'set', 'eth0', 'up'])
  if (ipv4 !== undefined) await machine.run(['ip', 'address', 'add', `${ipv4}/24`, 'dev', 'eth0'])
  // There is nobody whom it could be a duplicate of; to find out takes a second.
  if (ipv6 !== undefined) await machine.run(['ip', 'address', 'add', `${ipv6}/64`, 'dev', 'eth0', 'nodad'])
}

import { once } from 'node:events'
import { createServer } from 'node:net'
import { CliError } from '../errors.ts'
import { HOST, type Member } from './layout.ts'

/** The option of `shoal up` that moves the ports of a service. */
const OPTIONS = {
  registry: '--registry-port',
  scheduler: '--scheduler-port',
  seed: '--seed-port',
  peer: '--peer-port',
} as const

/** Throws CliError `USAGE` when two members need the same port, or one a port that does not exist or is in use. */
export async function checkPorts(members: readonly Member[]): Promise<void> {
  const owners = new Map<number, Member>()
  for (const member of members) {
    for (const port of portsOf(member)) {
      const other = owners.get(port)
      if (other !== undefined || port < 1 || port > 65535) {
        const why = other === undefined ? 'which does not exist' : `and so does ${other.name}`
        throw new CliError(
          'USAGE',
          `${member.name} needs the port ${port}, ${why}: start fewer, or choose others with ${OPTIONS[member.service]}`,
        )
      }
      owners.set(port, member)
    }
  }
  for (const [port, { name, service }] of owners) {
    if (await isFree(port)) continue
    throw new CliError(
      'USAGE',
      `the port ${port} on ${HOST}, which ${name} needs, is in use: stop what uses it (ss -ltnp 'sport = :${port}' names it), or choose another one with ${OPTIONS[service]}`,
    )
  }
}

/** All ports that its options name. */
export function portsOf({ options }: Member): number[] {
  return Object.entries(options).flatMap(([key, value]) => {
    if (key === 'port') return [value as number]
    const port = (value as { port?: unknown } | null)?.port
    return typeof port === 'number' ? [port] : []
  })
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, HOST)
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}

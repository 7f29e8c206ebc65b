import { readFile } from 'node:fs/promises'
import { isIPv6 } from 'node:net'
import { CoreError, isRegistryHost, Lifecycle, systemErrorCode } from '@shoal/core'
import type { Service, ServiceDefinition } from '@shoal/core/service'
import { createNode } from '@shoal/peer'
import { EventIntake } from './intake.ts'
import { type EventsOptions, seedOptions } from './options.ts'

/** The node that fetches from origins first. */
export const seedService: ServiceDefinition<typeof seedOptions> = {
  name: 'seed',
  schema: seedOptions,
  create: async (options, log, environment) => {
    const { events, mirror } = options
    if (!events.enabled) return createNode('seed', options, log, environment)
    if (!isRegistryHost(events.registry)) {
      throw new CoreError(
        'CONFIG_INVALID',
        'events.registry: name the registry that sends the events as image references do, host or host:port',
      )
    }
    const secret = await readSecret(events)
    const node = await createNode('seed', options, log, environment)
    const mirrorUrl = () => loopback(mirror.host, node.addresses().mirror ?? '')
    const intake = new EventIntake({ ...events, secret }, { mirrorUrl, log: log.child({ room: 'events' }) })
    return withIntake(node, intake, events.host)
  },
}

function withIntake(node: Service, intake: EventIntake, host: string): Service {
  const lifecycle = new Lifecycle([node, intake])
  return {
    start: () => lifecycle.start(),
    stop: () => lifecycle.stop(),
    addresses: () => ({
      ...node.addresses(),
      events: `http://${isIPv6(host) ? `[${host}]` : host}:${intake.port}/events`,
    }),
  }
}

/** Where this process reaches what it listens on at `host`, with the port of `address`. */
function loopback(host: string, address: string): string {
  const port = address.slice(address.lastIndexOf(':') + 1)
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${isIPv6(reached) ? `[${reached}]` : reached}:${port}`
}

async function readSecret({ secretFile }: EventsOptions): Promise<string | undefined> {
  if (secretFile === undefined) return undefined
  let secret: string
  try {
    secret = (await readFile(secretFile, 'utf8')).trim()
  } catch (cause) {
    throw new CoreError(
      'CONFIG_UNREADABLE',
      `events.secretFile: can not read ${secretFile} (${systemErrorCode(cause) ?? 'unknown error'}): check that it exists and is readable`,
      { cause },
    )
  }
  if (secret === '')
    throw new CoreError('CONFIG_INVALID', `events.secretFile: ${secretFile} is empty: put a secret in it`)
  return secret
}

import type { ServiceDefinition } from '@shoal/core/service'
import { createNode, nodeOptions } from '@shoal/peer'

// Ports of its own: a seed may share its host with a peer.
const schema = nodeOptions(7490, './data/seed')

/** The node that fetches from origins first. */
export const seedService: ServiceDefinition<typeof schema> = {
  name: 'seed',
  schema,
  create: (options, log) => createNode('seed', options, log),
}

import type { ServiceDefinition } from '@shoal/core/service'
import { createNode } from './node.ts'
import { nodeOptions } from './options.ts'

/** The per-node daemon. */
export const peerService: ServiceDefinition<typeof nodeOptions> = {
  name: 'peer',
  schema: nodeOptions,
  create: (options, log) => createNode('peer', options, log),
}

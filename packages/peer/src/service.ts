import type { ServiceDefinition } from '@shoal/core/service'
import { createNode } from './node.ts'
import { nodeOptions } from './options.ts'

const schema = nodeOptions(7410, './data/peer')

/** The per-node daemon. */
export const peerService: ServiceDefinition<typeof schema> = {
  name: 'peer',
  schema,
  create: (options, log, environment) => createNode('peer', options, log, environment),
}

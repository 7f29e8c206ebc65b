import type { ServiceDefinition } from '@shoal/core/service'
import { createNode } from '@shoal/peer'
import { seedOptions } from './options.ts'

/** The node that fetches from origins first. */
export const seedService: ServiceDefinition<typeof seedOptions> = {
  name: 'seed',
  schema: seedOptions,
  create: (options, log) => createNode('seed', options, log),
}

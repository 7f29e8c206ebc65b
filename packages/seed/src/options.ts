import { adminOptions } from '@shoal/core/service'
import { nodeOptions } from '@shoal/peer'
import { Type } from 'typebox'

/**
 * Options of a seed: those of a node. A seed fetches each blob from its origin on behalf of all, so it has more
 * slots to send and more streams to the origin.
 */
export const seedOptions = Type.Object(
  {
    ...nodeOptions.properties,
    dataDir: Type.String({ minLength: 1, default: './data/seed', description: 'folder for blobs, index and identity' }),
    admin: adminOptions(7493),
  },
  { additionalProperties: false },
)

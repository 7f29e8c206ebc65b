import { hostOption, portOption } from '@shoal/core/service'
import { nodeOptions } from '@shoal/peer'
import { type Static, Type } from 'typebox'

const eventsOptions = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'whether a registry may tell of pushes, whose blobs are then fetched at once',
    }),
    host: hostOption('127.0.0.1', 'address on which POST /events is taken'),
    port: portOption(7494, 'port on which POST /events is taken'),
    registry: Type.String({
      default: '',
      maxLength: 261,
      description: 'the registry that the events are of, as image references name it; needed',
    }),
    secretFile: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'file with what the registry has to send as authorization: Bearer <it>; left out: no check',
      }),
    ),
  },
  { additionalProperties: false, default: {} },
)

/** Options of a seed: a node's, on ports of its own since a seed may share its host with a peer, and its own. */
export const seedOptions = Type.Object(
  { ...nodeOptions(7490, './data/seed').properties, events: eventsOptions },
  { additionalProperties: false },
)

export type EventsOptions = Static<typeof eventsOptions>

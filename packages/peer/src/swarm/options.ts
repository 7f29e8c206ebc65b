import { hostOption, portOption } from '@shoal/core/service'
import { Type } from 'typebox'

/** Options of the libp2p node. */
export const swarmOptions = (defaultPort: number) =>
  Type.Object(
    {
      host: hostOption('0.0.0.0', 'address on which libp2p listens'),
      port: portOption(defaultPort, 'TCP port on which libp2p listens'),
      bootstrap: Type.Array(Type.String(), {
        default: [],
        maxItems: 64,
        description: 'libp2p addresses (multiaddr with /p2p/) of nodes to start from, beside those a scheduler names',
      }),
    },
    { additionalProperties: false, default: {} },
  )

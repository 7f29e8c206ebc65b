import { CoreError, parseHostPort } from '@shoal/core'
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
      bootstrapDns: Type.Array(Type.String({ maxLength: 261 }), {
        default: [],
        maxItems: 16,
        description:
          'host:port, each address of the host being a node to start from, such as a headless service of all nodes and their libp2p port',
      }),
      mdns: Type.Boolean({
        default: false,
        description: 'whether nodes of the same LAN find each other by multicast DNS; noise in a cluster',
      }),
    },
    { additionalProperties: false, default: {} },
  )

/** A name of which each address is a node to start from. */
export interface BootstrapName {
  readonly host: string
  readonly port: number
}

/** The names of `bootstrapDns`. Throws CoreError `CONFIG_INVALID` for one that can not be used. */
export function bootstrapNames(texts: readonly string[]): BootstrapName[] {
  return texts.map((text) => {
    const name = parseHostPort(text)
    if (name !== undefined) return name
    throw new CoreError(
      'CONFIG_INVALID',
      `libp2p.bootstrapDns: ${JSON.stringify(text)} is not host:port; write for example shoal-peers.shoal.svc:7412, and addresses with /p2p/ in libp2p.bootstrap`,
    )
  })
}

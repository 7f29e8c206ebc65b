import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { CoreError, parseHostPort } from '@shoal/core'
import { hostOption, portOption } from '@shoal/core/service'
import { Type } from 'typebox'

const HOST_CODES: ReadonlySet<string> = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6'])

/** Options of the libp2p node. */
export const swarmOptions = (defaultPort: number) =>
  Type.Object(
    {
      host: hostOption('::', 'address on which libp2p listens; `::` is every address, IPv4 and IPv6'),
      port: portOption(defaultPort, 'TCP port on which libp2p listens'),
      bootstrap: Type.Array(Type.String({ maxLength: 512 }), {
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

/** Checks the addresses of `bootstrap`. Throws CoreError `CONFIG_INVALID` for one that can not be used. */
export function checkBootstrap(addresses: readonly string[]): void {
  for (const address of addresses) {
    const why = whyUnusable(address)
    if (why === undefined) continue
    throw new CoreError(
      'CONFIG_INVALID',
      `libp2p.bootstrap: ${JSON.stringify(address)} ${why}; write for example /ip4/10.0.0.1/tcp/7412/p2p/12D3KooW…, as libp2pAddresses of a node's admin API says at /api/v1/node, and host:port in libp2p.bootstrapDns`,
    )
  }
}

/** Why a node can not be dialled at an address, over TCP and knowing who must be there; undefined: it can. */
function whyUnusable(address: string): string | undefined {
  let parts: ReturnType<ReturnType<typeof multiaddr>['getComponents']>
  try {
    parts = multiaddr(address).getComponents()
  } catch {
    return 'is no multiaddr'
  }
  const [host, transport, node, ...more] = parts
  if (host === undefined || !HOST_CODES.has(host.name) || transport?.name !== 'tcp' || transport.value === '0') {
    return 'does not begin with a host and a TCP port'
  }
  if (node?.name !== 'p2p' || more.length > 0) return 'does not end in /p2p/ and a peer id'
  try {
    peerIdFromString(node.value ?? '')
  } catch {
    return `names ${JSON.stringify(node.value)}, which is no peer id`
  }
  return undefined
}

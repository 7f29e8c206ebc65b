import { adminOptions, hostOption, logOptions, portOption } from '@shoal/core/service'
import { originLimitsOptions, originsOptions } from '@shoal/origin/service'
import { type Static, Type } from 'typebox'
import { schedulersOption } from './coordinator/options.ts'
import { downloadOptions } from './download/options.ts'
import { limitsOptions } from './limits/options.ts'
import { mirrorOptions } from './mirror/options.ts'
import { storeOptions } from './store/options.ts'
import { swarmOptions } from './swarm/options.ts'

const laneOptions = (defaultPort: number) =>
  Type.Object(
    {
      host: hostOption('::', 'address on which the lane listens; `::` is every address, IPv4 and IPv6'),
      port: portOption(defaultPort, 'port on which other nodes reach this one'),
      advertiseHost: Type.String({
        default: '',
        maxLength: 255,
        description: 'host or address that other nodes are given; empty: the one the scheduler sees',
      }),
      uploadSlots: Type.Integer({ minimum: 1, maximum: 1024, default: 16, description: 'pieces sent at once' }),
      downloadSlots: Type.Integer({ minimum: 1, maximum: 1024, default: 16, description: 'pieces fetched at once' }),
      idleCloseMs: Type.Integer({
        minimum: 1000,
        default: 60_000,
        description: 'an idle connection is closed after this',
      }),
      // TCP repeats a lost packet after 0.2 s, then 0.4, then 0.8: three in a row are no stall yet. A parent that waits for
      // its own upload limit sends some bytes every 0.3 s.
      stallTimeoutMs: Type.Integer({
        minimum: 500,
        default: 2000,
        description: 'a parent that sends no byte for this long is left; on a slow link it has longer, up to 20 s',
      }),
      // The first packet is repeated after a second.
      connectTimeoutMs: Type.Integer({
        minimum: 100,
        default: 2000,
        description: 'to connect to a parent, TLS included; on a slow link longer, up to 20 s',
      }),
    },
    { additionalProperties: false, default: {} },
  )

/**
 * Options of a node.
 * @param firstPort default port of its mirror; lane, libp2p and admin take the three after it
 * @param dataDir default data folder
 */
export const nodeOptions = (firstPort: number, dataDir: string) =>
  Type.Object(
    {
      name: Type.String({ default: '', maxLength: 255, description: 'name for people; empty: the host name' }),
      dataDir: Type.String({ minLength: 1, default: dataDir, description: 'folder for blobs, index and identity' }),
      schedulers: schedulersOption,
      labels: Type.Record(Type.String({ maxLength: 63 }), Type.String({ maxLength: 255 }), {
        default: {},
        description: 'placement, such as zone and rack',
      }),
      workers: Type.Integer({
        minimum: 1,
        maximum: 64,
        default: 2,
        description: 'threads that move and hash bytes; all but one are started when they are needed',
      }),
      mirror: mirrorOptions(firstPort),
      lane: laneOptions(firstPort + 1),
      libp2p: swarmOptions(firstPort + 2),
      admin: adminOptions(firstPort + 3),
      store: storeOptions,
      download: downloadOptions,
      limits: limitsOptions,
      origins: originsOptions,
      allowUnlistedOrigins: Type.Boolean({
        default: true,
        description: 'whether registries that origins does not list may be asked, over https by their DNS name',
      }),
      originLimits: originLimitsOptions,
      log: logOptions,
    },
    { additionalProperties: false },
  )

/** Options of a node, all filled in. */
export type NodeOptions = Static<ReturnType<typeof nodeOptions>>

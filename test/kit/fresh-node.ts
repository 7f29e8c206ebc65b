import { readFile, writeFile } from 'node:fs/promises'
import { freePort } from '@shoal/bench'
import { parse, stringify } from 'yaml'
import { httpExpect } from './http.ts'
import { type Launched, launch } from './process.ts'
import { SHOAL_PROGRAM } from './program.ts'
import type { Shoal } from './shoal.ts'
import type { TestBed } from './test-bed.ts'

/** A node beside those of `shoal up`. */
export interface FreshNode {
  readonly mirrorUrl: string
  readonly adminUrl: string
  readonly program: Launched
}

/** What is special about a fresh node. */
interface FreshNodeOptions {
  readonly role?: 'peer' | 'seed'
  /** Plain-http registries, `host:port`, that it may ask. */
  readonly origins: readonly string[]
  /** More options of its mirror. */
  readonly mirror?: Readonly<Record<string, unknown>>
  /** More options of its config file. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Folder of an earlier fresh node, to start anew on what it left. */
  readonly folder?: string
}

/** Starts a peer or a seed with an empty store that belongs to a running `shoal up`, and waits until it is ready. */
export async function startFreshNode(bed: TestBed, shoal: Shoal, wanted: FreshNodeOptions): Promise<FreshNode> {
  const { role = 'peer', origins, mirror = {} } = wanted
  const like = role === 'peer' ? shoal.peers[0] : shoal.seeds[0]
  const options = parse(await readFile(like?.config ?? '', 'utf8'))
  const [mirrorPort, lane, libp2p, admin] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const folder = wanted.folder ?? (await bed.folder('fresh'))
  const own = {
    ...options,
    ...wanted.options,
    name: `fresh-${role}`,
    dataDir: `${folder}/data`,
    mirror: { ...options.mirror, ...mirror, port: mirrorPort },
    lane: { ...options.lane, port: lane },
    libp2p: { ...options.libp2p, port: libp2p },
    admin: { ...options.admin, port: admin },
    origins: {
      ...options.origins,
      ...Object.fromEntries(origins.map((origin) => [origin, { url: `http://${origin}` }])),
    },
  }
  const config = `${folder}/${role}.yaml`
  await writeFile(config, stringify(own))
  const program = bed.use(await launch(`fresh ${role}`, process.execPath, [SHOAL_PROGRAM, role, '--config', config]))
  const adminUrl = `http://127.0.0.1:${admin}`
  await program.waitUntil('readiness', () =>
    httpExpect(`${adminUrl}/readyz`, [200]).then(
      () => true,
      () => false,
    ),
  )
  return { mirrorUrl: `http://127.0.0.1:${mirrorPort}`, adminUrl, program }
}

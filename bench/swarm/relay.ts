import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { loadOrCreateIdentity } from '@shoal/core/service'
import { createIdentityCertificate, laneSecureOptions } from '@shoal/peer'
import { killAtExit } from '../kit/processes.ts'
import { commandAt, type Place, type Places } from './places.ts'
import type { RelaySettings } from './relay-program.ts'

/** Of a place's ports the one that no service of ours has. */
const PORT = 4
const PROGRAM = join(import.meta.dirname, 'relay-program.ts')

/** A chain of relays: the seed's place, then the nodes'. */
export interface RelayChain {
  /** Where the client of each node pulls from. */
  urlOf(node: number): string
  /** Has the first one fetch the blob when all clients have asked for it: to be called before they do. */
  begin(): Promise<void>
  /** CPU seconds of all so far. */
  cpuSeconds(): Promise<number>
  stop(): void
}

/** Starts relays of one blob and waits until each is connected to the one before it. */
export async function startRelays(
  places: Pick<Places, 'seed' | 'nodes'>,
  folder: string,
  blob: { readonly sourceUrl: string; readonly sizeBytes: number },
): Promise<RelayChain> {
  const identity = await loadOrCreateIdentity(join(folder, 'relay.key'))
  const secure = laneSecureOptions(await createIdentityCertificate(identity.privateKey))
  const chain = [places.seed, ...places.nodes]
  const addressOf = (place: Place) => ({ host: place.host, port: place.ports[PORT] })
  const relays: ChildProcess[] = []
  for (const [i, place] of chain.entries()) {
    const [command, [first = '', ...args]] = commandAt(place, process.execPath, [PROGRAM])
    const child = fork(first, args, { execPath: command, execArgv: [], serialization: 'advanced' })
    killAtExit(child)
    const before = chain[i - 1]
    const settings: RelaySettings = {
      secure,
      sizeBytes: blob.sizeBytes,
      listen: addressOf(place),
      source: before === undefined ? blob.sourceUrl : addressOf(before),
      file: join(folder, `relay-${i}`),
    }
    child.send(settings)
    await Promise.race([
      once(child, 'message'),
      once(child, 'exit').then(() => {
        throw new Error(`the relay of ${place.name} ended`)
      }),
    ])
    relays.push(child)
  }
  return {
    urlOf: (node) => `http://127.0.0.1:${(places.nodes[node] as Place).ports[PORT]}`,
    begin: async () => {
      const [first, ...others] = relays
      await Promise.all(others.map((relay) => once(relay, 'message')))
      first?.send('begin')
    },
    cpuSeconds: async () => {
      const used = relays.map(async (relay) => {
        relay.send('usage')
        const [seconds] = (await once(relay, 'message')) as [number]
        return seconds
      })
      return (await Promise.all(used)).reduce((sum, seconds) => sum + seconds, 0)
    },
    stop: () => {
      for (const relay of relays) relay.disconnect()
    },
  }
}

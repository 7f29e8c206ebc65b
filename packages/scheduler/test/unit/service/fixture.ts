import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf, pieceSizeFor } from '@shoal/core'
import { loadOrCreateIdentity, resolveConfig } from '@shoal/core/service'
import { afterEach, beforeAll, beforeEach } from 'vitest'
import { Scheduler, schedulerOptions } from '../../../src/index.ts'
import { ScriptedNode } from './scripted-node.ts'

export const DIGEST = digestOf('a blob')
export const OTHER_DIGEST = digestOf('another blob')
export const PIECE = pieceSizeFor(1)
/** Four pieces, the last a byte short. */
export const SIZE = 4 * PIECE - 1
export const sha256 = (piece: number) => createHash('sha256').update(`piece ${piece}`).digest()
export const MAP = Buffer.concat([0, 1, 2, 3].map(sha256))

export const peerIds: string[] = []
export let scheduler: Scheduler
let nodes: ScriptedNode[] = []

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-scheduler-'))
  for (const who of [0, 1, 2, 3]) peerIds.push((await loadOrCreateIdentity(join(folder, `${who}.key`))).peerId)
  await rm(folder, { recursive: true })
})

beforeEach(async () => {
  scheduler = new Scheduler(options(), createLogger('scheduler', 'silent'))
  await scheduler.start()
})

afterEach(async () => {
  for (const node of nodes) node.die()
  nodes = []
  await scheduler.stop()
})

export function options(grpcPort = 0) {
  const values = { grpc: { port: grpcPort }, admin: { port: 0 }, tickMs: 1 }
  return resolveConfig(schedulerOptions, [{ source: 'test', values }]).values
}

/** A node with the `who`-th peer id, connected to the test's scheduler. */
export function connect(who: number): ScriptedNode {
  const node = new ScriptedNode(scheduler.addresses().grpc as string, peerIds[who] as string)
  nodes.push(node)
  return node
}

export const get = (path: string) => fetch(`${scheduler.addresses().admin}${path}`)
export const getJson = async (path: string) => (await (await get(path)).json()) as Record<string, unknown>

import { setTimeout as delay } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { createLogger, digestOf, type Logger } from '@shoal/core'
import { Registry } from 'prom-client'
import { afterEach, expect, it } from 'vitest'
import { Coordinator } from '../../../src/coordination/coordinator.ts'
import { GrpcServer } from '../../../src/coordination/grpc-server.ts'
import { createSchedulerMetrics } from '../../../src/metrics.ts'
import { ScriptedNode } from './scripted-node.ts'

/** A valid peer id; no key is needed here. */
const PEER_ID = '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'

const joinOf = (name: string, have: number) => ({
  $case: 'join' as const,
  value: {
    digest: digestOf(name),
    size: 1,
    have: Buffer.from([have]),
    origin: { registry: 'docker.io', repository: 'a/b' },
    priority: 0 as const,
  },
})

let server: GrpcServer | undefined
let node: ScriptedNode | undefined

afterEach(async () => {
  node?.die()
  await server?.stop()
})

async function start(log: Logger, leaseStallMs = 10_000): Promise<ScriptedNode> {
  const coordinator = new Coordinator(
    { tickMs: 1, leaseStallMs, assignmentTimeoutMs: 30_000, helloTimeoutMs: 50, mostWaitingBytes: 64 * 1024 },
    { metrics: createSchedulerMetrics(new Registry()), log },
  )
  server = new GrpcServer({ host: '127.0.0.1', port: 0 }, coordinator)
  await server.start()
  node = new ScriptedNode(`127.0.0.1:${server.port}`, PEER_ID)
  return node
}

it('a stream without hello is ended', async () => {
  const silent = await start(createLogger('scheduler', 'silent'))
  expect(await silent.ended).toEqual({ code: status.DEADLINE_EXCEEDED, message: 'no hello came in time' })
})

it('a node that does not read is dropped when too much waits for it', async () => {
  let line: Record<string, unknown> | undefined
  const write = (text: string) => {
    line = JSON.parse(text)
  }
  const deaf = await start(createLogger('scheduler', 'warn', { write }))
  deaf.hello()
  await deaf.next('welcome')
  deaf.pause()
  // A little at a time: 16 responses, however small, fit into grpc-js's buffers, besides what HTTP/2 lets through unread.
  for (let first = 0; line === undefined; first += 50) {
    deaf.say(...Array.from({ length: 50 }, (_, i) => joinOf(`blob ${first + i}`, 1)))
    await delay(1)
  }
  expect(line).toMatchObject({
    msg: 'node dropped',
    code: 'SLOW_READER',
    reason: 'more than 65536 bytes wait for the node',
  })
})

it('a node that brings nothing of its lease is told that it is taken, and the log names the node and the blob', async () => {
  let line: Record<string, unknown> | undefined
  const write = (text: string) => {
    line = JSON.parse(text)
  }
  const idle = await start(createLogger('scheduler', 'warn', { write }), 100)
  idle.hello()
  await idle.next('welcome')
  idle.say(joinOf('blob', 0))
  const { swarm } = await idle.next('lease')
  expect(await idle.next('leaseTaken')).toEqual({ swarm })
  expect(await idle.next('swarmFailed')).toMatchObject({ swarm })
  expect(line).toMatchObject({ peerId: PEER_ID, digest: digestOf('blob') })
})

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

let server: GrpcServer | undefined
let node: ScriptedNode | undefined

afterEach(async () => {
  node?.die()
  await server?.stop()
})

async function start(log: Logger): Promise<ScriptedNode> {
  const coordinator = new Coordinator(
    { tickMs: 1, leaseStallMs: 10_000, assignmentTimeoutMs: 30_000, helloTimeoutMs: 50, mostWaitingBytes: 64 * 1024 },
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
  let dropped: (line: Record<string, unknown>) => void = () => {}
  const line = new Promise<Record<string, unknown>>((resolve) => {
    dropped = resolve
  })
  const log = createLogger('scheduler', 'warn', { write: (text) => dropped(JSON.parse(text)) })
  const deaf = await start(log)
  deaf.hello()
  await deaf.next('welcome')
  deaf.pause()
  const joinOf = (i: number) => ({
    $case: 'join' as const,
    value: {
      digest: digestOf(`blob ${i}`),
      size: 1,
      have: Buffer.from([1]),
      origin: { registry: 'docker.io', repository: 'a/b' },
      priority: 0 as const,
    },
  })
  // 16 responses of 64 KiB fit into grpc-js's buffers, besides what HTTP/2 lets through unread.
  for (let i = 0; i < 6; i++) deaf.say(...Array.from({ length: 5000 }, (_, j) => joinOf(5000 * i + j)))
  expect(await line).toMatchObject({ msg: 'node dropped', code: 'SLOW_READER' })
})

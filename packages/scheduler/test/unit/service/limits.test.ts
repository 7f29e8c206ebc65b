import { status } from '@grpc/grpc-js'
import { createLogger } from '@shoal/core'
import { LeaseFailed_Reason } from '@shoal/proto'
import { Registry } from 'prom-client'
import { expect, it } from 'vitest'
import { Coordinator } from '../../../src/coordination/coordinator.ts'
import { GrpcServer } from '../../../src/coordination/grpc-server.ts'
import { createSchedulerMetrics } from '../../../src/metrics.ts'
import { connect, DIGEST, get, OTHER_DIGEST, peerIds, SIZE } from './fixture.ts'
import { ScriptedNode } from './scripted-node.ts'

const LARGEST = Number.MAX_SAFE_INTEGER

it('a blob larger than any is refused at once and alone, with the reason', async () => {
  const node = connect(0).hello()
  await node.next('welcome')
  node.join(DIGEST, LARGEST, Buffer.from([1]))
  const { swarm } = await node.next('swarm')
  expect(await node.next('swarmFailed')).toEqual({ swarm, reason: LeaseFailed_Reason.REFUSED })
  expect((await node.next('refused')).reason).toContain('1 TiB')
  node.say(
    { $case: 'holding', value: { digest: DIGEST, size: LARGEST } },
    { $case: 'holdingPart', value: { digest: DIGEST, size: LARGEST, have: Buffer.from([1]) } },
  )
  node.join(OTHER_DIGEST, SIZE)
  expect(await node.next('lease')).toMatchObject({ firstPiece: 0, pieceCount: 4 })
  expect(await (await get('/metrics')).text()).toContain('shoal_scheduler_refused_total{bound="blobSize"} 3')
})

it('a stream too many is turned away, with the reason, and served when there is room', async () => {
  const lines: Record<string, unknown>[] = []
  const log = createLogger('scheduler', 'warn', { write: (text: string) => void lines.push(JSON.parse(text)) })
  const coordinator = new Coordinator(
    { tickMs: 1, leaseStallMs: 10_000, assignmentTimeoutMs: 30_000, mostStreams: 1 },
    { metrics: createSchedulerMetrics(new Registry()), log },
  )
  const server = new GrpcServer({ host: '127.0.0.1', port: 0 }, coordinator)
  await server.start()
  const node = (who: number) => new ScriptedNode(`127.0.0.1:${server.port}`, peerIds[who] as string).hello()
  const first = node(0)
  await first.next('welcome')
  const second = node(1)
  expect(await second.ended).toEqual({
    code: status.RESOURCE_EXHAUSTED,
    message: 'the scheduler serves at most 1 nodes; run more schedulers',
  })
  expect(lines).toMatchObject([{ msg: 'node turned away', code: 'LIMIT_EXCEEDED' }])
  first.die()
  await first.ended
  const third = node(1)
  await Promise.race([third.next('welcome'), third.ended])
  expect(third.commands[0]?.$case).toBe('welcome')
  second.die()
  third.die()
  await server.stop()
})

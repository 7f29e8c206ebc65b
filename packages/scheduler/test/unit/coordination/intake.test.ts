import type { NodeEvent } from '@shoal/proto'
import { expect, it } from 'vitest'
import { Intake } from '../../../src/coordination/intake.ts'

const leave = (i: number): NodeEvent => ({ event: { $case: 'leave', value: { digest: `${i}` } } })
const holding = (i: number, size: number): NodeEvent => ({
  event: { $case: 'holding', value: { digest: `${i}`, size } },
})
const all = (count: number, event: (i: number) => NodeEvent) => Array.from({ length: count }, (_, i) => event(i))
const TIB = 2 ** 40

function newIntake() {
  const applied: NodeEvent[] = []
  const calls: string[] = []
  const source = { pause: () => calls.push('pause'), resume: () => calls.push('resume') }
  const intake = new Intake(
    source,
    (event) => applied.push(event),
    () => calls.push('begin'),
  )
  return { intake, applied, calls }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

it('applies a message at once that costs little', () => {
  const { intake, applied, calls } = newIntake()
  intake.take(all(500, (i) => holding(i, 64 * 1024 * 1024)))
  expect(applied).toHaveLength(500)
  expect(calls).toEqual(['begin'])
})

it('applies what costs more a slice at a time, in order, and reads nothing more meanwhile', async () => {
  const { intake, applied, calls } = newIntake()
  const events = [...all(5, (i) => holding(i, TIB)), ...all(3, leave)]
  intake.take(events)
  expect(applied).toHaveLength(2)
  expect(calls).toEqual(['begin', 'pause'])
  intake.take([leave(3)])
  expect(applied).toHaveLength(2)
  await turn()
  expect(applied).toHaveLength(4)
  await turn()
  await turn()
  expect(applied).toEqual([...events, leave(3)])
  expect(calls.at(-1)).toBe('resume')
})

it.each([
  [
    'a join',
    { $case: 'join', value: { digest: '', size: TIB, have: Buffer.alloc(0), origin: undefined, priority: 0 } },
  ],
  ['a part', { $case: 'holdingPart', value: { digest: '', size: Number.MAX_SAFE_INTEGER, have: Buffer.alloc(0) } }],
  ['a map', { $case: 'pieceMap', value: { digest: '', size: TIB, sha256s: Buffer.alloc(0) } }],
  [
    'pieces',
    { $case: 'piecesDone', value: { swarm: 1, pieces: new Array(3000).fill(0), parents: [], durationsUs: [] } },
  ],
] as [string, NodeEvent['event']][])('takes %s for dear', (_what, event) => {
  const { intake, applied } = newIntake()
  intake.take(all(10, () => ({ event })))
  expect(applied.length).toBeLessThanOrEqual(2)
})

it('applies nothing after it was stopped', async () => {
  const { intake, applied } = newIntake()
  intake.take(all(5, (i) => holding(i, TIB)))
  intake.stop()
  await turn()
  expect(applied).toHaveLength(2)
})

it('stops in the middle of a message', () => {
  const seen: NodeEvent[] = []
  const intake: Intake = new Intake(
    { pause: () => {}, resume: () => {} },
    (event) => {
      if (seen.push(event) === 3) intake.stop()
    },
    () => {},
  )
  intake.take(all(10, leave))
  expect(seen).toHaveLength(3)
})

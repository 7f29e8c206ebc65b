import { ConnectResponse, type NodeCommand } from '@shoal/proto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encoded, Outbox } from '../../../src/coordination/outbox.ts'

type Command = NonNullable<NodeCommand['command']>

const PIECES = 64
const DIGESTS = Buffer.alloc(PIECES * 32, 0).map((_, at) => at >>> 5)

function drain(outbox: Outbox): { commands: Command[]; responses: Buffer[] } {
  const commands: Command[] = []
  const responses: Buffer[] = []
  for (let response = outbox.take(); response !== undefined; response = outbox.take()) {
    responses.push(response)
    for (const { command } of ConnectResponse.decode(response).commands)
      if (command !== undefined) commands.push(command)
  }
  return { commands, responses }
}

/** Assignments in their order, however they were put together. */
function assigned(commands: readonly Command[]): number[][] {
  return commands.flatMap((command) => {
    if (command.$case === 'assignment') {
      const { swarm, piece, parent, sha256 } = command.value
      return [[swarm, piece, parent, sha256[0] as number, sha256.byteLength]]
    }
    if (command.$case !== 'assignments') return []
    const { swarm, pieces, parents, sha256s } = command.value
    const length = sha256s.byteLength / pieces.length
    return pieces.map((piece, i) => [swarm, piece, parents[i] as number, sha256s[i * 32] as number, length])
  })
}

const swarmNamed = (swarm: number): Command => ({ $case: 'swarm', value: { digest: 'd', swarm, size: 1 } })
const swarmFailed = (swarm: number): Command => ({ $case: 'swarmFailed', value: { swarm, reason: 1 } })
const pong: Command = { $case: 'pong', value: {} }

describe('the outbox', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({
        swarm: fc.integer({ min: 1, max: 3 }),
        piece: fc.nat(PIECES - 1),
        parent: fc.integer({ min: 1, max: 9 }),
      }),
      fc.constantFrom('introduce', 'lease', 'seal', 'take'),
    ),
    { maxLength: 60 },
  )

  it.each([true, false])('says every assignment once, in order, with its sha256 (batches: %s)', (readsBatches) => {
    fc.assert(
      fc.property(steps, (steps) => {
        const outbox = new Outbox(readsBatches)
        const expected: number[][] = []
        const heard: Command[] = []
        for (const step of steps) {
          if (step === 'introduce') {
            const value = { parent: 1, peerId: 'p', laneHost: 'h', lanePort: 1, role: 1 as const, multiaddrs: [] }
            outbox.introduce(encoded({ $case: 'parent', value }))
          } else if (step === 'lease') {
            outbox.add({ $case: 'lease', value: { swarm: 1, firstPiece: 0, pieceCount: 1, origin: undefined } })
          } else if (step === 'seal') outbox.seal()
          else if (step === 'take') heard.push(...drain(outbox).commands)
          else if (typeof step === 'object') {
            outbox.assign(step.swarm, step.piece, step.parent, DIGESTS)
            expected.push([step.swarm, step.piece, step.parent, step.piece, 32])
          }
        }
        heard.push(...drain(outbox).commands)
        expect(assigned(heard)).toEqual(expected)
        expect(outbox.isEmpty).toBe(true)
        expect(outbox.bytes).toBe(0)
      }),
    )
  })

  it('puts the pieces of a swarm into one command, after the parents that they name', () => {
    const outbox = new Outbox(true)
    for (let piece = 0; piece < 4; piece++) {
      const value = { parent: piece, peerId: 'p', laneHost: 'h', lanePort: 1, role: 1 as const, multiaddrs: [] }
      outbox.introduce(encoded({ $case: 'parent', value }))
      outbox.assign(7, piece, piece, DIGESTS)
    }
    const { commands, responses } = drain(outbox)
    expect(commands.map(({ $case }) => $case)).toEqual(['parent', 'parent', 'parent', 'parent', 'assignments'])
    expect(responses).toHaveLength(1)
  })

  it('names a swarm once while the node does not read, but again after it failed', () => {
    const outbox = new Outbox(true)
    for (const command of [swarmNamed(1), swarmNamed(1), swarmNamed(2), swarmFailed(1), swarmNamed(1), swarmNamed(1)]) {
      outbox.add(command)
    }
    expect(drain(outbox).commands).toEqual([swarmNamed(1), swarmNamed(2), swarmFailed(1), swarmNamed(1)])
    outbox.add(swarmNamed(1))
    expect(drain(outbox).commands).toEqual([swarmNamed(1)])
  })

  it('keeps responses small, and within the commands that the contract allows', () => {
    const outbox = new Outbox(true)
    for (let swarm = 1; swarm <= 30_000; swarm++) outbox.add(swarmNamed(swarm))
    const { commands, responses } = drain(outbox)
    expect(commands).toHaveLength(30_000)
    for (const response of responses) {
      expect(response.byteLength).toBeLessThanOrEqual(64 * 1024)
      expect(ConnectResponse.decode(response).commands.length).toBeLessThanOrEqual(10_000)
    }
  })

  it('keeps one pong for all pings until it is taken, however many wait', () => {
    const outbox = new Outbox(true)
    outbox.add(swarmNamed(1))
    for (let i = 0; i < 3; i++) outbox.add(pong)
    expect(drain(outbox).commands.map((command) => command.$case)).toEqual(['swarm', 'pong'])
    outbox.add(pong)
    expect(drain(outbox).commands).toEqual([pong])
  })
})

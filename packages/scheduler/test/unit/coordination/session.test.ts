import { EventEmitter } from 'node:events'
import { ConnectResponse } from '@shoal/proto'
import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { NodeIntroduction } from '../../../src/coordination/checks.ts'
import { type Call, Session } from '../../../src/coordination/session.ts'
import type { SchedulerError } from '../../../src/errors.ts'

/** A stream whose reader the test plays. */
class FakeCall extends EventEmitter {
  readonly written: Uint8Array[] = []
  isReading = true

  went: () => void = () => {}

  write(response: Uint8Array, went: () => void): boolean {
    this.written.push(response)
    this.went = went
    return this.isReading
  }

  getPeer(): string {
    return '10.0.0.1:1'
  }

  end(): void {}
}

const INTRODUCTION: NodeIntroduction = {
  id: 'id',
  role: 'peer',
  uploadSlots: 4,
  downloadSlots: 4,
  labels: {},
  name: 'n',
  isLocal: false,
  laneHost: 'h',
  localLaneHost: 'h',
  lanePort: 1,
  multiaddrs: [],
  localMultiaddrs: [],
  version: '0',
  readsBatches: true,
}

let call: FakeCall
let session: Session
let waiting: number
let dropped: SchedulerError | undefined

beforeEach(() => {
  vi.useFakeTimers()
  waiting = 0
  dropped = undefined
  call = new FakeCall()
  session = new Session(call as unknown as Call, 1, 0, INTRODUCTION, {
    waits: () => waiting++,
    unread: (_session, error) => {
      dropped = error
    },
  })
  return () => vi.useRealTimers()
})

const say = (i: number) => session.tell({ $case: 'pieceMapWanted', value: { digest: `sha256:${i}` } })
const heard = () => call.written.flatMap((response) => ConnectResponse.decode(response).commands).length

describe('a session', () => {
  it('asks to be flushed once for what waits, and sends one message', () => {
    for (let i = 0; i < 10; i++) say(i)
    expect(waiting).toBe(1)
    expect(session.flush()).toBe(true)
    expect(call.written).toHaveLength(1)
    expect(heard()).toBe(10)
    expect(session.flush()).toBe(false)
  })

  it('keeps what it has to say while the node does not read, and says it afterwards', () => {
    call.isReading = false
    say(0)
    session.flush()
    say(1)
    expect(session.flush()).toBe(false)
    expect(session.isBlocked).toBe(true)
    call.isReading = true
    waiting = 0
    call.emit('drain')
    expect(waiting).toBe(1)
    expect(session.flush()).toBe(true)
    expect(heard()).toBe(2)
    vi.advanceTimersByTime(60_000)
    expect(dropped).toBeUndefined()
  })

  it('gives up a node that reads nothing for ten seconds', () => {
    call.isReading = false
    say(0)
    session.flush()
    vi.advanceTimersByTime(9_999)
    expect(dropped).toBeUndefined()
    vi.advanceTimersByTime(2)
    expect(dropped?.code).toBe('SLOW_READER')
  })

  it('bears with a node that reads slowly', () => {
    call.isReading = false
    say(0)
    session.flush()
    for (let i = 0; i < 5; i++) {
      vi.advanceTimersByTime(9_000)
      call.went()
    }
    expect(dropped).toBeUndefined()
    vi.advanceTimersByTime(20_002)
    expect(dropped?.code).toBe('SLOW_READER')
  })

  it('gives up a node for which more than 4 MiB wait', () => {
    call.isReading = false
    say(0)
    session.flush()
    let said = 0
    for (; dropped === undefined && said < 1_000_000; said++) {
      say(said)
      session.flush()
    }
    expect(dropped?.code).toBe('SLOW_READER')
    expect(said).toBeGreaterThan(100_000)
    expect(call.written).toHaveLength(1)
  })

  it('introduces a parent by the addresses that the child can use', () => {
    const events = { waits: () => {}, unread: () => {} }
    const introduction = {
      ...INTRODUCTION,
      isLocal: true,
      localLaneHost: '127.0.0.1',
      multiaddrs: ['/ip4/10.0.0.1/tcp/1'],
      localMultiaddrs: ['/ip4/127.0.0.1/tcp/1'],
    }
    const sessionOf = (number: number, changes: Partial<NodeIntroduction>) =>
      new Session(new FakeCall() as unknown as Call, number, number, { ...introduction, ...changes }, events)
    const parent = sessionOf(1, {})
    const told = (child: Session) => {
      const [command] = ConnectResponse.decode(parent.asParentOf(child)).commands
      return command?.command?.$case === 'parent' ? command.command.value : undefined
    }
    expect(told(sessionOf(2, {}))).toMatchObject({ laneHost: '127.0.0.1', multiaddrs: ['/ip4/127.0.0.1/tcp/1/p2p/id'] })
    const outside = { laneHost: 'h', multiaddrs: ['/ip4/10.0.0.1/tcp/1/p2p/id'] }
    expect(told(sessionOf(3, { isLocal: false }))).toMatchObject(outside)
  })

  it('introduces a parent once, and anew when its index is another node’s', () => {
    const parent = new Session(new FakeCall() as unknown as Call, 2, 1, INTRODUCTION, {
      waits: () => {},
      unread: () => {},
    })
    const digests = Buffer.alloc(64)
    session.assign(1, 0, parent, digests)
    session.assign(1, 1, parent, digests)
    session.parents.delete(1)
    session.assign(1, 0, parent, digests)
    session.flush()
    const [response] = call.written
    const kinds = ConnectResponse.decode(response as Uint8Array).commands.map(({ command }) => command?.$case)
    expect(kinds).toEqual(['parent', 'parent', 'assignments'])
  })
})

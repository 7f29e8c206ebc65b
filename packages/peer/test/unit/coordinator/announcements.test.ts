import { digestOf } from '@shoal/core'
import { describe, expect, it, vi } from 'vitest'
import { Announcements } from '../../../src/coordinator/announcements.ts'
import { schedulerOf } from '../../../src/coordinator/rendezvous.ts'
import type { SchedulerStream } from '../../../src/coordinator/scheduler-stream.ts'

const blobs = Array.from({ length: 4000 }, (_, i) => ({ digest: digestOf(`blob ${i}`), size: i + 1 }))
const ofOwner = (owner: string, live: string[]) =>
  blobs.map(({ digest }) => digest).filter((digest) => schedulerOf(digest, live) === owner)

/** A stream that keeps what it is told to say. */
class Ear {
  isWelcome = true
  /** Events that wait. */
  waiting = 0
  /** How often that was asked. */
  looks = 0
  /** The stream ends when it has said so much. */
  endsAt = Number.POSITIVE_INFINITY
  readonly said: string[] = []

  get queued(): number {
    this.looks++
    return this.waiting
  }

  holding(digest: string): void {
    this.said.push(digest)
    if (this.said.length === this.endsAt) this.isWelcome = false
  }
}

function announcing() {
  const ear = new Ear()
  const announcements = new Announcements(() => blobs)
  const tell = (live: string[]) => announcements.tell(ear as unknown as SchedulerStream, 'a', live)
  return { ear, announcements, tell }
}

describe('announcements', () => {
  it('say each blob once, to its scheduler, some at a time', async () => {
    const { ear, tell } = announcing()
    const telling = tell(['a', 'b'])
    expect(ear.said.length).toBeGreaterThan(0)
    expect(ear.said.length).toBeLessThanOrEqual(1000)
    await telling
    expect(ear.said).toEqual(ofOwner('a', ['a', 'b']))
  })

  it('say only what is new when another scheduler goes, and nothing when one comes', async () => {
    const { ear, tell } = announcing()
    await tell(['a', 'b', 'c'])
    const first = ofOwner('a', ['a', 'b', 'c'])
    expect(ear.said).toEqual(first)
    await tell(['a', 'b'])
    const second = ofOwner('a', ['a', 'b']).filter((digest) => !first.includes(digest))
    expect(ear.said.slice(first.length)).toEqual(second)
    ear.said.length = 0
    await tell(['a', 'b', 'd'])
    expect(ear.said).toEqual([])
  })

  it('begin anew what was interrupted', async () => {
    const { ear, tell } = announcing()
    const interrupted = tell(['a'])
    await Promise.all([interrupted, tell(['a', 'b'])])
    const all = new Set(ofOwner('a', ['a', 'b']))
    expect(all.difference(new Set(ear.said))).toEqual(new Set())
  })

  it('wait for a scheduler that does not read, and end with its stream', async () => {
    const { ear, tell } = announcing()
    ear.waiting = 1001
    ear.endsAt = 2500
    const telling = tell(['a'])
    await vi.waitFor(() => expect(ear.looks).toBeGreaterThan(2))
    expect(ear.said).toHaveLength(1000)
    ear.waiting = 0
    await telling
    expect(ear.said).toHaveLength(3000)
  })

  it('end when they are stopped', async () => {
    const { ear, announcements, tell } = announcing()
    const telling = tell(['a'])
    await announcements.stop()
    await telling
    expect(ear.said).toHaveLength(1000)
  })
})

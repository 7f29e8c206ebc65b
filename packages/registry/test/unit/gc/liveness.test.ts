import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Liveness, type References } from '../../../src/gc/liveness.ts'

const manifests = (all: Record<string, Partial<References>>) =>
  new Map(Object.entries(all).map(([digest, each]) => [digest, { children: [], blobs: [], ...each }]))

describe('Liveness', () => {
  it('keeps the children and the referrers of what is live, and theirs', () => {
    const liveness = new Liveness(
      manifests({
        index: { children: ['amd64', 'arm64', 'a blob'] },
        amd64: {},
        arm64: {},
        signature: { subject: 'arm64' },
        signatureOfSignature: { subject: 'signature' },
        untagged: {},
        signatureOfUntagged: { subject: 'untagged' },
        signatureOfNothing: { subject: 'nothing' },
      }),
    )
    liveness.keep('index')
    expect([...liveness.live].sort()).toEqual(['amd64', 'arm64', 'index', 'signature', 'signatureOfSignature'])
    expect(liveness.dead()).toEqual(expect.arrayContaining(['untagged', 'signatureOfUntagged', 'signatureOfNothing']))
    expect(liveness.dead()).toHaveLength(3)
  })

  it('ends where an index lists what has one of its own children as subject', () => {
    const liveness = new Liveness(manifests({ index: { children: ['image'], subject: 'image' }, image: {} }))
    expect(liveness.dead()).toHaveLength(2)
    liveness.keep('image')
    expect([...liveness.live].sort()).toEqual(['image', 'index'])
  })

  it('is not brought down by a chain that is long', () => {
    const all: Record<string, Partial<References>> = {}
    for (let i = 0; i < 100_000; i++) all[`m${i}`] = { children: [`m${i + 1}`] }
    const liveness = new Liveness(manifests(all))
    expect(liveness.dead()[0]).toBe('m0')
    liveness.keep('m0')
    expect(liveness.live.size).toBe(100_000)
  })

  it('names of any manifests each dead one once, before its children', () => {
    // As digests name content, a manifest can name only those that were before it.
    const graph = fc.array(
      fc.record({
        children: fc.array(fc.nat(20), { maxLength: 4 }),
        subject: fc.option(fc.nat(20), { nil: undefined }),
      }),
      { maxLength: 20 },
    )
    fc.assert(
      fc.property(graph, fc.array(fc.nat(20), { maxLength: 3 }), (shape, roots) => {
        const earlier = (i: number, to: number) => to < i
        const all = new Map(
          shape.map(({ children, subject }, i) => [
            String(i),
            {
              children: children.filter((to) => earlier(i, to)).map(String),
              blobs: [],
              subject: subject !== undefined && earlier(i, subject) ? String(subject) : undefined,
            },
          ]),
        )
        const liveness = new Liveness(all)
        for (const root of roots) liveness.keep(String(root))
        const dead = liveness.dead()
        expect([...dead, ...liveness.live].sort()).toEqual([...all.keys()].sort())
        for (const [digest, { children, subject }] of all) {
          if (liveness.live.has(digest)) for (const child of children) expect(liveness.live).toContain(child)
          if (subject !== undefined && liveness.live.has(subject)) expect(liveness.live).toContain(digest)
          if (!dead.includes(digest)) continue
          for (const child of children.filter((each) => dead.includes(each))) {
            expect(dead.indexOf(digest)).toBeLessThan(dead.indexOf(child))
          }
        }
      }),
    )
  })
})

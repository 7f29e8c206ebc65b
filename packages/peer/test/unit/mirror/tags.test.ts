import { digestOf, MANIFEST_ACCEPT } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { acceptClass } from '../../../src/mirror/accept.ts'
import { type KnownTag, Tags } from '../../../src/mirror/tags.ts'

const [first, second] = [digestOf('1'), digestOf('2')]
const INDEX = 'application/vnd.oci.image.index.v1+json'
const question = (accept: string | undefined, reference = 'latest') => ({
  upstream: { registry: 'r:5000', repository: 'a/b' },
  reference,
  accept,
})
let records: Map<string, KnownTag>
let nowMs: number
let tags: Tags

beforeEach(() => {
  records = new Map()
  nowMs = 1000
  tags = new Tags({ tagTtlMs: 10 }, { records, now: () => nowMs })
})

describe('Tags', () => {
  it('go by what the origin said to a client that takes the same, for a short while', () => {
    tags.saw(question(INDEX), first)
    tags.saw(question('*/*'), second)
    expect(tags.recent(question(`${INDEX};q=0.5, ,`))).toBe(first)
    expect(tags.recent(question('*/*'))).toBe(second)
    expect(tags.recent(question(undefined))).toBeUndefined()
    expect(tags.recent(question(INDEX, 'other'))).toBeUndefined()
    nowMs += 10
    expect(tags.recent(question(INDEX))).toBeUndefined()
    expect(tags.last(question(INDEX))).toBe(first)
  })

  it('are known by any answer of the origin to who takes something else', () => {
    tags.saw(question(INDEX), first)
    expect(tags.last(question(MANIFEST_ACCEPT))).toBe(first)
    expect(tags.last(question('application/x'))).toBe(first)
    expect(tags.last(question(INDEX, 'other'))).toBeUndefined()
  })

  it('are as many as tags, however many ways there are to write what a client takes', () => {
    for (let i = 0; i < 1000; i++) tags.saw(question(`application/x${i}`), first)
    for (const accept of [
      MANIFEST_ACCEPT,
      MANIFEST_ACCEPT.split(', ').reverse().join(','),
      MANIFEST_ACCEPT.toUpperCase(),
    ]) {
      tags.saw(question(accept), first)
    }
    expect(records.size).toBe(2)
    expect(tags.recent(question('application/x1'))).toBeUndefined()
  })
})

describe('acceptClass', () => {
  it('knows the types of manifests, and of none else', () => {
    expect(acceptClass(undefined)).toBe('')
    expect(acceptClass(MANIFEST_ACCEPT)).toBe('dilm')
    expect(acceptClass(`${INDEX}, text/html`)).toBeUndefined()
  })
})

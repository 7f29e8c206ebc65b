import { HaveSet, PieceLayout } from '@shoal/core'
import { swarm } from '@shoal/proto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  encodeAnswer,
  encodeQuestion,
  type HoldingsAnswer,
  MAX_ANSWER_BYTES,
  MAX_QUESTION_BYTES,
  parseAnswer,
  parseQuestion,
} from '../../../src/swarm/holdings-messages.ts'
import { randomNumbers } from '../lane/mutations.ts'
import { holdingsOf } from './holdings-of.ts'

const MIB = 1024 * 1024
const digest = `sha256:${'5a'.repeat(32)}`
const wanted = { size: 14 * MIB, registry: 'origin:5000', repository: 'team/app', firstPiece: 3 }
const answer: HoldingsAnswer = { holdings: holdingsOf(14 * MIB, [0, 2, 27]), host: '10.1.2.3', port: 7411 }
/** Mutated messages of each kind. */
const MESSAGES = 200_000

const sizes = fc.oneof(fc.integer({ min: 1, max: 300 * MIB }), fc.integer({ min: 1, max: 200 * 1024 * MIB }))

describe('a question for holdings', () => {
  it('arrives as it was asked', () => {
    for (const question of [{ digest }, { digest: `sha512:${'c3'.repeat(64)}` }, { digest, wanted }]) {
      expect(parseQuestion(encodeQuestion(question))).toEqual(question)
    }
  })

  it('at its longest fits the bound', () => {
    const longest = {
      size: 256 * 1024 * MIB,
      registry: `${'a.'.repeat(127)}b:65535`,
      repository: 'r'.repeat(255),
      firstPiece: 16_383,
    }
    const bytes = encodeQuestion({ digest: `sha512:${'c3'.repeat(64)}`, wanted: longest })
    expect(bytes.byteLength).toBeLessThanOrEqual(MAX_QUESTION_BYTES)
    expect(parseQuestion(bytes)?.wanted).toEqual(longest)
  })

  it.each([
    ['no digest', { digest: 'sha256:12', wanted: undefined }],
    ['an empty blob', { digest, wanted: { ...wanted, size: 0 } }],
    ['a blob beyond measure', { digest, wanted: { ...wanted, size: 2 ** 52 } }],
    ['a piece past the last', { digest, wanted: { ...wanted, firstPiece: 28 } }],
    ['a registry that is a path', { digest, wanted: { ...wanted, registry: '../etc' } }],
    ['a registry with credentials', { digest, wanted: { ...wanted, registry: 'user:pass@host' } }],
    ['a repository that climbs', { digest, wanted: { ...wanted, repository: '../../v2' } }],
  ])('is refused with %s', (_, message) => {
    expect(parseQuestion(swarm.HoldingsRequest.encode(message).finish())).toBeUndefined()
  })

  it('is refused when it is longer than any', () => {
    expect(parseQuestion(Buffer.concat([encodeQuestion({ digest }), Buffer.alloc(MAX_QUESTION_BYTES)]))).toBeUndefined()
  })
})

describe('an answer about holdings', () => {
  it('arrives as it was given, whatever is held', () => {
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.boolean()), fc.boolean(), (size, coin, isFetching) => {
        const pieces = Array.from({ length: new PieceLayout(size).count }, (_, piece) => piece)
        const given = {
          ...answer,
          holdings: holdingsOf(
            size,
            pieces.filter(() => coin.next().value),
            isFetching,
          ),
        }
        const bytes = encodeAnswer(given)
        expect(bytes.byteLength).toBeLessThanOrEqual(MAX_ANSWER_BYTES)
        const got = parseAnswer(bytes, size)
        expect(got?.holdings.have.toBytes()).toEqual(given.holdings.have.toBytes())
        expect(got?.holdings.sha256s).toEqual(given.holdings.sha256s)
        expect(got).toMatchObject({ host: '10.1.2.3', port: 7411, holdings: { size, isFetching } })
        expect(parseAnswer(bytes, size + 1)).toBeUndefined()
      }),
      { numRuns: 50 },
    )
  })

  it('names who is to fetch the blob', () => {
    const named = {
      ...answer,
      holdings: { ...holdingsOf(14 * MIB, []), fetcher: '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA' },
    }
    expect(parseAnswer(encodeAnswer(named), 14 * MIB)?.holdings.fetcher).toBe(named.holdings.fetcher)
    expect(parseAnswer(encodeAnswer(answer), 14 * MIB)?.holdings).not.toHaveProperty('fetcher')
  })

  it('of nothing is no answer', () => {
    expect(encodeAnswer(undefined)).toHaveLength(0)
    expect(parseAnswer(new Uint8Array(0), 14 * MIB)).toBeUndefined()
  })

  const right = swarm.HoldingsResponse.decode(encodeAnswer(answer))
  it.each([
    ['a have-set that is too long', { have: Buffer.alloc(5, 1) }],
    ['a piece past the last', { have: Buffer.from([0, 0, 0, 0x10]) }],
    ['a digest too few', { sha256s: right.sha256s.subarray(32) }],
    ['a digest too many', { sha256s: Buffer.concat([right.sha256s, Buffer.alloc(32)]) }],
    ['half a digest', { sha256s: right.sha256s.subarray(16) }],
    ['no port', { lanePort: 0 }],
    ['a port past the last', { lanePort: 65_536 }],
    ['a host that is a URL', { laneHost: 'http://10.0.0.1/' }],
    ['a host that is too long', { laneHost: 'a'.repeat(256) }],
    ['another size', { size: 6 * MIB }],
    ['a fetcher that is a path', { fetcher: '../a' }],
    ['a fetcher that is too long', { fetcher: 'a'.repeat(129) }],
  ])('is refused with %s', (_, change) => {
    expect(parseAnswer(swarm.HoldingsResponse.encode({ ...right, ...change }).finish(), 14 * MIB)).toBeUndefined()
  })
})

describe('damaged bytes', () => {
  const random = randomNumbers(11)
  const damaged = (bytes: Uint8Array) => {
    let copy = Buffer.from(bytes)
    for (let n = random(3); n >= 0; n--) {
      const at = random(copy.length)
      const kind = random(4)
      if (kind === 0) copy[at] = random(256)
      else if (kind === 1) copy = copy.subarray(0, at + 1)
      else if (kind === 2)
        copy = Buffer.concat([copy.subarray(0, at), Buffer.alloc(random(9), random(256)), copy.subarray(at)])
      else copy[at] = (copy[at] ?? 0) ^ (1 << random(8))
    }
    return copy
  }

  it(`never make more of a question than one may ask (${MESSAGES} times)`, () => {
    const samples = [encodeQuestion({ digest }), encodeQuestion({ digest, wanted })]
    let passed = 0
    for (let i = 0; i < MESSAGES; i++) {
      const question = parseQuestion(damaged(samples[i % 2] as Uint8Array))
      if (question === undefined) continue
      passed++
      // What was let through can be said again, and is then the same.
      if (i % 100 === 0) expect(parseQuestion(encodeQuestion(question))).toEqual(question)
    }
    expect(passed).toBeGreaterThan(0)
    expect(passed).toBeLessThan(MESSAGES)
  })

  it(`never make more of an answer than the blob has (${MESSAGES} times)`, () => {
    const bytes = encodeAnswer(answer)
    let passed = 0
    for (let i = 0; i < MESSAGES; i++) {
      const got = parseAnswer(damaged(bytes), 14 * MIB)
      if (got === undefined) continue
      passed++
      const { have, sha256s } = got.holdings
      if (have.count !== 28 || sha256s.byteLength !== 28 * 32) throw new Error('an answer that does not fit the blob')
      if (HaveSet.fromBytes(have.toBytes(), 28)?.held !== have.held) throw new Error('a have-set past the last piece')
    }
    expect(passed).toBeGreaterThan(0)
    expect(passed).toBeLessThan(MESSAGES)
  })
})

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatDigest,
  isDigest,
  isRegistryHost,
  isRepositoryName,
  isTag,
  manifestReferenceOf,
  parseDigest,
  parseImageReference,
  tryParseDigest,
  tryParseManifestReference,
} from '../../../src/index.ts'
import { isDigestByGrammar, isHostByGrammar, isNameByGrammar, isTagByGrammar } from './grammar.ts'

const RUNS = { numRuns: 20_000 }

// The specification's own expressions, to draw right texts from.
const name = fc.stringMatching(
  /^[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,3}(\/[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}){0,3}$/,
)
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/)
const digest = fc.stringMatching(/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/)
const host = fc.stringMatching(
  /^([a-zA-Z0-9]{1,8}(-[a-zA-Z0-9]{1,4}){0,2}\.){0,3}[a-zA-Z0-9]{1,8}(:[0-9]{1,4}|:[1-5][0-9]{4})?$/,
)

/** Texts that are right, nearly right (a character changed, added or left out), or of the characters that decide. */
function near(right: fc.Arbitrary<string>, characters: string): fc.Arbitrary<string> {
  const character = fc.oneof(fc.constantFrom(...characters), fc.string({ minLength: 1, maxLength: 1 }))
  const changed = fc
    .tuple(right, fc.nat(), character, fc.integer({ min: 0, max: 1 }))
    .map(([text, at, other, removed]) => {
      const position = at % (text.length + 1)
      return text.slice(0, position) + other + text.slice(position + removed)
    })
  const shorter = fc.tuple(right, fc.nat()).map(([text, at]) => {
    const position = at % (text.length + 1)
    return text.slice(0, position) + text.slice(position + 1)
  })
  return fc.oneof(
    right,
    changed,
    shorter,
    fc.string({ unit: fc.constantFrom(...characters), maxLength: 12 }),
    fc.string(),
  )
}

/** Both answer the same for every text, and both answers come up. */
function expectSame(texts: fc.Arbitrary<string>, ours: (text: string) => boolean, grammar: (text: string) => boolean) {
  const answers = { yes: 0, no: 0 }
  fc.assert(
    fc.property(texts, (text) => {
      answers[grammar(text) ? 'yes' : 'no']++
      expect(ours(text)).toBe(grammar(text))
    }),
    RUNS,
  )
  expect(Math.min(answers.yes, answers.no)).toBeGreaterThan(RUNS.numRuns / 20)
}

describe('names and digests, beside their grammar', () => {
  it('repository names', () => expectSame(near(name, 'ab0._-/A '), isRepositoryName, isNameByGrammar))
  it('tags', () => expectSame(near(tag, 'aA0._-:/'), isTag, isTagByGrammar))
  it('digests', () => expectSame(near(digest, 'sha256:512:0afgA'), isDigest, isDigestByGrammar))
  it('registry hosts', () => expectSame(near(host, 'aA0.-:[]/'), isRegistryHost, isHostByGrammar))

  it('names at the limits of their length', () => {
    for (const length of [126, 127, 128, 129, 254, 255, 256, 257]) {
      const text = 'a'.repeat(length)
      expect(isRepositoryName(text)).toBe(isNameByGrammar(text))
      expect(isTag(text)).toBe(isTagByGrammar(text))
    }
  })

  it('a digest in its parts and back', () => {
    fc.assert(
      fc.property(digest, (text) => {
        expect(formatDigest(parseDigest(text))).toBe(text)
      }),
    )
    fc.assert(
      fc.property(near(digest, 'sha256:512:0afgA'), (text) => {
        const parsed = tryParseDigest(text)
        if (parsed !== undefined) expect(`${parsed.algorithm}:${parsed.hex}`).toBe(text)
      }),
      RUNS,
    )
  })

  it('manifest references', () => {
    fc.assert(
      fc.property(fc.oneof(near(tag, 'aA0._-:/'), near(digest, 'sha256:512:0afgA')), (text) => {
        const expected = isDigestByGrammar(text) ? { digest: text } : isTagByGrammar(text) ? { tag: text } : undefined
        expect(tryParseManifestReference(text)).toEqual(expected)
      }),
      RUNS,
    )
  })
})

describe('image references, put together from their parts', () => {
  const registry = fc.oneof(
    host.filter((text) => text.includes('.') || text.includes(':')),
    fc.constant('localhost'),
    fc.constant(undefined),
  )
  const parts = fc.record({
    registry,
    repository: name,
    tag: fc.option(tag, { nil: undefined }),
    digest: fc.option(digest, { nil: undefined }),
  })

  it('come apart again, with Docker’s defaults', () => {
    fc.assert(
      fc.property(parts, (given) => {
        const [first = '', ...rest] = given.repository.split('/')
        // Without a registry such a first part is one.
        fc.pre(given.registry !== undefined || rest.length === 0 || !(first.includes('.') || first === 'localhost'))
        const at = given.registry === undefined ? '' : `${given.registry}/`
        const tagged = given.tag === undefined ? '' : `:${given.tag}`
        const pinned = given.digest === undefined ? '' : `@${given.digest}`
        const found = parseImageReference(at + given.repository + tagged + pinned)
        const isShort = (given.registry ?? 'docker.io') === 'docker.io' && rest.length === 0
        expect(found.registry).toBe(given.registry ?? 'docker.io')
        expect(found.repository).toBe(isShort ? `library/${given.repository}` : given.repository)
        expect(found.tag).toBe(given.tag ?? (given.digest === undefined ? 'latest' : undefined))
        expect(found.digest && formatDigest(found.digest)).toBe(given.digest)
        expect(manifestReferenceOf(found)).toBe(given.digest ?? given.tag ?? 'latest')
      }),
      { numRuns: 5000 },
    )
  })

  it('give parts that are right whenever they give any', () => {
    const text = parts.map((given) => `${given.registry}/${given.repository}:${given.tag}@${given.digest}`)
    fc.assert(
      fc.property(near(text, 'a.:/@-_'), (reference) => {
        let found: ReturnType<typeof parseImageReference>
        try {
          found = parseImageReference(reference)
        } catch {
          return
        }
        expect(isHostByGrammar(found.registry)).toBe(true)
        expect(isNameByGrammar(found.repository)).toBe(true)
        expect(found.tag === undefined || isTagByGrammar(found.tag)).toBe(true)
        expect(found.digest === undefined || isDigestByGrammar(formatDigest(found.digest))).toBe(true)
      }),
      { numRuns: 5000 },
    )
  })
})

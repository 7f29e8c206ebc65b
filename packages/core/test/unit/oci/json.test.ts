import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { outlineJson } from '../../../src/index.ts'

const NO_BOUNDS = { maxDepth: 1e9, maxValues: 1e9 }
const bytes = (text: string) => new TextEncoder().encode(text)

function countOf(json: unknown): number {
  if (typeof json !== 'object' || json === null) return 1
  return 1 + Object.values(json).reduce((sum: number, each) => sum + countOf(each), 0)
}

function depthOf(json: unknown): number {
  if (typeof json !== 'object' || json === null) return 0
  return 1 + Math.max(0, ...Object.values(json).map(depthOf))
}

/** Text as JSON has it, with spaces, long strings and escapes. */
const texts = fc
  .tuple(fc.jsonValue({ maxDepth: 5 }), fc.nat({ max: 3 }), fc.constantFrom('', '\\"'.repeat(60), '\\'.repeat(131)))
  .map(([json, indent, long]) => JSON.stringify(long === '' ? json : { [long]: json, long }, null, indent))

describe('outlineJson', () => {
  it('counts as a walk over the values does', () => {
    fc.assert(
      fc.property(texts, (text) => {
        const json: unknown = JSON.parse(text)
        const [maxValues, maxDepth] = [countOf(json), depthOf(json)]
        expect(outlineJson(bytes(text), { maxValues, maxDepth }).exceeds).toBeUndefined()
        expect(outlineJson(bytes(text), { ...NO_BOUNDS, maxValues: maxValues - 1 }).exceeds).toBe('maxValues')
        if (maxDepth === 0) return
        expect(outlineJson(bytes(text), { ...NO_BOUNDS, maxDepth: maxDepth - 1 }).exceeds).toBe('maxDepth')
      }),
      { numRuns: 2000 },
    )
  })

  it('finds the members of the outermost object, and no others', () => {
    // Of two characters: V8 14 takes a name of one escaped character for a backslash, now and then.
    const name = fc.constantFrom('aa', 'bb', 'cc', 'éé', '""', '\\"')
    const members = fc.array(fc.tuple(name, fc.jsonValue({ maxDepth: 3 })), { maxLength: 6 })
    const escaped = (text: string) =>
      [...text].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')
    fc.assert(
      fc.property(members, fc.boolean(), fc.constantFrom('', ' ', '\n'), (entries, isEscaped, space) => {
        const key = (text: string) => (isEscaped ? `"${escaped(text)}"` : JSON.stringify(text))
        const inside = entries.map(([each, value]) => `${space}${key(each)}${space}:${JSON.stringify(value)}${space}`)
        const text = `${space}{${inside.join(',')}}`
        const json = JSON.parse(text) as Record<string, unknown>
        const found = [...outlineJson(bytes(text), NO_BOUNDS, ['aa', 'bb']).members].map(([each, [start, end]]) => [
          each,
          JSON.parse(new TextDecoder().decode(bytes(text).subarray(start, end))),
        ])
        const wanted = Object.entries(json).filter(([each]) => each === 'aa' || each === 'bb')
        expect(Object.fromEntries(found)).toEqual(Object.fromEntries(wanted))
      }),
      { numRuns: 2000 },
    )
  })

  it('takes any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.string({ unit: fc.constantFrom(...'{}[]",:\\ 0a') }), (some, text) => {
        for (const each of [some, bytes(text)]) outlineJson(each, { maxDepth: 3, maxValues: 5 }, ['a'])
      }),
      { numRuns: 5000 },
    )
  })
})

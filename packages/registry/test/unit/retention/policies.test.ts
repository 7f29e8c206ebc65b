import { describe, expect, it } from 'vitest'
import type { RetentionPolicy } from '../../../src/retention/options.ts'
import { Policies, type TagFacts } from '../../../src/retention/policies.ts'

const HOUR_MS = 3_600_000
const NOW_MS = 1_800_000_000_000
const hoursAgo = (hours: number) => NOW_MS - hours * HOUR_MS

/** Tags `<name>`, pushed and pulled so many hours ago. */
const tags: readonly TagFacts[] = [
  { tag: 'v1.0', pushedAtMs: hoursAgo(100), pulledAtMs: hoursAgo(1) },
  { tag: 'v1.1', pushedAtMs: hoursAgo(50), pulledAtMs: undefined },
  { tag: 'v2.0', pushedAtMs: hoursAgo(40), pulledAtMs: hoursAgo(30) },
  { tag: 'nightly', pushedAtMs: hoursAgo(30), pulledAtMs: hoursAgo(20) },
  { tag: 'test', pushedAtMs: hoursAgo(2), pulledAtMs: undefined },
]

function kept(keepTags: RetentionPolicy['keepTags']): string[] {
  const policies = new Policies([{ repositories: ['**'], ...(keepTags === undefined ? {} : { keepTags }) }])
  const expired = policies.of('app')?.expired(tags, NOW_MS) ?? []
  return tags.map(({ tag }) => tag).filter((tag) => !expired.includes(tag))
}

describe('a retention policy', () => {
  it('keeps all tags when it has no rules', () => {
    expect(kept(undefined)).toHaveLength(tags.length)
  })

  it('keeps by pattern, which is for the whole tag', () => {
    expect(kept([{ patterns: ['v\\d+\\.0'] }])).toEqual(['v1.0', 'v2.0'])
    expect(kept([{ patterns: ['v1', 'est'] }])).toEqual([])
  })

  it('comes to an end with a pattern that a backtracking matcher never ends with', () => {
    const keepTags = [{ patterns: ['(v?[0-9]+[.-]?)+-release'] }]
    const [tag, release] = ['1'.repeat(60), `${'1'.repeat(60)}-release`].map((tag) => ({ ...tags[0], tag }) as TagFacts)
    const policy = new Policies([{ repositories: ['**'], keepTags }]).of('app')
    expect(policy?.expired([tag, release] as TagFacts[], NOW_MS)).toEqual([tag?.tag])
  })

  it('keeps those pushed last', () => {
    expect(kept([{ mostRecentlyPushedCount: 2 }])).toEqual(['nightly', 'test'])
    expect(kept([{ patterns: ['v.*'], mostRecentlyPushedCount: 1 }])).toEqual(['v2.0'])
  })

  it('keeps those pulled last, never one that was not pulled', () => {
    expect(kept([{ mostRecentlyPulledCount: 2 }])).toEqual(['v1.0', 'nightly'])
    expect(kept([{ mostRecentlyPulledCount: 100 }])).toEqual(['v1.0', 'v2.0', 'nightly'])
  })

  it('keeps by age of the push and of the pull', () => {
    expect(kept([{ pushedWithinHours: 40 }])).toEqual(['v2.0', 'nightly', 'test'])
    expect(kept([{ pulledWithinHours: 20 }])).toEqual(['v1.0', 'nightly'])
  })

  it('needs one of several conditions, and one of several rules', () => {
    expect(kept([{ mostRecentlyPushedCount: 1, pulledWithinHours: 1 }])).toEqual(['v1.0', 'test'])
    expect(kept([{ patterns: ['nightly'] }, { patterns: ['v.*'], mostRecentlyPushedCount: 1 }])).toEqual([
      'v2.0',
      'nightly',
    ])
  })

  it('takes tags pushed at the same time in an order of their own', () => {
    const same = ['a', 'b', 'c'].map((tag) => ({ tag, pushedAtMs: NOW_MS, pulledAtMs: undefined }))
    const policy = new Policies([{ repositories: ['**'], keepTags: [{ mostRecentlyPushedCount: 1 }] }]).of('app')
    expect(policy?.expired(same, NOW_MS)).toEqual(['a', 'b'])
    expect(policy?.expired([...same].reverse(), NOW_MS)).toEqual(['b', 'a'])
  })
})

describe('untagged manifests', () => {
  const of = (keepUntagged: NonNullable<RetentionPolicy['keepUntagged']>) =>
    new Policies([{ repositories: ['**'], untagged: 'remove', keepUntagged }]).of('app')

  it('stay by age of the push or of the pull', () => {
    const policy = of({ pushedWithinHours: 2, pulledWithinHours: 10 })
    const keeps = (pushed: number, pulled?: number) =>
      policy?.keepsUntagged(
        { pushedAtMs: hoursAgo(pushed), pulledAtMs: pulled === undefined ? undefined : hoursAgo(pulled) },
        NOW_MS,
      )
    expect([keeps(2), keeps(3), keeps(3, 10), keeps(3, 11)]).toEqual([true, false, true, false])
  })
})

describe('retention policies', () => {
  const policies = new Policies([
    { repositories: ['infra/*', 'tools'], untagged: 'remove' },
    { repositories: ['infra/**'], untagged: 'keep', keepTags: [{ patterns: ['v.*'] }] },
  ])

  it.each([
    ['infra/dns', 'remove'],
    ['tools', 'remove'],
    ['infra/dns/test', 'keep'],
    ['tools/app', undefined],
    ['other', undefined],
  ])('the first that matches %s counts', (repository, untagged) => {
    expect(policies.of(repository)?.untagged).toBe(untagged)
  })

  it('say which pattern is wrong', () => {
    const bad = { repositories: ['**'], keepTags: [{ patterns: ['ok'] }, { patterns: ['v('] }] }
    expect(() => new Policies([bad])).toThrow('retention.policies[0].keepTags[1]: "v(" is not a regular expression')
  })
})

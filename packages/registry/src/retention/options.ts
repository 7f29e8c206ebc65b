import { type Static, Type } from 'typebox'

const count = (what: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, description: `keeps as many tags: ${what}` }))
const hours = (what: string, of = 'tags') =>
  Type.Optional(
    Type.Number({
      exclusiveMinimum: 0,
      maximum: 876_000,
      description: `keeps ${of} that were ${what} in so many hours`,
    }),
  )

const keepRule = Type.Object(
  {
    patterns: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
        minItems: 1,
        maxItems: 64,
        description: 'regular expressions (of RE2), for the whole tag, of which one must match; all tags when left out',
      }),
    ),
    mostRecentlyPushedCount: count('those pushed last'),
    mostRecentlyPulledCount: count('those pulled last'),
    pushedWithinHours: hours('pushed'),
    pulledWithinHours: hours('pulled'),
  },
  { additionalProperties: false },
)

const keepUntagged = Type.Object(
  {
    pushedWithinHours: hours('pushed', 'manifests'),
    pulledWithinHours: hours('pulled', 'manifests'),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: 'of the untagged manifests, those that stay where `untagged` is `remove`: one condition must hold',
  },
)

const policy = Type.Object(
  {
    repositories: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
      minItems: 1,
      maxItems: 256,
      description: 'globs, of which one must match the repository: `*` is a part of a name, `**` any number of parts',
    }),
    keepTags: Type.Optional(
      Type.Array(keepRule, {
        minItems: 1,
        maxItems: 64,
        description:
          'rules, of which one must keep a tag that is not to go: it matches the patterns and meets one of the other conditions, if there are any; all tags stay when left out',
      }),
    ),
    untagged: Type.Optional(
      Type.Union([Type.Literal('keep'), Type.Literal('remove')], {
        description: '`gc.untagged` for these repositories',
      }),
    ),
    keepUntagged: Type.Optional(keepUntagged),
  },
  { additionalProperties: false },
)

/** Which tags go by themselves. Names as in zot's retention policies. */
export const retentionOptions = Type.Object(
  {
    policies: Type.Array(policy, {
      maxItems: 256,
      default: [],
      description:
        'what is kept in which repositories; the first policy that matches a repository counts, and one that none matches keeps all',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type RetentionPolicy = Static<typeof policy>
export type KeepRule = Static<typeof keepRule>
export type KeepUntagged = Static<typeof keepUntagged>

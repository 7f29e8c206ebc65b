import { type Static, Type } from 'typebox'

const quota = Type.Object(
  {
    repositories: Type.Array(Type.String({ minLength: 1, maxLength: 256 }), {
      minItems: 1,
      maxItems: 256,
      description: 'globs, of which one must match the repository: `*` is a part of a name, `**` any number of parts',
    }),
    maxBytes: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'bytes of the blobs of each of these repositories; a blob that two of them hold counts in both',
      }),
    ),
    maxTags: Type.Optional(Type.Integer({ minimum: 1, description: 'tags of each of these repositories' })),
  },
  { additionalProperties: false },
)

/** What a repository may hold. */
export const quotasOption = Type.Array(quota, {
  maxItems: 1024,
  default: [],
  description: 'what each repository may hold at most; the first entry that matches a repository counts',
})

export type Quota = Static<typeof quota>

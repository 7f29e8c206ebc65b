import { originEntryOptions, originLimitsOptions } from '@shoal/origin/service'
import { type Static, Type } from 'typebox'

const upstream = Type.Object(
  {
    ...originEntryOptions.properties,
    prefix: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 128,
        description: 'what the names of its repositories begin with here; default its own name',
      }),
    ),
  },
  { additionalProperties: false },
)

/** Other registries that this one stands before. */
export const proxyOptions = Type.Object(
  {
    upstreams: Type.Record(Type.String({ minLength: 1, maxLength: 261 }), upstream, {
      default: {},
      description:
        'registries, `host[:port]` as image references have them, whose images are fetched and kept when they are pulled',
    }),
    default: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 261,
        description:
          "the upstream that is meant where a request names none and this registry has no such repository, as with Docker's `registry-mirrors`",
      }),
    ),
    names: Type.Array(Type.String({ minLength: 1, maxLength: 261 }), {
      maxItems: 64,
      default: [],
      description: 'what clients call this registry itself in `ns`, besides the host that they connect to',
    }),
    keepHours: Type.Number({
      minimum: 0,
      maximum: 876_000,
      default: 168,
      description: 'hours after its last pull that an image is kept, by garbage collection; 0: for good',
    }),
    tagSeconds: Type.Number({
      minimum: 0,
      maximum: 86_400,
      default: 0,
      description: 'seconds that the meaning of a tag holds before the upstream is asked again',
    }),
    limits: originLimitsOptions,
  },
  { additionalProperties: false, default: {} },
)

export type ProxyOptions = Static<typeof proxyOptions>

import { type Static, Type } from 'typebox'

/** What is collected, and when. */
export const gcOptions = Type.Object(
  {
    everyHours: Type.Number({
      minimum: 0,
      // Timers of Node hold no more than 24 days.
      maximum: 504,
      default: 24,
      description: 'hours from one collection to the next; 0: only when it is asked for',
    }),
    graceHours: Type.Number({
      exclusiveMinimum: 0,
      maximum: 8760,
      default: 24,
      description: 'hours for which nothing that was stored, or asked for by a client, is collected',
    }),
    untagged: Type.Union([Type.Literal('keep'), Type.Literal('remove')], {
      default: 'keep',
      description: 'what becomes of manifests without a tag that no live index lists and that are about no live image',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type GcOptions = Static<typeof gcOptions>

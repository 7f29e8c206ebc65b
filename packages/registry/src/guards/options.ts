import { type Static, Type } from 'typebox'

const strict = { additionalProperties: false, default: {} } as const

/** Whether the registry takes changes; can be changed while it runs. */
export const readOnlyOption = Type.Boolean({
  default: false,
  description: 'whether pushes, mounts and deletions are refused, until the operator says otherwise',
})

/** When the storage counts as failed. */
export const healthOptions = Type.Object(
  {
    everySeconds: Type.Number({
      minimum: 1,
      maximum: 3600,
      default: 10,
      description: 'seconds from one look at the storage to the next',
    }),
    timeoutSeconds: Type.Number({
      minimum: 0.1,
      maximum: 600,
      default: 10,
      description: 'seconds that a look may take before it has failed',
    }),
    threshold: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 3,
      description: 'failed looks in a row after which clients get 503 until one succeeds',
    }),
  },
  strict,
)

/** What one client may ask for. */
export const rateLimitOptions = Type.Object(
  {
    readsPerMinute: Type.Integer({
      minimum: 0,
      maximum: 100_000_000,
      default: 0,
      description: 'requests of GET and HEAD a minute, for each address; 0: as many as it likes',
    }),
    writesPerMinute: Type.Integer({
      minimum: 0,
      maximum: 100_000_000,
      default: 0,
      description: 'other requests a minute, for each address; 0: as many as it likes',
    }),
    exempt: Type.Array(Type.String({ minLength: 2, maxLength: 64 }), {
      maxItems: 1024,
      default: [],
      description: 'addresses and networks (`10.0.0.0/8`) that may ask for as much as they like',
    }),
  },
  strict,
)

export type HealthOptions = Static<typeof healthOptions>
export type RateLimitOptions = Static<typeof rateLimitOptions>

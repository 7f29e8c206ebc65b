import { type Static, Type } from 'typebox'

const text = (description: string) => Type.String({ minLength: 1, maxLength: 4096, description })

/** What several registries that serve one object store share; one alone needs nothing. */
export const replicasOptions = Type.Object(
  {
    redis: Type.Optional(
      Type.Object(
        {
          url: Type.String({
            pattern: '^rediss?://[^@/?#]+(?:/[0-9]{1,3})?$',
            maxLength: 1024,
            description: 'where it listens: `redis://host:6379`, `rediss://` for TLS, `/1` at the end for a database',
          }),
          username: Type.Optional(text('who logs in, where it has users')),
          passwordFile: Type.Optional(text('file that holds the password')),
          caFile: Type.Optional(text("PEM file with the roots of its certificate; the system's without it")),
          keyPrefix: Type.String({
            maxLength: 128,
            pattern: '^[A-Za-z0-9:._-]*$',
            default: 'shoal-registry:',
            description: 'what all keys begin with; the same for replicas of one storage, another one for each storage',
          }),
        },
        { additionalProperties: false, description: 'the Redis that all replicas use' },
      ),
    ),
  },
  { additionalProperties: false, default: {} },
)

export type RedisOptions = NonNullable<Static<typeof replicasOptions>['redis']>

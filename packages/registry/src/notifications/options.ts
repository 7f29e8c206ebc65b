import { secretOption } from '@shoal/core/service'
import { type Static, Type } from 'typebox'

const endpoint = Type.Object(
  {
    url: secretOption({
      minLength: 1,
      maxLength: 2048,
      description: 'where events are posted to, http or https',
    }),
    headers: Type.Optional(
      Type.Record(Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$' }), Type.String({ maxLength: 4096 }), {
        writeOnly: true,
        description: 'headers of every request, such as authorization',
      }),
    ),
    timeoutMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 1000,
      description: 'time for an answer, after which the attempt has failed',
    }),
    thresholdFailures: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 10,
      description: 'failures in a row after which the pause between attempts doubles with each, up to five minutes',
    }),
    backoffMs: Type.Integer({
      minimum: 1,
      maximum: 300_000,
      default: 1000,
      description: 'pause after a failure, of which up to half is left out at random',
    }),
    maxPending: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 100_000,
      description: 'events that may wait; further ones are dropped and counted',
    }),
    deadAfterAttempts: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 100,
      description: 'failed attempts, since the start of the process, after which an event is set aside as dead',
    }),
    deadAfterHours: Type.Number({
      exclusiveMinimum: 0,
      maximum: 87_600,
      default: 72,
      description: 'age in hours from which an event whose delivery fails is set aside as dead',
    }),
    maxDead: Type.Integer({
      minimum: 0,
      maximum: 10_000_000,
      default: 10_000,
      description: 'dead events that are kept; the oldest go first',
    }),
    ignore: Type.Object(
      {
        mediaTypes: Type.Array(Type.String(), { default: [], description: 'media types whose events are not sent' }),
        actions: Type.Array(
          Type.Union([Type.Literal('pull'), Type.Literal('push'), Type.Literal('mount'), Type.Literal('delete')]),
          { default: [], description: 'actions whose events are not sent: pull, push, mount, delete' },
        ),
      },
      { additionalProperties: false, default: {} },
    ),
  },
  { additionalProperties: false },
)

/** Who is told of what happens in the registry. Names near those of Distribution's `notifications.endpoints`. */
export const notificationOptions = Type.Object(
  {
    endpoints: Type.Record(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' }), endpoint, {
      default: {},
      description: 'receivers of events, keyed by a name that metrics and logs use',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type EndpointOptions = Static<typeof endpoint>

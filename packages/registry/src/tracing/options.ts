import { secretOption } from '@shoal/core/service'
import { type Static, Type } from 'typebox'

/** Where traces go; none are made without it. */
export const tracingOption = Type.Optional(
  Type.Object(
    {
      endpoint: secretOption({
        minLength: 1,
        maxLength: 2048,
        pattern: '^https?://',
        description: 'URL that takes traces by OTLP over HTTP, such as http://collector:4318/v1/traces',
      }),
      sampleRatio: Type.Number({
        minimum: 0,
        maximum: 1,
        default: 0.05,
        description: 'share of the requests that are traced, of those whose client does not say whether they are',
      }),
      serviceName: Type.String({
        minLength: 1,
        maxLength: 255,
        default: 'shoal-registry',
        description: 'what the service is called in traces',
      }),
    },
    { additionalProperties: false },
  ),
)

export type TracingOptions = NonNullable<Static<typeof tracingOption>>

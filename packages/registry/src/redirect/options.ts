import { type Static, Type } from 'typebox'

const file = (description: string) => Type.String({ minLength: 1, maxLength: 4096, description })

const cdn = Type.Object(
  {
    baseUrl: Type.String({
      minLength: 1,
      maxLength: 2048,
      pattern: '^https?://',
      description: 'URL below which the files of the storage are found by their paths, or keys',
    }),
    keyPairId: Type.Optional(
      Type.String({ minLength: 1, maxLength: 128, description: 'id of the key that CloudFront knows' }),
    ),
    privateKeyFile: Type.Optional(
      file('PEM file with the private key that URLs are signed with, as CloudFront wants it'),
    ),
  },
  { additionalProperties: false },
)

/** Whether clients read blobs from the storage by themselves. */
export const redirectOptions = Type.Object(
  {
    enabled: Type.Boolean({
      default: false,
      description: 'whether a GET of a blob is answered by 307 and a signed URL of the object store, or of `cdn`',
    }),
    expiresSeconds: Type.Integer({
      minimum: 10,
      maximum: 604_800,
      default: 1200,
      description: 'seconds for which such a URL is good',
    }),
    cdn: Type.Optional(cdn),
  },
  { additionalProperties: false, default: {} },
)

export type RedirectOptions = Static<typeof redirectOptions>

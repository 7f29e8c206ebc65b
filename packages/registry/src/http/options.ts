import { type Static, Type } from 'typebox'

/** TLS of the registry; plain HTTP without it. */
export const tlsOption = Type.Optional(
  Type.Object(
    {
      certFile: Type.String({
        minLength: 1,
        maxLength: 4096,
        description: 'PEM file with the certificate and those that lead to its root; read again when it changes',
      }),
      keyFile: Type.String({
        minLength: 1,
        maxLength: 4096,
        description: "PEM file with the certificate's private key; read again when it changes",
      }),
      clientCaFile: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 4096,
          description:
            'PEM file with the roots that certificates of clients must come from; clients need none without it',
        }),
      ),
      http2: Type.Boolean({ default: true, description: 'whether clients that want HTTP/2 get it' }),
    },
    { additionalProperties: false },
  ),
)

export type TlsOptions = NonNullable<Static<typeof tlsOption>>

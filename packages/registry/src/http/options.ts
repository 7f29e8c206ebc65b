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

/** Who may say where a request is from. */
export const trustedProxiesOption = Type.Array(Type.String({ minLength: 2, maxLength: 64 }), {
  maxItems: 1024,
  default: [],
  description:
    'addresses and networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For`, `-Proto` and `-Host` are believed',
})

export const relativeUrlsOption = Type.Boolean({
  default: true,
  description: 'whether `Location` is a path, else a URL with the name that the client, or a trusted proxy, asked for',
})

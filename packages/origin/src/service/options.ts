import { type Static, Type } from 'typebox'
import type { ProxyRules } from '../proxies.ts'

const MINUTE_MS = 60_000

const timeout = (defaultMs: number, description: string) =>
  Type.Integer({ minimum: 10, maximum: 10 * MINUTE_MS, default: defaultMs, description })

/** One entry of a config key such as `origins`. */
export const originEntryOptions = Type.Object(
  {
    url: Type.Optional(
      Type.String({ minLength: 1, maxLength: 2048, description: 'where the registry is; default https://<registry>' }),
    ),
    username: Type.Optional(Type.String({ minLength: 1, maxLength: 1024, description: 'account to pull with' })),
    passwordFile: Type.Optional(
      Type.String({ minLength: 1, maxLength: 4096, description: 'file that holds the password of username' }),
    ),
    caFile: Type.Optional(
      Type.String({ minLength: 1, maxLength: 4096, description: 'PEM certificates to trust besides the usual ones' }),
    ),
    insecureTls: Type.Optional(
      Type.Boolean({ description: "do not verify the registry's certificate (true only for tests)" }),
    ),
    tokenHosts: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 261 }), {
        maxItems: 32,
        description: 'further hosts that may be sent the credentials to get a token; their addresses may be private',
      }),
    ),
    proxy: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 2048,
        description:
          'http:// or https:// URL of the proxy to it, its token servers and where it redirects to, or `direct`; default: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say',
      }),
    ),
    proxyCredentialsFile: Type.Optional(
      Type.String({ minLength: 1, maxLength: 4096, description: 'file that holds user:password for proxy' }),
    ),
    redirectHosts: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 261 }), {
        maxItems: 32,
        description: 'hosts, with or without port, that it may redirect to although their addresses are private',
      }),
    ),
  },
  { additionalProperties: false },
)

/** The config keys by which a node knows its origins: registry (`host[:port]` as in image references) → entry. */
export const originsOptions = Type.Record(Type.String({ minLength: 1, maxLength: 261 }), originEntryOptions, {
  default: {},
  description: 'registries that need a URL, credentials or certificates of their own',
})

/** Deadlines and limits of the client, all in milliseconds unless said. */
export const originLimitsOptions = Type.Object(
  {
    connectTimeoutMs: timeout(3_000, 'to connect, TLS included'),
    headersTimeoutMs: timeout(10_000, 'from the request to the head of the answer'),
    progressTimeoutMs: timeout(10_000, 'between two chunks of a body'),
    totalTimeoutMs: timeout(30_000, 'for a whole manifest, token or HEAD request'),
    connections: Type.Integer({
      minimum: 1,
      maximum: 1024,
      default: 32,
      description: 'connections per host',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type OriginEntry = Static<typeof originEntryOptions>
export type OriginLimits = Static<typeof originLimitsOptions>

/** One origin, files already read: plain data that can be handed to a worker thread. */
export interface OriginSettings {
  /** Base URL, http or https; a path is kept as a prefix. Default `https://<registry>`. */
  readonly url?: string
  readonly username?: string
  readonly password?: string
  /** PEM certificates to trust besides the usual ones. */
  readonly ca?: string
  readonly insecureTls?: boolean
  readonly tokenHosts?: readonly string[]
  /** URL of a proxy, or `direct`. */
  readonly proxy?: string
  /** `user:password` for it. */
  readonly proxyCredentials?: string
  /** Hosts, with or without port, that redirects may lead to although their addresses are private. */
  readonly redirectHosts?: readonly string[]
}

/** Options of an OriginClient: plain data that can be handed to a worker thread. */
export interface OriginClientOptions {
  /** Registry (`host[:port]` as a mirror's `ns` has it) → settings. */
  readonly origins: Readonly<Record<string, OriginSettings>>
  /** Whether registries that `origins` does not list may be asked, over https by their DNS name. */
  readonly allowUnlisted: boolean
  readonly limits: OriginLimits
  /** Proxies for what has none of its own; left out: none. */
  readonly proxies?: ProxyRules
  /** By which clients that share it keep to what registries limit; see rateHoldMemory. Left out: memory of its own. */
  readonly holds?: SharedArrayBuffer
  /** The config key that `origins` comes from, for messages; default `origins`. */
  readonly configKey?: string
}

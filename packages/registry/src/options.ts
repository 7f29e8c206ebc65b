import { adminOptions, hostOption, logOptions, portOption } from '@shoal/core/service'
import { type Static, Type } from 'typebox'
import { auditOptions } from './audit/options.ts'
import { gcOptions } from './gc/options.ts'
import { healthOptions, rateLimitOptions, readOnlyOption } from './guards/options.ts'
import { relativeUrlsOption, tlsOption, trustedProxiesOption } from './http/options.ts'
import { notificationOptions } from './notifications/options.ts'
import { proxyOptions } from './proxy/options.ts'
import { quotasOption } from './quotas/options.ts'
import { redirectOptions } from './redirect/options.ts'
import { replicasOptions } from './replicas/options.ts'
import { retentionOptions } from './retention/options.ts'
import { storageOptions } from './storage/options.ts'
import { tracingOption } from './tracing/options.ts'

/** Options of the registry. */
export const registryOptions = Type.Object(
  {
    host: hostOption('127.0.0.1', 'address that the registry listens on'),
    port: portOption(5000, 'port that the registry listens on'),
    tls: tlsOption,
    trustedProxies: trustedProxiesOption,
    relativeUrls: relativeUrlsOption,
    dataDir: Type.String({
      minLength: 1,
      default: './data/registry',
      description:
        "where the content is kept, in Distribution's layout (its `rootdirectory`), and what waits to be sent",
    }),
    storage: storageOptions,
    redirect: redirectOptions,
    metrics: adminOptions(5001),
    log: logOptions,
    tracing: tracingOption,
    accessLog: Type.Boolean({ default: false, description: 'whether each request is logged, at the level info' }),
    delete: Type.Object(
      { enabled: Type.Boolean({ default: true, description: 'whether clients may delete manifests, tags and blobs' }) },
      { additionalProperties: false, default: {} },
    ),
    readOnly: readOnlyOption,
    proxy: proxyOptions,
    rateLimit: rateLimitOptions,
    health: healthOptions,
    uploads: Type.Object(
      {
        expireAfterHours: Type.Number({
          exclusiveMinimum: 0,
          maximum: 87_600,
          default: 168,
          description: 'hours after its start that an unfinished upload is thrown away',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    gc: gcOptions,
    retention: retentionOptions,
    replicas: replicasOptions,
    quotas: quotasOption,
    notifications: notificationOptions,
    audit: auditOptions,
  },
  { additionalProperties: false },
)

export type RegistryOptions = Static<typeof registryOptions>

import { type TStringOptions, Type } from 'typebox'
import { LOG_LEVELS } from '../log.ts'

/** A TCP port; 0 lets the system choose one. */
export const portOption = (defaultPort: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 65535, default: defaultPort, description })

/** An address to listen on: a host name or an IP address. */
export const hostOption = (defaultHost: string, description: string) =>
  Type.String({ minLength: 1, maxLength: 255, default: defaultHost, description })

/**
 * A text that is secret, or may hold a secret, such as a URL with credentials in its path or query: `***` stands for it in
 * `config print` and in errors. Credentials before the host of a URL are hidden in options of every kind.
 */
export const secretOption = (options: TStringOptions) => Type.String({ ...options, writeOnly: true })

/** The `log` part that every service's options have. */
export const logOptions = Type.Object(
  {
    level: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { default: 'info', description: 'debug, info, warn, error or silent' },
    ),
  },
  { additionalProperties: false, default: {} },
)

/** Where a service's admin HTTP server (health, metrics, and what the service adds) listens. */
export const adminOptions = (defaultPort: number) =>
  Type.Object(
    {
      host: hostOption('127.0.0.1', 'address of the admin and metrics server'),
      port: portOption(defaultPort, 'port of the admin and metrics server'),
    },
    { additionalProperties: false, default: {} },
  )

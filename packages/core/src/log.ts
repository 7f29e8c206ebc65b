import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/** Levels a service can log at. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Field names whose values never reach a log, whichever object carries them. */
const SECRET_FIELDS = ['authorization', 'token', 'password', 'secret', 'credentials', 'cookie']

/**
 * A service's logger: JSON lines on standard error (standard output is for what a command was asked for), times in
 * ISO 8601, secrets removed.
 * @param service name of the service, a field of every line
 */
export function createLogger(service: string, level: LogLevel = 'info', destination?: DestinationStream): Logger {
  return pino(
    {
      level,
      base: { service },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]),
        censor: '[removed]',
      },
    },
    destination ?? pino.destination({ dest: 2, sync: true }),
  )
}

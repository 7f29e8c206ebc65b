import { type Static, Type } from 'typebox'
import { storageOptions } from '../storage/options.ts'

/** The audit log. */
export const auditOptions = Type.Object(
  {
    enabled: Type.Boolean({ default: false, description: 'whether a line is written for what clients do' }),
    folder: Type.String({
      minLength: 1,
      default: './data/registry-audit',
      description: 'where the files are kept; nothing else belongs there',
    }),
    maxFileBytes: Type.Integer({
      minimum: 1024,
      maximum: 1_099_511_627_776,
      default: 134_217_728,
      description: 'bytes from which on a new file is begun; one is begun with each day (UTC) and start too',
    }),
    keepDays: Type.Integer({
      minimum: 1,
      maximum: 36_500,
      default: 90,
      description: 'days that a file is kept; older ones are deleted when a new one is begun',
    }),
    ship: Type.Optional(
      Type.Object(
        {
          storage: storageOptions,
          everyMinutes: Type.Number({
            minimum: 1,
            maximum: 10_080,
            default: 15,
            description: 'minutes after which a file is ended and copied',
          }),
        },
        { additionalProperties: false, description: 'an object store that files are copied to when they are done' },
      ),
    ),
  },
  { additionalProperties: false, default: {} },
)

export type AuditOptions = Static<typeof auditOptions>

import { adminOptions, hostOption, logOptions, portOption } from '@shoal/core/service'
import { type Static, Type } from 'typebox'
import { LEAST_SHARE } from './coordination/origin-budget.ts'

/** Options of a scheduler. */
export const schedulerOptions = Type.Object(
  {
    log: logOptions,
    grpc: Type.Object(
      {
        host: hostOption('127.0.0.1', 'address of the gRPC server that nodes connect to'),
        port: portOption(7400, 'port of the gRPC server that nodes connect to'),
      },
      { additionalProperties: false, default: {} },
    ),
    admin: adminOptions(7401),
    tickMs: Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: 5,
      description: 'milliseconds for which events are gathered before nodes are told what to do',
    }),
    leaseStallMs: Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 10_000,
      description:
        'milliseconds in which neither a piece nor 256 KiB come from the origin, after which another node is to fetch; at least 3000 is of use, as nodes say every two seconds that they get on',
    }),
    origin: Type.Object(
      {
        maxFetches: Type.Integer({
          minimum: 0,
          maximum: 1_000_000,
          default: 0,
          description: 'blobs that the nodes fetch from origins at once, for all; the others wait; 0: no bound',
        }),
        leastBytesPerSecond: Type.Integer({
          minimum: 0,
          maximum: 128 * 1024,
          default: 32 * 1024,
          description:
            'bytes a second over three times `leaseStallMs`, below which a blob loses its turn (`maxFetches`) to one of another registry that waits; a node that its own limits hold back loses none; 0: it keeps it',
        }),
        bytesPerSecond: Type.Integer({
          minimum: 0,
          maximum: 2 ** 50,
          default: 0,
          description: `bytes a second that the nodes fetch from origins, all together; 0: no limit, else at least ${LEAST_SHARE}`,
        }),
      },
      { additionalProperties: false, default: {} },
    ),
    assignmentTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 3_600_000,
      default: 30_000,
      description: 'milliseconds after which an assigned piece of which nothing was heard is assigned anew',
    }),
  },
  { additionalProperties: false },
)

export type SchedulerOptions = Static<typeof schedulerOptions>

import { CoreError, Lifecycle, type Logger, type Startable } from '@shoal/core'
import type { Registry } from 'prom-client'
import type { GcOptions } from '../gc/options.ts'
import type { SharedMode } from '../guards/read-only.ts'
import { LevelPullShelf, type PullShelf } from '../retention/pull-shelf.ts'
import { ContentUses } from '../storage/content-uses.ts'
import { Holds, Turns } from '../storage/turns.ts'
import type { RedisOptions } from './options.ts'
import type { Versions } from './versions.ts'

/** What registries that serve the same storage have to agree on. */
export interface Replicas extends Startable {
  readonly isAlone: boolean
  /** Whether they can agree at the moment; without that nothing is changed. */
  readonly areReachable: boolean
  readonly uses: ContentUses
  /** By repository. */
  readonly turns: Pick<Turns, 'take'>
  readonly holds: Pick<Holds, 'tryTake'>
  readonly pulls: PullShelf
  /** undefined when this is the only one. */
  readonly versions?: Versions
  /** undefined when this is the only one. */
  readonly readOnly?: SharedMode
}

interface ReplicasOptions {
  readonly dataDir: string
  readonly storage: { readonly driver: string }
  readonly gc: Pick<GcOptions, 'graceHours'>
  readonly replicas: { readonly redis?: RedisOptions | undefined }
}

interface ReplicasDependencies {
  readonly metrics: Registry
  readonly log: Logger
}

const HOUR_MS = 3_600_000

/**
 * Throws CoreError `CONFIG_UNREADABLE` for a file that the options name, `CONFIG_INVALID` for a storage that replicas can
 * not share.
 */
export async function createReplicas(
  { dataDir, storage, gc, replicas: { redis } }: ReplicasOptions,
  dependencies: ReplicasDependencies,
): Promise<Replicas> {
  if (redis === undefined) return alone(dataDir)
  if (storage.driver === 'filesystem' || storage.driver === 'memory') {
    throw new CoreError(
      'CONFIG_INVALID',
      `replicas.redis: replicas can not share the storage ${storage.driver}: keep the content in an object store`,
    )
  }
  return sharing(redis, gc.graceHours * HOUR_MS, dependencies)
}

function alone(dataDir: string): Replicas {
  const nothing = async () => {}
  return {
    isAlone: true,
    areReachable: true,
    uses: new ContentUses(),
    turns: new Turns(),
    holds: new Holds(),
    pulls: new LevelPullShelf(dataDir),
    start: nothing,
    stop: nothing,
  }
}

/** The client of Redis is loaded only where it is used. */
async function sharing(
  options: RedisOptions,
  graceMs: number,
  { metrics, log }: ReplicasDependencies,
): Promise<Replicas> {
  const { createReplicaMetrics } = await import('./metrics.ts')
  const { Redis } = await import('./redis.ts')
  const { SharedHolds, SharedTurns } = await import('./shared-turns.ts')
  const { sharedMode } = await import('./shared-mode.ts')
  const { SharedPullShelf } = await import('./shared-pulls.ts')
  const { SharedUses } = await import('./shared-uses.ts')
  const { SharedVersions } = await import('./versions.ts')
  const redis = await Redis.create(options, { metrics: createReplicaMetrics(metrics), log })
  const holds = new SharedHolds(redis)
  const record = new SharedUses(redis, graceMs)
  const lifecycle = new Lifecycle([redis, record])
  return {
    isAlone: false,
    get areReachable() {
      return redis.isReady
    },
    uses: new ContentUses(record, new SharedTurns(holds, 'content')),
    turns: new SharedTurns(holds, 'repository'),
    holds,
    pulls: new SharedPullShelf(redis),
    versions: new SharedVersions(redis),
    readOnly: sharedMode(redis),
    start: () => lifecycle.start(),
    stop: () => lifecycle.stop(),
  }
}

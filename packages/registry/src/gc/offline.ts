import { createLogger } from '@shoal/core'
import { TagExpiry } from '../retention/expiry.ts'
import type { RetentionPolicy } from '../retention/options.ts'
import { Policies } from '../retention/policies.ts'
import { LevelPullShelf } from '../retention/pull-shelf.ts'
import { PullTimes } from '../retention/pull-times.ts'
import { ContentUses, UseMemory } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { ManifestStore } from '../storage/manifests.ts'
import { Turns } from '../storage/turns.ts'
import { type Collected, Collection, type CollectionOptions, type Retention } from './collection.ts'

export type { Collected } from './collection.ts'

/** What retention goes by when the registry does not run. */
interface OfflineRetention {
  readonly policies: readonly RetentionPolicy[]
  /** The registry's, where it keeps what was pulled when. */
  readonly dataDir: string
}

/**
 * Collects in the storage of a registry that does not run: of what clients ask of one that does nothing is known here.
 */
export async function collectOffline(
  driver: StorageDriver,
  options: CollectionOptions,
  { policies: list, dataDir }: OfflineRetention = { policies: [], dataDir: '' },
): Promise<Collected> {
  const uses = new ContentUses(new UseMemory({ knownSinceMs: 0 }))
  const turns = new Turns()
  const collect = (retention?: Retention) =>
    new Collection(options, { driver, uses, turns, retention, now: Date.now }).run(new AbortController().signal)
  const policies = new Policies(list)
  if (policies.isEmpty) return collect()
  const pulls = new PullTimes(new LevelPullShelf(dataDir), { log: createLogger('registry', 'warn') })
  await pulls.start()
  try {
    const manifests = new ManifestStore(driver, uses)
    const expiry = new TagExpiry({ driver, manifests, turns, pulls, removed: async () => {} })
    return await collect({ policies, expiry, pulls })
  } finally {
    await pulls.stop()
  }
}

import { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { Turns } from '../storage/turns.ts'
import { type Collected, Collection, type CollectionOptions } from './collection.ts'

export type { Collected } from './collection.ts'

/** Collects in the storage of a registry that does not run: of what clients ask of one that does nothing is known here. */
export function collectOffline(driver: StorageDriver, options: CollectionOptions): Promise<Collected> {
  const uses = new ContentUses({ knownSinceMs: 0 })
  return new Collection(options, { driver, uses, turns: new Turns(), now: Date.now }).run(new AbortController().signal)
}

import { prepareDataFolder } from '@shoal/core'
import { IndexDb } from './listings/index-db.ts'

/**
 * Does work on the storage of a registry that must not run meanwhile: it can neither be running nor be started. Throws
 * CoreError `DATA_FOLDER_UNUSABLE` when it runs.
 */
export async function whileStopped<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  await prepareDataFolder(dataDir)
  const index = new IndexDb(dataDir)
  await index.start()
  try {
    return await work()
  } finally {
    await index.stop()
  }
}

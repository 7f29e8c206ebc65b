import type { SharedMode } from '../guards/read-only.ts'
import type { Redis } from './redis.ts'

const KEY = 'read-only'

/** The read-only mode of all replicas. */
export function sharedMode(redis: Redis): SharedMode {
  return {
    get: async () => {
      const set = await redis.run((client) => client.get(KEY)).catch(() => null)
      return set === null ? undefined : set === 'true'
    },
    set: async (isOn) => void (await redis.run((client) => client.set(KEY, String(isOn)))),
  }
}

import { setTimeout as delay } from 'node:timers/promises'
import type { Service } from '@shoal/bench'

/** What Kubernetes gives a pod to end. */
const GRACE_MS = 30_000

/** Kills a service and starts it again on the data that it left; resolves when it is ready. */
export async function killAndRestart(service: Service): Promise<void> {
  await service.process.stop('SIGKILL')
  await service.restart()
}

/** The same, told to end as a rolling update does. Throws when it does not within 30 s. */
export async function restartGently(service: Service): Promise<void> {
  const isLate = new AbortController()
  const late = delay(GRACE_MS, true, { signal: isLate.signal }).catch(() => false)
  const ended = service.process.stop('SIGTERM').then(() => false)
  if (await Promise.race([ended, late])) throw new Error(`${service.place.name} did not end in ${GRACE_MS / 1000} s`)
  isLate.abort()
  await service.restart()
}

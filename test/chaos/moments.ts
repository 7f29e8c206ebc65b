import { setTimeout as delay } from 'node:timers/promises'
import { downloadsOf, type Service } from '@shoal/bench'
import { httpExpect } from '../kit/http.ts'

const LOOK_MS = 50
const LOOK_DEADLINE_MS = 2000

/**
 * Waits until these services together hold a share of a blob, 0 to 1, but not all of it.
 * Throws when they hold all of it first, or `signal` is aborted: there was no such moment.
 */
export async function untilHeld(
  services: readonly Service[],
  digest: string,
  share: number,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const shares = await Promise.all(services.map((service) => heldShare(service, digest)))
    const held = shares.reduce((sum, one) => sum + one, 0) / services.length
    if (held >= 1 || signal.aborted) throw new Error(`the pull was over before it was seen at ${share} of the blob`)
    if (held >= share) return
    await delay(LOOK_MS)
  }
}

/** The scheduler among these that nodes wait at for the blob. */
export async function ownerAmong(schedulers: readonly Service[], digest: string): Promise<Service> {
  for (const scheduler of schedulers) {
    const { body } = await httpExpect(`${scheduler.adminUrl}/api/v1/swarms`, [200])
    const { swarms } = JSON.parse(body.toString()) as { swarms: { digest: string; waiting: number }[] }
    if (swarms.some((swarm) => swarm.digest === digest && swarm.waiting > 0)) return scheduler
  }
  throw new Error('no scheduler has nodes that wait for the blob')
}

/** 0 also where a node was too busy to answer: it is looked at again. */
async function heldShare(service: Service, digest: string): Promise<number> {
  const signal = AbortSignal.timeout(LOOK_DEADLINE_MS)
  const downloads = await downloadsOf(service, { signal }).catch((error: unknown) => {
    if (signal.aborted) return []
    throw error
  })
  const download = downloads.find((one) => one.digest === digest)
  return download === undefined || download.pieces === 0 ? 0 : download.held / download.pieces
}

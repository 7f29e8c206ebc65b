import { changeRate, type Place, run, startDelayLine } from '@shoal/bench'
import type { Scene } from './scene.ts'

/** Of every link: so slow that two cores have time for all processes, so fast that 32 MiB take ten seconds. */
export const RATE_BPS = 30e6

/** Looked at before the table that routes between the places. */
const PREFERENCE = '5'

/**
 * Makes every packet from a place of one group to one of the other vanish, and back: as a cable that was pulled, nobody
 * is told.
 * @param tcpPort only packets to this port
 */
export async function cut(these: readonly Place[], those: readonly Place[], tcpPort?: number): Promise<void> {
  const what = tcpPort === undefined ? '' : `ipproto tcp dport ${tcpPort} `
  const rule = (from: Place, to: Place) =>
    `rule add pref ${PREFERENCE} from ${from.host} to ${to.host} ${what}blackhole`
  const rules = these.flatMap((one) => those.flatMap((other) => [rule(one, other), rule(other, one)]))
  await run('ip', ['-batch', '-'], rules)
}

/** Lets all packets through again. */
export async function heal(): Promise<void> {
  const count = (await run('ip', ['rule', 'list', 'pref', PREFERENCE])).split('\n').filter((line) => line !== '').length
  await run('ip', ['-batch', '-'], Array(count).fill(`rule del pref ${PREFERENCE}`))
}

/** Makes the link of a node so many times slower than it was, until the run is over. */
export async function slowDown({ atEnd }: Scene, place: Place, times: number): Promise<void> {
  atEnd(() => changeRate(place, RATE_BPS))
  await changeRate(place, RATE_BPS / times)
}

/** Makes every round trip take so long, and a share of all packets be lost, until the run is over. */
export async function spoilLinks({ atEnd, folder }: Scene, roundTripMs: number, lossShare: number): Promise<void> {
  const line = await startDelayLine(folder, roundTripMs, roundTripMs, lossShare)
  atEnd(() => line.stop())
}

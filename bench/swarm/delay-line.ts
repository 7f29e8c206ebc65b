import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { killAtExit } from '../kit/processes.ts'
import { routeDirectly, routeThrough } from './links.ts'

const DEVICES = { in: 'delay-in', out: 'delay-out' }

/** The process that holds packets back. */
export interface DelayLine {
  /** Ends it: packets take the direct way again. What it held is lost. */
  stop(): Promise<void>
}

/**
 * Makes every packet between two places take half of `sameZoneMs`, or of `otherZoneMs`, so that a round trip takes the
 * whole. It is a program of ours because not every kernel has netem; it is compiled into `folder`. Ends with this
 * process. Throws when there is no C compiler.
 * @param lossShare of all packets, 0 to 1: they are lost, each by chance; above 0 packets are no larger than the links'
 */
export async function startDelayLine(
  folder: string,
  sameZoneMs: number,
  otherZoneMs: number,
  lossShare = 0,
): Promise<DelayLine> {
  const program = join(folder, 'delay-line')
  const source = join(import.meta.dirname, 'delay-line.c')
  await promisify(execFile)('cc', ['-O2', '-o', program, source]).catch((cause: unknown) => {
    throw new Error('latency needs a C compiler, cc, to build bench/swarm/delay-line.c', { cause })
  })
  const oneWayUs = [sameZoneMs, otherZoneMs].map((roundTripMs) => String(Math.round(roundTripMs * 500)))
  const lossMillionths = String(Math.round(lossShare * 1e6))
  const child = spawn(program, [DEVICES.in, DEVICES.out, ...oneWayUs, lossMillionths], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  killAtExit(child)
  const ended = once(child, 'exit')
  const isReady = await Promise.race([once(child.stdout, 'data').then(() => true), ended.then(() => false)])
  if (!isReady) throw new Error('the delay line did not start')
  await routeThrough(DEVICES)
  return {
    stop: async () => {
      await routeDirectly()
      child.kill()
      await ended
    },
  }
}

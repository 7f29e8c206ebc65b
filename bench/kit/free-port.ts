import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { systemErrorCode } from '@shoal/core'

/**
 * Below the ports that Linux gives to outgoing connections: one of those may be another's by the time that it is
 * listened on.
 */
const FIRST = 20_000
const LAST = 32_000
const MOST_TRIES = 100
const given = new Set<number>()

/** A TCP port that nothing listens on at the moment, and that this process was not given before. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const port = randomInt(FIRST, LAST)
    if (given.has(port)) continue
    given.add(port)
    if (await isFree(port)) return port
  }
  throw new Error(`${MOST_TRIES} ports from ${FIRST} to ${LAST} were tried, and none is free`)
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '0.0.0.0')
  try {
    await once(server, 'listening')
  } catch (error) {
    if (systemErrorCode(error) === 'EADDRINUSE') return false
    throw error
  }
  server.close()
  await once(server, 'close')
  return true
}

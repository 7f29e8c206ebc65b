/**
 * What a link does, measured before it is trusted: one TCP flow from one place to another, and its round trip. As a
 * program (`receive PORT`, `send HOST PORT SECONDS`) it is the two ends.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { commandAt, type Place } from './places.ts'

const PORT = 7499
const SECONDS = 1
const ROUND_TRIPS = 20

/** What one flow got. */
export interface LinkCheck {
  /** Payload, bits a second. */
  readonly bps: number
  /** Median, milliseconds, of an idle link. */
  readonly roundTripMs: number
}

/** Sends from one place to another for a second. */
export async function checkLink(from: Place, to: Place): Promise<LinkCheck> {
  const receiver = spawn(...commandAt(to, process.execPath, [import.meta.filename, 'receive', String(PORT)]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    await once(receiver.stdout, 'data')
    const args = [import.meta.filename, 'send', to.host, String(PORT), String(SECONDS)]
    const sender = spawn(...commandAt(from, process.execPath, args), { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines = createInterface(sender.stdout)
    const [line] = (await once(lines, 'line')) as [string]
    return JSON.parse(line) as LinkCheck
  } finally {
    receiver.kill()
  }
}

/** Echoes the first bytes of a connection; then counts what comes, and says how much and when the first and last came. */
async function receive(port: number): Promise<void> {
  const server = createServer((socket) => {
    let echoes = ROUND_TRIPS
    let bytes = 0
    let firstMs = 0
    socket.on('data', (chunk: Buffer) => {
      if (echoes-- > 0) {
        socket.write(chunk)
        return
      }
      // The first read tells when the flow began, not how fast it is.
      if (firstMs === 0) firstMs = performance.now()
      else bytes += chunk.byteLength
      lastMs = performance.now()
    })
    let lastMs = 0
    socket.on('end', () => socket.end(JSON.stringify({ bytes, ms: lastMs - firstMs })))
    socket.on('error', () => {})
    socket.setNoDelay(true)
  })
  server.listen(port)
  await once(server, 'listening')
  process.stdout.write('listening\n')
}

async function send(host: string, port: number, seconds: number): Promise<void> {
  const socket: Socket = connect({ host, port, noDelay: true, allowHalfOpen: true })
  await once(socket, 'connect')
  const tookMs: number[] = []
  for (let i = 0; i < ROUND_TRIPS; i++) {
    const beganMs = performance.now()
    socket.write('x')
    await once(socket, 'data')
    tookMs.push(performance.now() - beganMs)
  }
  const chunk = Buffer.alloc(64 * 1024)
  for (const endMs = performance.now() + seconds * 1000; performance.now() < endMs; ) {
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  const [said] = (await once(socket, 'data')) as [Buffer]
  const { bytes, ms } = JSON.parse(said.toString()) as { bytes: number; ms: number }
  const roundTripMs = tookMs.sort((a, b) => a - b)[ROUND_TRIPS / 2] ?? Number.NaN
  process.stdout.write(`${JSON.stringify({ bps: (bytes * 8000) / ms, roundTripMs })}\n`)
}

if (import.meta.main) {
  const [role, ...rest] = process.argv.slice(2)
  if (role === 'receive') await receive(Number(rest[0]))
  else await send(rest[0] ?? '', Number(rest[1]), Number(rest[2]))
}

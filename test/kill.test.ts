/**
 * Kills a node with SIGKILL at random moments of its downloads and starts it again on what is on its disk.
 *
 * `SHOAL_KILL_MOMENTS` says how many moments (`npm run test:kill`: 100), `SHOAL_KILL_SEED` which; the seed is printed.
 */

import { randomInt } from 'node:crypto'
import { open, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '@shoal/bench'
import { digestOf, PieceLayout } from '@shoal/core'
import { describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { http, httpExpect } from './kit/http.ts'
import { LaneProbe } from './kit/lane-probe.ts'
import { receivedBytes } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { randomContent } from './kit/random-content.ts'
import { SlowProxy } from './kit/slow-proxy.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const MOMENTS = Number(process.env.SHOAL_KILL_MOMENTS ?? 12)
const SEED = Number(process.env.SHOAL_KILL_SEED ?? randomInt(2 ** 31))
const BLOB_BYTES = 32 * MIB
/** Slow enough that what is in flight is little: a piece takes about 20 ms. */
const BYTES_PER_SECOND = 24 * MIB
const IN_FLIGHT = 4
const { count: PIECES, pieceSize: PIECE_BYTES } = new PieceLayout(BLOB_BYTES)
/**
 * What one kill may cost: pieces in flight, and what came so late that its record had not reached the index; an origin's
 * pieces go on coming while the main thread is late. What is recorded is in the kernel at least, and not lost with the
 * process: that is checked piece by piece, beside this bound on the sum.
 */
const IN_FLIGHT_BYTES = 2 * IN_FLIGHT * PIECE_BYTES
const LATE_MS = 1000
/** From the last byte to the published blob: its digest, fdatasync, rename, index. */
const END_MS = 300
/** TLS records, HTTP heads. */
const overhead = (bytes: number) => bytes * 0.01 + 64 * 1024

/** When a kill comes: after the launch, after the client asked, at a share of what is missing, or when all was sent. */
type Phase = 'starting' | 'asked' | 'middle' | 'end'
const PHASES: readonly Phase[] = ['asked', 'middle', 'middle', 'middle', 'end', 'end', 'end', 'starting']

interface Blob {
  readonly digest: string
  readonly content: Buffer
  /** Its only source: the origin, or a neighbour. */
  readonly source: SlowProxy
  readonly sentBefore: number
  /** Pieces that must be there after the next start. */
  readonly known: Set<number>
  /** What its kills may have cost by now. */
  mayLoseBytes: number
  isDamaged: boolean
  /** Of pieces that the node found damaged and dropped. */
  damagedBytes: number
}

/** Whole numbers from 0 to below n, the same ones for the same seed (mulberry32). */
function randomNumbers(seed: number): (n: number) => number {
  let state = seed | 0
  return (n) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % n
  }
}

describe(`a node killed at ${MOMENTS} random moments, seed ${SEED}`, () => {
  const bed = createTestBed()
  const random = randomNumbers(SEED)
  const registryName = 'origin.test'
  let folder: string
  let ports: Record<string, number>

  const service = async (kind: string, name: string, options: object, admin: number): Promise<Launched> => {
    const config = join(folder, `${name}.yaml`)
    await writeFile(config, stringify(options))
    return begin(kind, name, config, admin)
  }
  const begin = async (kind: string, name: string, config: string, admin: number) => {
    const program = bed.use(await launch(name, process.execPath, [SHOAL_PROGRAM, kind, '--config', config]))
    await program.waitUntil('readiness', () =>
      httpExpect(`http://127.0.0.1:${admin}/readyz`, [200]).then(
        () => true,
        () => false,
      ),
    )
    return program
  }
  const peerOptions = async (name: string, origin: number, advertiseHost: string) => {
    const [mirror, lane, libp2p, admin] = [await freePort(), await freePort(), await freePort(), await freePort()]
    const host = '127.0.0.1'
    return {
      name,
      dataDir: join(folder, name),
      schedulers: [`127.0.0.1:${ports.grpc}`],
      workers: 1,
      mirror: { port: mirror, defaultRegistry: registryName },
      lane: { host, port: lane, advertiseHost, downloadSlots: IN_FLIGHT },
      libp2p: { host, port: libp2p },
      admin: { port: admin },
      download: { originStreams: IN_FLIGHT },
      origins: { [registryName]: { url: `http://127.0.0.1:${origin}` } },
      log: { level: 'info' },
    }
  }
  const blobUrl = (mirror: number, digest: string) =>
    `http://127.0.0.1:${mirror}/v2/killed/blobs/${digest}?ns=${registryName}`

  /** Reads the blob from the start; returns how many bytes came, all of them right. Throws at the first wrong one. */
  const read = async (mirror: number, { digest, content }: Blob, received: (bytes: number) => void) => {
    let position = 0
    const { status, body } = await http(blobUrl(mirror, digest))
    if (status !== 200) throw new Error(`answered ${status}`)
    for await (const chunk of body as AsyncIterable<Buffer>) {
      if (!chunk.equals(content.subarray(position, position + chunk.length))) {
        throw new WrongBytes(`wrong bytes of ${digest} at ${position}`)
      }
      position += chunk.length
      received(position)
    }
    return position
  }

  test('serves nothing unverified and fetches nothing verified again', {
    timeout: 60_000 + MOMENTS * 10_000,
  }, async () => {
    process.stdout.write(`kills: ${MOMENTS} moments, SHOAL_KILL_SEED=${SEED}\n`)
    folder = await bed.folder('kill')
    ports = { grpc: await freePort(), scheduler: await freePort(), registry: await freePort(), admin: await freePort() }
    const { grpc = 0, scheduler = 0, registry = 0, admin = 0 } = ports
    const log = { level: 'warn' }
    await service(
      'registry',
      'registry',
      { port: registry, dataDir: join(folder, 'r'), metrics: { port: admin }, log },
      admin,
    )
    await service('scheduler', 'scheduler', { grpc: { port: grpc }, admin: { port: scheduler }, log }, scheduler)
    const holder = await peerOptions('holder', registry, '127.0.0.2')
    await service('peer', 'holder', holder, holder.admin.port)
    const origin = bed.use(await SlowProxy.start({ to: registry, bytesPerSecond: BYTES_PER_SECOND }))
    const { port: lanePort } = holder.lane
    const link = { to: lanePort, host: '127.0.0.2', port: lanePort, bytesPerSecond: BYTES_PER_SECOND }
    const neighbour = bed.use(await SlowProxy.start(link))
    const probe = bed.use(await LaneProbe.start(folder))
    const options = await peerOptions('victim', origin.port, '127.0.0.1')
    const config = join(folder, 'victim.yaml')
    await writeFile(config, stringify(options))
    const files = (digest: string) => {
      const hex = digest.slice('sha256:'.length)
      const blobs = join(options.dataDir, 'blobs/sha256', hex.slice(0, 2), hex)
      return { partial: join(options.dataDir, 'partial', `sha256-${hex}`), final: blobs }
    }

    let blobs = 0
    const nextBlob = async (): Promise<Blob> => {
      const content = Buffer.concat([...randomContent(`kill ${SEED} ${blobs}`, BLOB_BYTES)])
      const digest = digestOf(content)
      const root = `http://127.0.0.1:${registry}`
      const begun = await httpExpect(`${root}/v2/killed/blobs/uploads/`, [202], { method: 'POST' })
      const upload = new URL(begun.headers.location ?? '', root)
      upload.searchParams.set('digest', digest)
      const headers = { 'content-type': 'application/octet-stream', 'content-length': content.length }
      await httpExpect(upload, [201], { method: 'PUT', headers, body: content })
      const source = blobs++ % 2 === 0 ? origin : neighbour
      const blob = {
        digest,
        content,
        source,
        sentBefore: 0,
        known: new Set<number>(),
        mayLoseBytes: 0,
        isDamaged: false,
        damagedBytes: 0,
      }
      if (source === neighbour) await read(holder.mirror.port, blob, () => {})
      return { ...blob, sentBefore: origin.sentBytes + neighbour.sentBytes }
    }
    const sent = () => origin.sentBytes + neighbour.sentBytes
    const exists = (file: string) =>
      stat(file).then(
        () => true,
        () => false,
      )

    const found: Record<string, number> = {}
    const note = (what: string) => {
      found[what] = (found[what] ?? 0) + 1
    }
    let refetched = 0
    let isUnpublished = false
    let blob = await nextBlob()
    for (let moment = 0; moment <= MOMENTS; moment++) {
      const phase = PHASES[random(PHASES.length)] ?? 'middle'
      const fraction = random(1000) / 1000
      const isDamaging = random(3) === 0
      const where = `seed ${SEED}, moment ${moment} (${phase} ${fraction})`
      const isLast = moment === MOMENTS

      if (phase === 'starting' && !isLast) {
        const program = bed.use(await launch('victim', process.execPath, [SHOAL_PROGRAM, 'peer', '--config', config]))
        await delay(fraction * 2000)
        process.kill(program.pid, 'SIGKILL')
        await program.exited
        blob.damagedBytes += damagedPieces(program) * PIECE_BYTES
        note('while starting')
        continue
      }

      const victim = await begin('peer', 'victim', config, options.admin.port)
      const { body } = await httpExpect(`http://127.0.0.1:${options.admin.port}/api/v1/node`, [200])
      const peerId = String(JSON.parse(body.toString()).peerId)
      const held = await probe.heldPieces({ peerId, port: options.lane.port }, blob.digest, blob.content)
      // Nothing that was verified and recorded is lost, unless the test took it.
      const lost = [...blob.known].filter((piece) => !held.has(piece))
      expect(lost, where).toEqual([])
      if (!blob.isDamaged) expect(damagedPieces(victim), where).toBe(0)
      blob.damagedBytes += damagedPieces(victim) * PIECE_BYTES
      for (const piece of held) blob.known.add(piece)
      if (isUnpublished) {
        note(held.size === 0 ? 'nothing verified yet' : held.size < PIECES ? 'in part' : 'whole, not published')
      }
      isUnpublished = false
      const missingBytes = (PIECES - held.size) * PIECE_BYTES
      const sentAtStart = sent()

      const killed = Promise.withResolvers<void>()
      let isKilled = false
      const kill = () => {
        if (isKilled || isLast) return
        isKilled = true
        const late = arrivals.find(({ atMs }) => atMs >= performance.now() - LATE_MS)
        blob.mayLoseBytes += IN_FLIGHT_BYTES + sent() - (late?.before ?? sent())
        process.kill(victim.pid, 'SIGKILL')
        killed.resolve()
      }
      const killAfter = (ms: number) => void delay(ms).then(kill)
      const arrivals: { atMs: number; before: number }[] = []
      let before = sentAtStart
      const onBytes = () => {
        arrivals.push({ atMs: performance.now(), before })
        before = sent()
        const came = before - sentAtStart
        if (phase === 'middle' && came >= fraction * missingBytes) kill()
        else if (phase === 'end' && came >= missingBytes) killAfter(fraction * END_MS)
      }
      origin.onBytes(onBytes)
      neighbour.onBytes(onBytes)
      if (phase === 'asked') killAfter(fraction * 60)
      else if (missingBytes === 0) killAfter(fraction * END_MS)
      const pulled = read(options.mirror.port, blob, (bytes) => {
        for (let piece = 0; (piece + 1) * PIECE_BYTES <= bytes; piece++) blob.known.add(piece)
      })
      const outcome = await Promise.race([
        pulled.catch((error: unknown) => error),
        killed.promise.then(() => pulled.catch((error: unknown) => error)),
      ])
      if (outcome instanceof WrongBytes) throw new Error(where, { cause: outcome })
      if (typeof outcome === 'number') expect(outcome, where).toBe(BLOB_BYTES)
      else if (!isKilled) throw new Error(where, { cause: outcome })
      if (typeof outcome === 'number' && !isKilled) {
        // It may be killed while it is asked.
        const received = await receivedBytes({ adminUrl: `http://127.0.0.1:${options.admin.port}` }).catch(
          () => undefined,
        )
        const { peer, seed, origin: fromOrigin } = received ?? { peer: missingBytes, seed: 0, origin: 0 }
        expect(peer + seed + fromOrigin, where).toBe(missingBytes)
      }
      if (isLast) {
        expect(outcome, where).toBe(BLOB_BYTES)
        await victim.stop()
      } else {
        kill()
        await victim.exited
      }

      const { partial, final } = files(blob.digest)
      const isPublished = await exists(final)
      const isPartial = await exists(partial)
      // Pieces that came in this run but are not in the index can only be those in flight: the bound is over all runs.
      const total = sent() - blob.sentBefore
      const allowed = BLOB_BYTES + blob.damagedBytes + blob.mayLoseBytes
      expect(total, where).toBeLessThanOrEqual(allowed + overhead(allowed))
      if (held.size === PIECES) expect(sent() - sentAtStart, where).toBeLessThanOrEqual(overhead(0))
      if (isPublished) note('published')
      else if (isPartial) isUnpublished = true
      else note('no file yet')

      if (isPublished) {
        // All of it is there: the next start serves it without a byte from elsewhere.
        for (let piece = 0; piece < PIECES; piece++) blob.known.add(piece)
        if (held.size === PIECES || typeof outcome === 'number') {
          refetched += total - BLOB_BYTES - blob.damagedBytes
          blob = await nextBlob()
        }
      } else if (isDamaging && isPartial && !isLast) {
        const pieces = [...blob.known]
        const lostPieces = new Set(pieces.length === 0 ? [] : [0, 1, 2].map(() => pieces[random(pieces.length)] ?? 0))
        await damage(partial, blob, lostPieces)
        note('then damaged')
      }
    }
    process.stdout.write(`kills found the node: ${JSON.stringify(found)}; fetched again: ${refetched} bytes\n`)
  })
})

/** How many recorded pieces a node found damaged when it started. */
function damagedPieces(node: Launched): number {
  return Number(/"damaged":(\d+).*partial blob taken up again/.exec(node.output.text())?.[1] ?? 0)
}

/** What a power cut may leave: pages of recorded pieces are zero, and others hold what was never verified. */
async function damage(file: string, blob: Blob, pieces: ReadonlySet<number>): Promise<void> {
  const handle = await open(file, 'r+')
  blob.isDamaged = true
  try {
    for (const piece of pieces) {
      await handle.write(Buffer.alloc(4096), 0, 4096, piece * PIECE_BYTES + 8192)
      blob.known.delete(piece)
    }
    for (let piece = 0; piece < PIECES; piece++) {
      if (blob.known.has(piece) || pieces.has(piece) || piece % 3 > 0) continue
      await handle.write(Buffer.alloc(4096, 0xff), 0, 4096, piece * PIECE_BYTES)
    }
  } finally {
    await handle.close()
  }
}

/** The mirror sent what the blob does not hold. */
class WrongBytes extends Error {}

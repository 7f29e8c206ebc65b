/** The uploading process: serves one blob over the lane, over plain TCP and over libp2p. */
import { HaveSet, PieceLayout } from '@shoal/core'
import { createIdentityCertificate, type HeldBlob } from '@shoal/peer'
import { answerParent, startThread } from '../kit/talk.ts'
import { serveLibp2p } from './libp2p.ts'
import { startWorkers } from './node.ts'
import type { PlainServerSettings } from './plain-server.ts'
import { type Settings, THREADS, type Uploader } from './plan.ts'

async function start({ folder, blob }: Settings): Promise<Uploader> {
  const { count } = new PieceLayout(blob.sizeBytes)
  const have = new SharedArrayBuffer(HaveSet.byteLength(count))
  const haveSet = new HaveSet(count, have)
  for (let piece = 0; piece < count; piece++) haveSet.add(piece)
  const held: HeldBlob = { file: blob.file, size: blob.sizeBytes, have }
  const { workers, identity } = await startWorkers('uploader', folder, (digest) =>
    digest === blob.digest ? held : undefined,
  )
  const plainPort = await startPlainServers({ file: blob.file, port: 0 })
  const credentials = await createIdentityCertificate(identity.privateKey)
  const tlsPort = await startPlainServers({ file: blob.file, port: 0, credentials })
  const multiaddr = await serveLibp2p(identity.privateKey, blob.file)
  return { peerId: identity.peerId, lanePort: workers.lanePort, plainPort, tlsPort, multiaddr }
}

async function startPlainServers(settings: PlainServerSettings): Promise<number> {
  let { port } = settings
  for (let thread = 0; thread < THREADS; thread++) {
    const { answer } = await startThread(new URL('./plain-server.ts', import.meta.url), { ...settings, port })
    port = answer as number
  }
  return port
}

let isStarted = false
let before = process.cpuUsage()

// After the settings, `begin` and `end` of a measure; the end is answered with the CPU seconds since the beginning.
answerParent(async (message) => {
  if (!isStarted) {
    isStarted = true
    return start(message as Settings)
  }
  if ((message as { do: 'begin' | 'end' }).do === 'begin') {
    before = process.cpuUsage()
    return 'begun'
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
})

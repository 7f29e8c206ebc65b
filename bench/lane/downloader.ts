/** The downloading process: gets the blob over whichever way it is told. */
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PieceLayout } from '@shoal/core'
import type { PieceRequest, WorkerPool } from '@shoal/peer'
import { answerParent, startThread, type Teller } from '../kit/talk.ts'
import { Libp2pTransport } from './libp2p.ts'
import { startWorkers } from './node.ts'
import { IN_FLIGHT, type Measured, type Settings, THREADS, type Transport, type Variant } from './plan.ts'
import type { ReceiverOrder, ReceiverSettings, Road } from './receiver.ts'

/** What the process is told after its settings. */
export type DownloaderOrder = { readonly do: 'connect'; readonly variant: Variant } | { readonly do: 'measure' }

const never = new AbortController().signal

/** Threads of the benchmark's own that drop what they get. */
class ReceiverThreads implements Transport {
  readonly #over: Road
  readonly #threads: readonly Teller[]
  readonly #next: Int32Array

  constructor(over: Road, threads: readonly Teller[], next: SharedArrayBuffer) {
    this.#over = over
    this.#threads = threads
    this.#next = new Int32Array(next)
  }

  connect(): Promise<void> {
    return this.#tell({ do: 'connect', over: this.#over })
  }

  fetchAll(): Promise<void> {
    Atomics.store(this.#next, 0, 0)
    return this.#tell({ do: 'fetchAll' })
  }

  async disconnect(): Promise<void> {}

  async #tell(order: ReceiverOrder): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.ask(order)))
  }
}

/** The node's own worker threads, which hash every piece and write it into a file. */
class NodeWorkers implements Transport {
  readonly #workers: WorkerPool
  readonly #count: number
  readonly #request: (piece: number) => PieceRequest
  readonly #file: string

  constructor(workers: WorkerPool, { blob, uploader }: Required<Settings>, file: string) {
    this.#workers = workers
    const layout = new PieceLayout(blob.sizeBytes)
    this.#count = layout.count
    this.#file = file
    this.#request = (piece) => ({
      digest: blob.digest,
      piece,
      offset: layout.offset(piece),
      length: layout.length(piece),
      sha256: blob.sha256[piece] ?? new Uint8Array(0),
      file,
      parent: { peerId: uploader.peerId, host: '127.0.0.1', port: uploader.lanePort },
    })
  }

  async connect(): Promise<void> {
    await this.#fetch(Math.min(IN_FLIGHT, this.#count))
  }

  fetchAll(): Promise<void> {
    return this.#fetch(this.#count)
  }

  /** Writes the file back to the disk, which would otherwise happen during the next measure. */
  async disconnect(): Promise<void> {
    if (this.#file === '/dev/null') return
    const handle = await open(this.#file, 'r+')
    await handle.datasync()
    await handle.close()
  }

  async #fetch(count: number): Promise<void> {
    let next = 0
    const loop = async (): Promise<void> => {
      while (next < count) await this.#workers.fetchPiece(this.#request(next++), never)
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, loop))
  }
}

async function start(settings: Required<Settings>): Promise<Record<Variant, Transport>> {
  const { folder, blob, uploader } = settings
  const { workers, identity } = await startWorkers('downloader', folder, () => undefined)
  const next = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  const receiver: ReceiverSettings = { blob, uploader, identityFile: join(folder, 'downloader.key'), next }
  const threads: Teller[] = []
  for (let i = 0; i < THREADS; i++)
    threads.push((await startThread(new URL('./receiver.ts', import.meta.url), receiver)).thread)
  const file = join(folder, 'received')
  await writeFile(file, '')
  return {
    plainTcp: new ReceiverThreads('plain', threads, next),
    plainTls: new ReceiverThreads('tls', threads, next),
    libp2p: await Libp2pTransport.create(identity.privateKey, uploader.multiaddr, blob),
    laneReceive: new ReceiverThreads('lane', threads, next),
    laneHash: new NodeWorkers(workers, settings, '/dev/null'),
    laneStore: new NodeWorkers(workers, settings, file),
  }
}

async function measure(transport: Transport): Promise<Measured> {
  const cpuBefore = process.cpuUsage()
  const beganMs = performance.now()
  await transport.fetchAll()
  const seconds = (performance.now() - beganMs) / 1000
  const { user, system } = process.cpuUsage(cpuBefore)
  return { seconds, cpuSeconds: (user + system) / 1e6 }
}

let transports: Record<Variant, Transport> | undefined
let transport: Transport | undefined

answerParent(async (message) => {
  if (transports === undefined) {
    transports = await start(message as Required<Settings>)
    return 'ready'
  }
  const order = message as DownloaderOrder
  if (order.do === 'connect') {
    transport = transports[order.variant]
    await transport.connect()
    return 'connected'
  }
  if (transport === undefined) throw new Error('connect comes before measure')
  const measured = await measure(transport)
  await transport.disconnect()
  return measured
})

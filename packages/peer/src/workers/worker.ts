import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { createLogger, errorChain, systemErrorCode } from '@shoal/core'
import { OriginClient } from '@shoal/origin'
import { LaneClient } from '../lane/client.ts'
import { HeldBlobs } from '../lane/held-blobs.ts'
import { LaneServer } from '../lane/server.ts'
import { laneCounts } from '../lane/shared-counts.ts'
import { UploadSlots } from '../lane/upload-slots.ts'
import { UploadTurns } from '../lane/upload-turns.ts'
import { ThreadLimits } from '../limits/thread-limits.ts'
import { withCancelFlag } from './cancel-flag.ts'
import { packFailure } from './failures.ts'
import { hashGrowing } from './growing-hash.ts'
import { hashBlob, hashPieces, hashUnhurried } from './hashing.ts'
import { MainLine } from './main-line.ts'
import type { Task, TaskName, TaskResult, TaskTable, WorkerSettings } from './messages.ts'
import { fetchOriginRun } from './origin-run.ts'
import { PortDuplex, streamLinks } from './port-duplex.ts'
import { letMainThreadGoFirst } from './priority.ts'

// Wires the rooms of one worker thread: the lane's server starts when the main thread says so, tasks run from then on.

if (parentPort === null) throw new Error('worker.ts runs in a worker thread of WorkerPool only')

letMainThreadGoFirst()
const settings = workerData as WorkerSettings
const blobs = new HeldBlobs((digest) => main.lookUp(digest))
const limits = new ThreadLimits(settings.limits)
const main = new MainLine(parentPort, {
  listen,
  forget: (digest) => blobs.forget(digest),
  limit: (inForce) => limits.apply(inForce),
  serve,
  cutOff: (peerId) => server?.cutOff(peerId),
})
const origin = new OriginClient(settings.origins, { log: createLogger('origin', 'warn'), limit: limits.origin })
/** There once the main thread has said which thread this is; a new thread may get its first tasks before. */
const client = Promise.withResolvers<LaneClient>()
let server: LaneServer | undefined

/** The work a thread does, by name. */
const tasks: {
  [Name in TaskName]: (
    input: TaskTable[Name]['input'],
    signal: AbortSignal,
    hurry: AbortSignal,
  ) => Promise<TaskTable[Name]['output']>
} = {
  fetchPiece,
  fetchOriginRun: (run, signal) => fetchOriginRun(origin, run, signal),
  hashGrowing,
  hashBlob,
  hashUnhurried,
  hashPieces,
}

/** Runs a task; the one function that Piscina calls. */
export async function run<Name extends TaskName>(task: Task<Name>): Promise<TaskResult<TaskTable[Name]['output']>> {
  try {
    const work = (signal: AbortSignal, hurry: AbortSignal) => tasks[task.name](task.input, signal, hurry)
    return { isDone: true, output: await withCancelFlag(task.cancel, work) }
  } catch (error) {
    const failure = packFailure(error)
    if (failure === undefined) throw error
    return { isDone: false, failure }
  }
}

async function fetchPiece(
  { request, way }: TaskTable['fetchPiece']['input'],
  signal: AbortSignal,
  hurry: AbortSignal,
): Promise<TaskTable['fetchPiece']['output']> {
  const lane = await client.promise
  const startedAt = performance.now()
  const { digest, piece } = request
  await lane.fetch(request, signal, { way, hurry, ending: () => main.tell({ type: 'ending', digest, piece }) })
  return { bytes: request.length, durationMs: performance.now() - startedAt }
}

function clockDiffers(peerId: string, aheadMs: number): void {
  main.tell({ type: 'clockDiffers', peerId, aheadMs })
}

async function listen(port: number, thread: number): Promise<void> {
  const { lane, credentials } = settings
  const counts = laneCounts(settings.counts, thread)
  const slots = new UploadSlots(settings.slots, thread)
  client.resolve(
    new LaneClient(lane, {
      credentials,
      counts,
      limit: limits.download,
      streams: streamLinks((peerId, port) => main.tell({ type: 'openStream', peerId, port }, [port])),
      found: (parent, finding, why) => main.tell({ type: 'found', parent, finding, why }),
      ownPeerId: settings.peerId,
      clockDiffers,
    }),
  )
  server = new LaneServer(lane, {
    credentials,
    blobs,
    counts,
    slots,
    turns: new UploadTurns(limits.upload, slots, settings.shares),
    clockDiffers,
    rejected: (digest, piece, peerId) => main.tell({ type: 'rejected', digest, piece, peerId }),
    firstConnected: () => main.tell({ type: 'busy' }),
    readFailed: (digest, error) => main.tell({ type: 'readFailed', digest, reason: errorChain(error) }),
  })
  try {
    main.tell({ type: 'listening', port: await server.listen(port) })
  } catch (error) {
    main.tell({ type: 'listenFailed', systemCode: systemErrorCode(error) })
  }
}

function serve(peerId: string, port: MessagePort): void {
  if (server === undefined) port.close()
  else server.serve(new PortDuplex(port), peerId)
}

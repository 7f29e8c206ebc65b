import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLogger, PieceLayout, ShoalError } from '@shoal/core'
import { createMetricsRegistry, loadOrCreateIdentity } from '@shoal/core/service'
import { createOriginMetrics } from '@shoal/origin/service'
import { createLaneMetrics, WorkerPool } from '@shoal/peer'

const AT_ONCE = 8

/** A node of the test's own that asks others for pieces over the lane and holds nothing. */
export class LaneProbe {
  readonly #workers: WorkerPool
  readonly #target: string

  private constructor(workers: WorkerPool, target: string) {
    this.#workers = workers
    this.#target = target
  }

  /** Starts it with its identity and what it receives in `folder`. */
  static async start(folder: string): Promise<LaneProbe> {
    const metrics = createMetricsRegistry()
    const limits = { connectTimeoutMs: 3000, headersTimeoutMs: 3000, progressTimeoutMs: 3000, totalTimeoutMs: 3000 }
    const lane = { host: '127.0.0.1', port: 0, uploadSlots: 1, idleCloseMs: 1000 }
    const workers = new WorkerPool(
      {
        threads: 1,
        lane: { ...lane, stallTimeoutMs: 5000, connectTimeoutMs: 5000 },
        origins: { origins: {}, allowUnlisted: false, limits: { ...limits, connections: 1 } },
      },
      {
        identity: await loadOrCreateIdentity(join(folder, 'probe.key')),
        log: createLogger('probe', 'silent'),
        metrics: createLaneMetrics(metrics),
        originMetrics: createOriginMetrics(metrics),
        lookup: () => undefined,
      },
    )
    await workers.start()
    const target = join(folder, 'probed')
    await writeFile(target, '')
    return new LaneProbe(workers, target)
  }

  /**
   * Asks `parent` for every piece of a blob; returns those it sent, each of which had the sha256 it should. Throws
   * LaneError when one had not, or when the parent answered anything but that it does not hold the piece.
   */
  async heldPieces(
    parent: { readonly peerId: string; readonly port: number },
    digest: string,
    content: Buffer,
  ): Promise<Set<number>> {
    const layout = new PieceLayout(content.length)
    const held = new Set<number>()
    let next = 0
    const askNext = async (): Promise<void> => {
      for (let piece = next++; piece < layout.count; piece = next++) {
        const offset = layout.offset(piece)
        const length = layout.length(piece)
        const sha256 = createHash('sha256')
          .update(content.subarray(offset, offset + length))
          .digest()
        const request = { digest, piece, offset, length, sha256, file: this.#target }
        try {
          const from = { ...parent, host: '127.0.0.1' }
          await this.#workers.fetchPiece({ ...request, parent: from }, AbortSignal.timeout(10_000))
          held.add(piece)
        } catch (error) {
          if (!(error instanceof ShoalError && error.code === 'notHeld')) throw error
        }
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, askNext))
    return held
  }

  stop(): Promise<void> {
    return this.#workers.stop()
  }
}

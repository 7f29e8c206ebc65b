import { Counter, Gauge, type Registry } from 'prom-client'

export type RuntimeContentMetrics = ReturnType<typeof createRuntimeContentMetrics>

/** What the node has of the runtime's content store. */
export interface RuntimeContentView {
  /** Empty when it is not used. */
  readonly folder: string
  /** Verified, and served. */
  readonly blobs: number
  readonly bytes: number
  /** Yet to be verified. */
  readonly waitingBlobs: number
  readonly waitingBytes: number
  /** Files that are not what their name says; never served. */
  readonly wrongBlobs: number
}

/** Metrics of the runtime's content. */
export function createRuntimeContentMetrics(registry: Registry, view: () => RuntimeContentView) {
  const registers = [registry]
  new Gauge({
    name: 'shoal_runtime_content_blobs',
    help: "Blobs in the runtime's content store: served, waiting to be verified, or wrong",
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { blobs, waitingBlobs, wrongBlobs } = view()
      this.set({ state: 'served' }, blobs)
      this.set({ state: 'waiting' }, waitingBlobs)
      this.set({ state: 'wrong' }, wrongBlobs)
    },
  })
  new Gauge({
    name: 'shoal_runtime_content_bytes',
    help: "Bytes of blobs in the runtime's content store: served, or waiting to be verified",
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { bytes, waitingBytes } = view()
      this.set({ state: 'served' }, bytes)
      this.set({ state: 'waiting' }, waitingBytes)
    },
  })
  return {
    verified: new Counter({
      name: 'shoal_runtime_content_verified_blobs_total',
      help: "Files of the runtime's content store that were hashed, by what came out",
      labelNames: ['result'] as const,
      registers,
    }),
    verifiedBytes: new Counter({
      name: 'shoal_runtime_content_verified_bytes_total',
      help: "Bytes of the runtime's content store that were hashed",
      registers,
    }),
  }
}

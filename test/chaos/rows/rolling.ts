import { setTimeout as delay } from 'node:timers/promises'
import type { Pulled, Service, Workload } from '@shoal/bench'
import { restartGently } from '../kill.ts'
import type { Row } from '../row.ts'
import type { Scene } from '../scene.ts'

/** Of each further blob: a peer pulls several while one service restarts. */
const BLOB_BYTES = 4 * 1024 * 1024
/** Between one that is ready again and the next: Kubernetes' `minReadySeconds`. */
const SETTLE_MS = 2000

/** A rolling update. */
export const ROLLING_ROWS: readonly Row[] = [
  {
    name: 'rolling-restart',
    fault:
      'one after the other, two schedulers, seed and peers are restarted (SIGTERM) while all peers pull blob after blob',
    schedulers: 2,
    strike: async (scene) => {
      const { cluster, pulls, pull } = scene
      const update = new Update(scene)
      const going = cluster.nodes.map((_, node) => update.pullOn(node))
      const restarting = update.restartAll([...cluster.schedulers, cluster.seed, ...cluster.nodes])
      await Promise.all([restarting, ...going])
      const last = await update.blobAt(update.blobs)
      // What broke, and what nobody has seen yet.
      const again = cluster.nodes.map(async (_, node) => {
        const pulled = []
        for (const blob of [...(update.broken.get(node) ?? []), last]) pulled.push(await pull(node, blob))
        return pulled
      })
      const judged = [...update.judged, ...(await Promise.all(again)).flat()]
      if (judged.length < pulls.size * 3) throw new Error(`there were ${judged.length} pulls only`)
      return { broken: update.brokenFirst, more: judged.map((one) => Promise.resolve(one)) }
    },
  },
]

/** What goes on in the meantime. */
class Update {
  /** Pulls that had to end well. */
  readonly judged: Pulled[] = []
  /** Blobs whose pull broke, as its node was down; undefined: the one that all pull first. */
  readonly broken = new Map<number, (Workload | undefined)[]>()
  /** Nodes whose first pull broke in this way. */
  readonly brokenFirst: number[] = []
  #isOver = false
  readonly #scene: Scene
  readonly #blobs: Promise<Workload>[] = []
  /** Until when each service that was told to end was not ready again, by `performance.now()`. */
  readonly #downs = new Map<Service, { toMs: number }>()
  readonly #backs = new Map<Service, Promise<void>>()

  constructor(scene: Scene) {
    this.#scene = scene
  }

  get blobs(): number {
    return this.#blobs.length
  }

  /** The further blob of this number, pushed when it is first asked for. */
  blobAt(number: number): Promise<Workload> {
    this.#blobs[number] ??= this.#scene.push(BLOB_BYTES)
    return this.#blobs[number]
  }

  /** Restarts one after the other. */
  async restartAll(services: readonly Service[]): Promise<void> {
    try {
      for (const service of services) {
        await this.#restart(service)
        await delay(SETTLE_MS)
      }
    } finally {
      this.#isOver = true
    }
  }

  /** Pulls blob after blob through a node, until the update is over. */
  async pullOn(node: number): Promise<void> {
    await this.#follow(node, undefined, this.#scene.pulls.get(node) as Promise<Pulled>)
    for (let number = 0; !this.#isOver; number++) {
      const blob = await this.blobAt(number)
      await this.#follow(node, blob, this.#scene.pull(node, blob))
    }
  }

  async #follow(node: number, blob: Workload | undefined, pull: Promise<Pulled>): Promise<void> {
    const service = this.#scene.cluster.nodes[node] as Service
    const fromMs = performance.now()
    const pulled = await pull
    const down = this.#downs.get(service)
    const wasDown = down !== undefined && fromMs <= down.toMs
    if (pulled.failed === 0 || pulled.wrongBytes > 0 || !wasDown) {
      if (blob !== undefined) this.judged.push(pulled)
      return
    }
    this.broken.set(node, [...(this.broken.get(node) ?? []), blob])
    if (blob === undefined) this.brokenFirst.push(node)
    await this.#backs.get(service)
  }

  async #restart(service: Service): Promise<void> {
    const down = { toMs: Number.POSITIVE_INFINITY }
    this.#downs.set(service, down)
    const back = restartGently(service)
    this.#backs.set(service, back)
    await back
    down.toMs = performance.now()
  }
}

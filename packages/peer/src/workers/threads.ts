import type { MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { BusyWatch } from './busy-watch.ts'
import type { Task, TaskName, TaskResult, TaskTable, WorkerSettings } from './messages.ts'

/** Tasks one thread runs at once; they wait for the network and the disk most of the time. */
const TASKS_PER_THREAD = 1024

/** What the threads say that is not the answer to a task. */
export interface ThreadsListener {
  /** A thread came up; its line to the main thread. */
  connected(port: MessagePort): void
  failed(error: Error): void
}

/** Some of the threads, and how many tasks they run. */
interface Group {
  readonly piscina: Piscina
  readonly threads: number
  isUp: boolean
  tasks: number
}

/** How many threads there are, and when. */
export interface ThreadsOptions {
  /** At least 1. */
  readonly count: number
  /** The others are there once the first takes this share of a core; 0: once there is work. */
  readonly busyShare: number
}

/**
 * The threads themselves: the first runs from the start, the others once it has more to do than it should. Each has its
 * own memory, compiled code and connections, which a node on a link that one thread fills would pay for without need:
 * of sixteen at 100 Mbit/s each, a tenth of their CPU time and 45 of 220 MiB (docs/benchmarks.md, "Swarm on shaped
 * links"). And most nodes of a cluster are idle most of the time.
 */
export class Threads {
  readonly #settings: WorkerSettings
  readonly #others: number
  readonly #listener: ThreadsListener
  readonly #groups: Group[]
  /** Says when the others are needed; left out: with the first work. */
  readonly #watch: BusyWatch | undefined

  constructor({ count, busyShare }: ThreadsOptions, settings: WorkerSettings, listener: ThreadsListener) {
    this.#settings = settings
    this.#others = count - 1
    this.#listener = listener
    const first = this.#start(1)
    this.#groups = [first]
    const grow = () => this.#startOthers()
    this.#watch = busyShare > 0 ? new BusyWatch(busyShare, () => cpuMsOf(first), grow) : undefined
  }

  /** There is work: the threads that are not there yet are started when they are needed. */
  grow(): void {
    if (this.#others === 0 || this.#groups.length > 1) return
    if (this.#watch === undefined) this.#startOthers()
    else this.#watch.start()
  }

  /** Runs a task where the fewest are running. */
  async run<Name extends TaskName>(
    task: Task<Name>,
    transferList: MessagePort[],
  ): Promise<TaskResult<TaskTable[Name]['output']>> {
    this.grow()
    const group = this.#leastBusy()
    group.tasks++
    try {
      // Piscina takes an array only; its type, made from an overload of postMessage, says otherwise.
      return await group.piscina.run(task, { transferList: transferList as object })
    } finally {
      group.tasks--
    }
  }

  /** Ends all threads, whatever they do. */
  async destroy(): Promise<void> {
    this.#watch?.stop()
    await Promise.all(this.#groups.map(({ piscina }) => piscina.destroy()))
  }

  #startOthers(): void {
    this.#groups.push(this.#start(this.#others))
  }

  #leastBusy(): Group {
    let [least] = this.#groups as [Group]
    for (const group of this.#groups) {
      if (group.isUp && group.tasks / group.threads < least.tasks / least.threads) least = group
    }
    return least
  }

  #start(threads: number): Group {
    const piscina = new Piscina({
      filename: new URL('./worker.ts', import.meta.url).href,
      name: 'run',
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Two histograms of 0.4 MiB that nobody reads.
      recordTiming: false,
      concurrentTasksPerWorker: TASKS_PER_THREAD,
      // Piscina's idle threads would block in Atomics.wait, and their upload servers with them.
      atomics: 'disabled',
      workerData: this.#settings,
    })
    const group: Group = { piscina, threads, isUp: false, tasks: 0 }
    piscina.on('message', (port: MessagePort) => {
      group.isUp = true
      this.#listener.connected(port)
    })
    piscina.on('error', (error: Error) => this.#listener.failed(error))
    return group
  }
}

/** CPU time of a group's first thread so far; undefined when it has just died, or is not there yet. */
async function cpuMsOf({ piscina }: Group): Promise<number | undefined> {
  try {
    const usage = await piscina.threads[0]?.cpuUsage()
    return usage === undefined ? undefined : (usage.user + usage.system) / 1000
  } catch {
    return undefined
  }
}

import type { MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
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

/**
 * The threads themselves: the first runs from the start, the others from the first work on. A thread takes some 10 MiB,
 * and most nodes of a cluster are idle most of the time.
 */
export class Threads {
  readonly #settings: WorkerSettings
  readonly #others: number
  readonly #listener: ThreadsListener
  readonly #groups: Group[]

  /** @param count at least 1 */
  constructor(count: number, settings: WorkerSettings, listener: ThreadsListener) {
    this.#settings = settings
    this.#others = count - 1
    this.#listener = listener
    this.#groups = [this.#start(1)]
  }

  /** There is work: starts the threads that are not there yet. */
  grow(): void {
    if (this.#others > 0 && this.#groups.length === 1) this.#groups.push(this.#start(this.#others))
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
    await Promise.all(this.#groups.map(({ piscina }) => piscina.destroy()))
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

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

/** The other end of questions that are answered one at a time: a process or a thread of ours. */
export interface Teller {
  /** Sends a message and waits for the answer. Throws when the other end dies first. */
  ask(message: object): Promise<unknown>
  end(): Promise<void>
}

/** Starts a process that runs `file` and sends it its first message. */
export async function startProcess(file: URL, settings: object): Promise<{ process: Teller; answer: unknown }> {
  const child: ChildProcess = fork(file, { serialization: 'advanced' })
  const gone = new AbortController()
  child.once('exit', (code, signal) => gone.abort(new Error(`${file.pathname} ended (${signal ?? code})`)))
  const teller: Teller = {
    async ask(message) {
      child.send(message)
      const [answer] = await once(child, 'message', { signal: gone.signal })
      return answer
    },
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
  return { process: teller, answer: await teller.ask(settings) }
}

/** Starts a thread that runs `file` and sends it its first message. */
export async function startThread(file: URL, settings: object): Promise<{ thread: Teller; answer: unknown }> {
  const worker = new Worker(file)
  const thread: Teller = {
    async ask(message) {
      worker.postMessage(message)
      const [answer] = await once(worker, 'message')
      return answer
    },
    end: async () => void (await worker.terminate()),
  }
  return { thread, answer: await thread.ask(settings) }
}

/** In a process started by startProcess: answers each message. An error ends the process. */
export function answerParent(answer: (message: unknown) => Promise<unknown>): void {
  // The parent died: nobody else would end this process.
  process.once('disconnect', () => process.exit(1))
  process.on('message', async (message) => {
    const result = await answer(message)
    process.send?.(result)
  })
}

import { MessageChannel, type MessagePort, type parentPort } from 'node:worker_threads'
import type { HeldBlob } from '../lane/held-blobs.ts'
import type { Limits } from '../limits/options.ts'
import type { ToMain, ToWorker } from './messages.ts'

/** What the main thread tells a worker thread besides answers. */
export interface MainLineListener {
  listen(port: number, thread: number): void
  forget(digest: string): void
  limit(limits: Limits): void
  serve(peerId: string, port: MessagePort): void
  cutOff(peerId: string): void
}

/**
 * A worker thread's line to the main thread, besides Piscina's own: Piscina uses the thread's parent port for its
 * start-up only and passes on, as `message` events of the pool, whatever else comes out of it. So one message with one
 * end of a channel goes that way, and all others through the channel.
 */
export class MainLine {
  readonly #port: MessagePort
  readonly #lookUps = new Map<number, (held: HeldBlob | undefined) => void>()
  #nextId = 0

  constructor(parent: NonNullable<typeof parentPort>, listener: MainLineListener) {
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#port.on('message', (message: ToWorker) => {
      switch (message.type) {
        case 'found':
          this.#found(message.id, message.held)
          break
        case 'forget':
          listener.forget(message.digest)
          break
        case 'limit':
          listener.limit(message.limits)
          break
        case 'serve':
          listener.serve(message.peerId, message.port)
          break
        case 'cutOff':
          listener.cutOff(message.peerId)
          break
        case 'listen':
          listener.listen(message.port, message.thread)
          break
      }
    })
    parent.postMessage(port2, [port2])
  }

  tell(message: ToMain, transferList: MessagePort[] = []): void {
    this.#port.postMessage(message, transferList)
  }

  /** What the main thread holds of a blob. */
  lookUp(digest: string): Promise<HeldBlob | undefined> {
    const id = this.#nextId++
    this.tell({ type: 'lookUp', id, digest })
    return new Promise((resolve) => this.#lookUps.set(id, resolve))
  }

  #found(id: number, held: HeldBlob | undefined): void {
    this.#lookUps.get(id)?.(held)
    this.#lookUps.delete(id)
  }
}

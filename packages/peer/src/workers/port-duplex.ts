import { Duplex } from 'node:stream'
import { MessageChannel, type MessagePort } from 'node:worker_threads'
import type { Links } from '../lane/client-link.ts'
import { LaneError } from '../lane/errors.ts'
import type { ToStreamOwner, ToStreamUser } from './stream-messages.ts'

/** Written by the main thread, one chunk at a time; read as fast as it is used. */
export class PortDuplex extends Duplex {
  readonly #port: MessagePort
  readonly #opened: (peerId: string) => void
  #written: ((error?: Error | null) => void) | undefined
  /** Bytes that wait to be read, and are acknowledged then. */
  #owed = 0

  /** @param opened told who is at the other end, once that is known */
  constructor(port: MessagePort, opened: (peerId: string) => void = () => {}) {
    super({ allowHalfOpen: true })
    this.#port = port
    this.#opened = opened
    port.on('message', (message: ToStreamUser) => this.#receive(message))
    port.once('close', () => this.destroy())
  }

  override _read(): void {
    if (this.#owed === 0) return
    const byteLength = this.#owed
    this.#owed = 0
    this.#tell({ type: 'taken', byteLength })
  }

  override _write(chunk: Buffer, _encoding: string, written: (error?: Error | null) => void): void {
    this.#written = written
    // A copy of its own, as the writer goes on to use the chunk.
    const bytes = new Uint8Array(chunk)
    this.#tell({ type: 'bytes', bytes }, [bytes.buffer])
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#tell({ type: 'end' })
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#port.close()
    const written = this.#written
    this.#written = undefined
    written?.(error ?? new Error('the stream is closed'))
    done(error)
  }

  #receive(message: ToStreamUser): void {
    if (this.destroyed) return
    switch (message.type) {
      case 'bytes':
        this.#owed += message.bytes.byteLength
        if (this.push(Buffer.from(message.bytes.buffer, message.bytes.byteOffset, message.bytes.byteLength)))
          this._read()
        break
      case 'taken': {
        const written = this.#written
        this.#written = undefined
        written?.()
        break
      }
      case 'opened':
        this.#opened(message.peerId)
        break
      case 'broke':
        this.destroy(new LaneError('unreachable', message.reason))
        break
    }
  }

  #tell(message: ToStreamOwner, transferList: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, transferList)
  }
}

/**
 * Links to parents over libp2p streams.
 * @param openStream has a stream to a peer opened, and used by the other end of `port`
 */
export function streamLinks(openStream: (peerId: string, port: MessagePort) => void): Links {
  return {
    open: ({ peerId }, listener) => {
      const { port1, port2 } = new MessageChannel()
      openStream(peerId, port2)
      const duplex: PortDuplex = new PortDuplex(port1, (peer) => listener.opened(() => peer))
      duplex.on('data', (bytes: Buffer) => {
        if (!listener.read(bytes)) duplex.pause()
      })
      return duplex
    },
    nameOf: ({ peerId }) => `the libp2p stream to ${peerId}`,
  }
}

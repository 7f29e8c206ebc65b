import type { MessagePort } from 'node:worker_threads'
import type { Stream } from '@libp2p/interface'
import type { ToStreamOwner, ToStreamUser } from './stream-messages.ts'

/** Bytes on their way to a worker thread, beyond which the stream is not read. */
const MAX_UNTAKEN_BYTES = 1024 * 1024
const BROKEN: ReadonlySet<string> = new Set(['aborted', 'reset'])

/** Has the thread at the other end of `port` use the stream, until either is closed, and then both are. */
export function bridge(stream: Stream, port: MessagePort): void {
  new StreamBridge(stream, port).start()
}

/** The main thread's end of a stream that a worker thread uses. */
class StreamBridge {
  readonly #stream: Stream
  readonly #port: MessagePort
  #untakenBytes = 0
  #isWriting = false
  #isClosed = false

  constructor(stream: Stream, port: MessagePort) {
    this.#stream = stream
    this.#port = port
  }

  start(): void {
    const stream = this.#stream
    // The library goes on sending one microtask after this event.
    const progress = () => queueMicrotask(() => this.#noteWritten())
    stream.addEventListener('drain', progress)
    stream.addEventListener('idle', progress)
    stream.addEventListener('end', () => this.#close('the other end ended the stream'))
    stream.addEventListener('close', ({ error }) => this.#close(error?.message ?? 'the stream was closed'))
    this.#port.on('message', (message: ToStreamOwner) => this.#receive(message))
    this.#port.once('close', () => this.#close('the stream is not used any more'))
    this.#port.unref()
    // What happened before tells of itself no more.
    if (BROKEN.has(stream.status) || stream.readableEnded) this.#close(`the stream was ${stream.status}`)
    else stream.addEventListener('message', ({ data }) => this.#pass(data))
  }

  #pass(data: { readonly byteLength: number; subarray(): Uint8Array }): void {
    if (this.#isClosed) return
    const bytes = new Uint8Array(data.subarray())
    this.#untakenBytes += bytes.byteLength
    tellUser(this.#port, { type: 'bytes', bytes }, [bytes.buffer])
    if (this.#untakenBytes > MAX_UNTAKEN_BYTES) this.#stream.pause()
  }

  #receive(message: ToStreamOwner): void {
    if (this.#isClosed) return
    try {
      if (message.type === 'bytes') this.#write(message.bytes)
      else if (message.type === 'taken') this.#taken(message.byteLength)
      else void this.#stream.close().catch(() => {})
    } catch (error) {
      this.#close(error instanceof Error ? error.message : String(error))
    }
  }

  #write(bytes: Uint8Array): void {
    this.#isWriting = true
    this.#stream.send(bytes)
    this.#noteWritten()
  }

  /** `onDrain` of the stream can not be waited for: after the first time it resolves at once. */
  #noteWritten(): void {
    if (!this.#isWriting || this.#stream.writeBufferLength > 0 || this.#stream.writableNeedsDrain) return
    this.#isWriting = false
    tellUser(this.#port, { type: 'taken' })
  }

  #taken(byteLength: number): void {
    this.#untakenBytes -= byteLength
    if (this.#untakenBytes <= MAX_UNTAKEN_BYTES) this.#stream.resume()
  }

  #close(reason: string): void {
    if (this.#isClosed) return
    this.#isClosed = true
    tellUser(this.#port, { type: 'broke', reason })
    this.#port.close()
    this.#stream.abort(new Error(reason))
  }
}

/** Tells a worker thread something of its stream. */
export function tellUser(port: MessagePort, message: ToStreamUser, transferList: ArrayBuffer[] = []): void {
  port.postMessage(message, transferList)
}

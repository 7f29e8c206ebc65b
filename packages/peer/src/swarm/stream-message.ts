import type { Stream } from '@libp2p/interface'

const BROKEN: ReadonlySet<string> = new Set(['aborted', 'reset'])

/**
 * All bytes that the other end sends until it closes its writing side. Rejects, and resets the stream, when they are
 * more than `maxBytes`, when the stream breaks, or when `signal` aborts. Nothing beyond `maxBytes` is kept.
 */
export function readMessage(stream: Stream, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let bytes = 0
    const message = (event: { data: { byteLength: number; subarray(): Uint8Array } }) => {
      bytes += event.data.byteLength
      if (bytes > maxBytes) stream.abort(new Error(`a message of more than ${maxBytes} bytes`))
      else chunks.push(event.data.subarray())
    }
    const settle = (error: unknown) => {
      stream.removeEventListener('message', message)
      stream.removeEventListener('end', end)
      stream.removeEventListener('close', close)
      signal.removeEventListener('abort', abort)
      if (error === undefined) resolve(Buffer.concat(chunks))
      else reject(error)
    }
    const end = () => {
      // A reset ends the reading as well; `close` then says why.
      if (!BROKEN.has(stream.status)) settle(undefined)
    }
    const close = (event: { error?: Error }) => settle(event.error)
    const abort = () => {
      const reason = signal.reason instanceof Error ? signal.reason : new Error('aborted')
      stream.abort(reason)
      settle(reason)
    }
    stream.addEventListener('end', end)
    stream.addEventListener('close', close)
    stream.addEventListener('message', message)
    signal.addEventListener('abort', abort, { once: true })
    // What happened before tells of itself no more.
    if (signal.aborted) abort()
    else if (BROKEN.has(stream.status)) settle(new Error(`the stream was ${stream.status}`))
    else if (stream.readableEnded) end()
  })
}

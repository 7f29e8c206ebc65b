import { Duplex } from 'node:stream'

/** Most bytes of a head that is mended. */
export const MAX_HEAD_BYTES = 64 * 1024

const HEAD_END = /\r?\n\r?\n/
const INTERIM = /^HTTP\/1\.[01] 1(?!01)\d\d\b/
const CONTENT_LENGTH = /^content-length[ \t]*:(.*)$/i
const CHUNKED = /^transfer-encoding[ \t]*:(?:.*,)?[ \t]*chunked[ \t]*$/i

/**
 * The head of an answer as Node's parser takes it where Go's takes it as it is: a `Content-Length` beside chunked
 * encoding does not count (RFC 9112 §6.3), and the same one twice counts once (§6.3, RFC 9110 §8.6). All else is left to
 * the parser.
 */
export function mendedHead(head: string): string {
  const lines = head.split(/\r?\n/)
  const lengths = lines.flatMap((line) => CONTENT_LENGTH.exec(line)?.[1]?.split(',') ?? []).map((each) => each.trim())
  const isChunked = lines.some((line) => CHUNKED.test(line))
  const [length] = lengths
  if (!isChunked && lengths.some((each) => each !== length)) return head
  const others = lines.filter((line) => !CONTENT_LENGTH.test(line))
  if (isChunked || length === undefined) return others.join('\r\n')
  const [status = '', ...rest] = others
  return [status, `Content-Length: ${length}`, ...rest].join('\r\n')
}

/** A connection for one request to a server whose answer's head has to be mended. */
export class LenientSocket extends Duplex {
  readonly #socket: Duplex
  /** What came of a head that is not there in full. */
  #head: Buffer | undefined = Buffer.alloc(0)

  constructor(socket: Duplex) {
    super()
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#received(chunk))
    socket.on('end', () => {
      if (this.#head !== undefined && this.#head.length > 0) this.push(this.#head)
      this.push(null)
    })
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, encoding, done)
  }

  override _final(done: () => void): void {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  #received(chunk: Buffer): void {
    const bytes = this.#head === undefined ? chunk : this.#mend(chunk)
    if (bytes.length > 0 && !this.push(bytes)) this.#socket.pause()
  }

  /** What can be handed on: nothing, before the head is there in full. */
  #mend(chunk: Buffer): Buffer {
    const gathered = Buffer.concat([this.#head ?? Buffer.alloc(0), chunk])
    const text = gathered.toString('latin1')
    const end = HEAD_END.exec(text)
    if (end === null || end.index > MAX_HEAD_BYTES) {
      this.#head = gathered
      if (gathered.length > MAX_HEAD_BYTES) {
        this.destroy(Object.assign(new Error('the head of the answer is too long'), { code: 'HPE_HEADER_OVERFLOW' }))
      }
      return Buffer.alloc(0)
    }
    const head = Buffer.from(`${mendedHead(text.slice(0, end.index))}\r\n\r\n`, 'latin1')
    const rest = gathered.subarray(end.index + end[0].length)
    if (!INTERIM.test(text)) {
      this.#head = undefined
      return Buffer.concat([head, rest])
    }
    // The answer proper comes after it.
    this.#head = Buffer.alloc(0)
    return Buffer.concat([head, rest.length === 0 ? rest : this.#mend(rest)])
  }
}

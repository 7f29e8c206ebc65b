import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What a gate does to answers that have a body worth it. */
interface Trouble {
  /** Lets so many bytes of each blob through, then waits. */
  holdAfterBytes?: number | undefined
  /** Cuts the connection after so many bytes of a blob, this many times. */
  cutAfterBytes?: number | undefined
  cuts?: number
  /** Answers all requests with this status. */
  status?: number | undefined
  /** Changes the bytes of blobs. */
  corrupts?: boolean
}

/** Stands before a registry: sees what is asked of it, and makes trouble. */
export class Gate {
  /** `METHOD path?query`, in order. */
  readonly seen: string[] = []
  readonly trouble: Trouble = {}
  readonly #released = Promise.withResolvers<void>()
  readonly #target: URL
  readonly #server = createServer((incoming, response) => this.#forward(incoming, response))

  private constructor(target: string) {
    this.#target = new URL(target)
  }

  static async before(target: string, port = 0): Promise<Gate> {
    const gate = new Gate(target)
    await new Promise<void>((resolve) => gate.#server.listen(port, '127.0.0.1', resolve))
    return gate
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** What was asked with this method of paths that hold `part`. */
  asked(method: string, part: string): string[] {
    return this.seen.filter((each) => each.startsWith(`${method} `) && each.includes(part))
  }

  /** Lets those through that are held. */
  release(): void {
    this.#released.resolve()
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #forward(incoming: IncomingMessage, response: ServerResponse): void {
    const { method = '', url = '', headers } = incoming
    this.seen.push(`${method} ${url}`)
    if (this.trouble.status !== undefined) {
      response.writeHead(this.trouble.status).end()
      return
    }
    const { hostname, port } = this.#target
    const forwarded = request({ hostname, port, path: url, method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      void this.#pass(answer, response, method === 'GET' && url.includes('/blobs/'))
    })
    forwarded.on('error', () => response.destroy())
    incoming.pipe(forwarded)
  }

  async #pass(answer: IncomingMessage, response: ServerResponse, isBlob: boolean): Promise<void> {
    let passedBytes = 0
    const { holdAfterBytes = Number.POSITIVE_INFINITY, cutAfterBytes = Number.POSITIVE_INFINITY } = this.trouble
    const isCut = isBlob && (this.trouble.cuts ?? 0) > 0
    if (isCut) this.trouble.cuts = (this.trouble.cuts ?? 0) - 1
    for await (const chunk of answer) {
      for (const part of isBlob ? cutAt(chunk, holdAfterBytes - passedBytes, cutAfterBytes - passedBytes) : [chunk]) {
        if (isBlob && passedBytes >= holdAfterBytes) await this.#released.promise
        if (isCut && passedBytes >= cutAfterBytes) {
          response.destroy()
          return
        }
        const bytes = isBlob && this.trouble.corrupts === true ? Buffer.alloc(part.byteLength) : part
        passedBytes += bytes.byteLength
        response.write(bytes)
      }
    }
    response.end()
  }
}

function cutAt(chunk: Buffer, ...positions: number[]): Buffer[] {
  const inside = positions.filter((at) => at > 0 && at < chunk.byteLength).sort((a, b) => a - b)
  const bounds = [0, ...inside, chunk.byteLength]
  return bounds.slice(1).map((end, at) => chunk.subarray(bounds[at], end))
}

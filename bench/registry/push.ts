import { connect, type Socket } from 'node:net'

/** What is pushed: the chunks are sent as they are, one after the other. */
export interface Content {
  readonly digest: string
  readonly sizeBytes: number
  chunks(): Iterable<Buffer>
}

/**
 * One HTTP/1.1 connection that is kept alive, for pushes of blobs as containerd makes them: a POST, then all bytes in one
 * PUT. It costs as little as one can: what is measured is the server.
 */
export class PushConnection {
  readonly #host: string
  readonly #socket: Socket
  #answer = ''
  #pending: { readonly resolve: (answer: string) => void; readonly reject: (error: Error) => void } | undefined

  constructor(baseUrl: string) {
    const { hostname, port, host } = new URL(baseUrl)
    this.#host = host
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#take(text))
    this.#socket.on('error', (error) => this.#pending?.reject(error))
    this.#socket.on('close', () => this.#pending?.reject(new Error(`${baseUrl} closed the connection`)))
  }

  /** Throws when the registry does not take it. */
  async push(repository: string, content: Content): Promise<void> {
    const begun = this.#next()
    this.#socket.write(
      `POST /v2/${repository}/blobs/uploads/ HTTP/1.1\r\nhost: ${this.#host}\r\ncontent-length: 0\r\n\r\n`,
    )
    const location = /^location: *(\S+)/im.exec(await begun)?.[1]
    if (location === undefined) throw new Error('the registry gives no place to push to')
    const url = new URL(location, `http://${this.#host}`)
    url.searchParams.set('digest', content.digest)
    const stored = this.#next()
    const head = `PUT ${url.pathname}${url.search} HTTP/1.1\r\nhost: ${this.#host}\r\n`
    this.#socket.write(`${head}content-type: application/octet-stream\r\ncontent-length: ${content.sizeBytes}\r\n\r\n`)
    for (const chunk of content.chunks()) {
      if (!this.#socket.write(chunk)) await new Promise((resolve) => this.#socket.once('drain', resolve))
    }
    const answer = await stored
    if (!answer.startsWith('HTTP/1.1 201')) throw new Error(`a push was answered ${answer.slice(0, 500)}`)
  }

  close(): void {
    this.#pending = undefined
    this.#socket.destroy()
  }

  #next(): Promise<string> {
    this.#answer = ''
    const answer = new Promise<string>((resolve, reject) => {
      this.#pending = { resolve, reject }
    })
    answer.catch(() => {})
    return answer
  }

  #take(text: string): void {
    this.#answer += text
    const end = this.#answer.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = Number(/^content-length: *(\d+)/im.exec(this.#answer)?.[1] ?? 0)
    if (this.#answer.length >= end + 4 + length) this.#pending?.resolve(this.#answer)
  }
}

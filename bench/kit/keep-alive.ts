import { connect, type Socket } from 'node:net'

/** An answer, read to its end. */
export interface KeptAliveRead {
  readonly status: number
  /** Body bytes. */
  readonly bytes: number
}

interface Pending {
  readonly resolve: (read: KeptAliveRead) => void
  readonly reject: (error: Error) => void
}

/**
 * One HTTP/1.1 connection that is kept alive, for one GET at a time of bodies with a `content-length`. It costs as
 * little as one can: what is measured is the server.
 */
export class KeepAliveConnection {
  readonly #host: string
  readonly #socket: Socket
  #pending: Pending | undefined
  #head = ''
  #status = 0
  #length = 0
  #bytes = 0

  constructor(baseUrl: string) {
    const { hostname, port, host } = new URL(baseUrl)
    this.#host = host
    const buffer = Buffer.alloc(128 * 1024)
    const callback = (taken: number) => this.#take(buffer, taken)
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true, onread: { buffer, callback } })
    this.#socket.on('error', (error) => this.#pending?.reject(error))
    this.#socket.on('close', () => this.#pending?.reject(new Error(`${baseUrl} closed the connection`)))
  }

  /** @param mediaType what is accepted; left out: anything */
  get(path: string, mediaType?: string): Promise<KeptAliveRead> {
    const accept = mediaType === undefined ? '' : `\r\naccept: ${mediaType}`
    this.#head = ''
    this.#status = 0
    this.#bytes = 0
    this.#socket.write(`GET ${path} HTTP/1.1\r\nhost: ${this.#host}${accept}\r\n\r\n`)
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject }
    })
  }

  close(): void {
    this.#pending = undefined
    this.#socket.destroy()
  }

  #take(buffer: Buffer, taken: number): boolean {
    if (this.#status === 0) {
      this.#head += buffer.toString('latin1', 0, taken)
      const end = this.#head.indexOf('\r\n\r\n')
      if (end < 0) return true
      const head = this.#head.slice(0, end)
      this.#status = Number(head.slice(9, 12))
      this.#length = Number(/content-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN)
      this.#bytes = this.#head.length - end - 4
    } else {
      this.#bytes += taken
    }
    if (this.#bytes < this.#length) return true
    const pending = this.#pending
    this.#pending = undefined
    if (Number.isNaN(this.#length)) pending?.reject(new Error(`an answer ${this.#status} of unknown length`))
    else pending?.resolve({ status: this.#status, bytes: this.#bytes })
    return true
  }
}

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A link: where it leads, where it is entered, and how fast it is. */
interface LinkOptions {
  /** Port of 127.0.0.1 that it leads to. */
  readonly to: number
  /** Where it listens; any free port of 127.0.0.1 unless told. */
  readonly host?: string
  readonly port?: number
  readonly bytesPerSecond: number
}

/** A slow TCP link in front of a server of this machine that counts what the server sends, all connections together. */
export class SlowProxy {
  /** Bytes that the server sent through it. */
  sentBytes = 0
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #bytesPerMs: number
  #freeAtMs = 0
  #onBytes: () => void = () => {}

  private constructor(options: LinkOptions) {
    this.#bytesPerMs = options.bytesPerSecond / 1000
    this.#server = createServer({ noDelay: true }, (client) => this.#join(client, options.to))
  }

  static async start(options: LinkOptions): Promise<SlowProxy> {
    const proxy = new SlowProxy(options)
    proxy.#server.listen(options.port ?? 0, options.host ?? '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Calls `listener` after each portion, at once; in the place of an earlier listener. */
  onBytes(listener: () => void): void {
    this.#onBytes = listener
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, port: number): void {
    const server = connect({ port, host: '127.0.0.1', noDelay: true })
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
    }
    const part = () => {
      for (const socket of [client, server]) {
        socket.destroy()
        this.#sockets.delete(socket)
      }
    }
    client.on('close', part)
    server.on('close', part)
    client.pipe(server)
    server.on('data', (bytes: Buffer) => {
      server.pause()
      this.#freeAtMs = Math.max(performance.now(), this.#freeAtMs) + bytes.length / this.#bytesPerMs
      client.write(bytes, () => setTimeout(() => server.resume(), Math.max(0, this.#freeAtMs - performance.now())))
      this.sentBytes += bytes.length
      this.#onBytes()
    })
    server.on('end', () => client.end())
  }
}

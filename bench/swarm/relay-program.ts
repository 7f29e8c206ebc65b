/**
 * The least that nodes written for Node could do: each takes the blob from the one before it over TLS as the lane's,
 * hashes it once, sends it to the next and to its own client. No disk, no pieces, no check of what came, nobody who
 * decides. What that costs the machine is a bound for swarms of real nodes on it. Loads nothing but Node's own modules.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, get, type ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { connect, createServer as createTlsServer, type SecureContextOptions, type TLSSocket } from 'node:tls'

/** Gathered before it is hashed and sent on: Node's TLS hands over 16 KiB at a time. */
const STAGE_BYTES = 512 * 1024

/** What a relay is started with. */
export interface RelaySettings {
  readonly secure: SecureContextOptions
  readonly sizeBytes: number
  readonly listen: { readonly host: string; readonly port: number }
  /** Who takes the blob from this one. */
  readonly next?: { readonly host: string; readonly port: number }
  /** Where the first one has it from. */
  readonly sourceUrl?: string
}

/** One of the chain. */
class Relay {
  readonly #settings: RelaySettings
  readonly #hash = createHash('sha256')
  readonly #client = Promise.withResolvers<ServerResponse>()
  #next: TLSSocket | undefined
  #stage = Buffer.allocUnsafeSlow(STAGE_BYTES)
  #staged = 0

  constructor(settings: RelaySettings) {
    this.#settings = settings
  }

  async start(): Promise<void> {
    const { secure, listen, next, sourceUrl } = this.#settings
    if (sourceUrl === undefined) {
      createTlsServer(secure, (from) => void this.#take(from)).listen(listen.port, listen.host)
      const http = createHttpServer((_request, response) => this.#client.resolve(response))
      http.listen(listen.port, '127.0.0.1')
      await once(http, 'listening')
    }
    if (next === undefined) return
    this.#next = connect({ ...next, ...secure, rejectUnauthorized: false })
    await once(this.#next, 'secureConnect')
    this.#next.setNoDelay(true)
  }

  /** The first one: it has no client. */
  fetch(): void {
    get(this.#settings.sourceUrl ?? '', (body) => this.#pass(body, undefined))
  }

  async #take(from: TLSSocket): Promise<void> {
    const client = await this.#client.promise
    client.writeHead(200, { 'content-length': this.#settings.sizeBytes })
    this.#pass(from, client)
  }

  #pass(from: Readable, client: ServerResponse | undefined): void {
    let received = 0
    from.on('data', (chunk: Buffer) => {
      received += chunk.byteLength
      for (let taken = 0; taken < chunk.byteLength; ) {
        const copied = chunk.copy(this.#stage, this.#staged, taken)
        taken += copied
        this.#staged += copied
        const isLast = received === this.#settings.sizeBytes && taken === chunk.byteLength
        if (this.#staged < STAGE_BYTES && !isLast) continue
        const bytes = this.#stage.subarray(0, this.#staged)
        this.#stage = Buffer.allocUnsafeSlow(STAGE_BYTES)
        this.#staged = 0
        this.#hash.update(bytes)
        client?.write(bytes)
        if (this.#next?.write(bytes) !== false) continue
        from.pause()
        this.#next.once('drain', () => from.resume())
      }
    })
    from.once('end', () => {
      this.#hash.digest()
      this.#next?.end()
      client?.end()
    })
  }
}

if (import.meta.main) {
  let relay: Relay | undefined
  process.on('message', (message: RelaySettings | 'begin' | 'usage') => {
    if (message === 'begin') relay?.fetch()
    else if (message === 'usage') {
      const { user, system } = process.cpuUsage()
      process.send?.((user + system) / 1e6)
    } else {
      relay = new Relay(message)
      void relay.start().then(() => process.send?.('ready'))
    }
  })
  process.on('disconnect', () => process.exit())
}

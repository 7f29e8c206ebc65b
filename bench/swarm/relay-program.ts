/**
 * The least that nodes written for Node could do: each takes the blob from the one before it over TLS as the lane's,
 * hashes it, and each MiB by itself, as what comes of several parents must be checked, writes it to a file, as others
 * want it later, and sends it to the next and to its own client. Nobody decides anything, nothing is read back, and
 * nothing can fail. What that costs the machine is a bound for swarms of real nodes on it. Loads nothing but Node's own
 * modules.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { openSync, writeSync } from 'node:fs'
import { createServer as createHttpServer, get, type ServerResponse } from 'node:http'
import type { SocketConstructorOpts } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { type ConnectionOptions, connect, createServer as createTlsServer, type SecureContextOptions } from 'node:tls'

/** Read at once; TLS hands over 16 KiB at a time. */
const READ_BYTES = 64 * 1024
/** Gathered before it is hashed, written and sent on. */
const STAGE_BYTES = 512 * 1024
/** Hashed by itself; whole stages. */
const PIECE_BYTES = 2 * STAGE_BYTES

interface Address {
  readonly host: string
  readonly port: number
}

/** What a relay is started with. */
export interface RelaySettings {
  readonly secure: SecureContextOptions
  readonly sizeBytes: number
  /** Where the next one takes the blob, and, on localhost, the client. */
  readonly listen: Address
  /** Where it has the blob from: the one before it, or for the first one the registry. */
  readonly source: Address | string
  /** Where it keeps the blob. */
  readonly file: string
}

/** One of the chain. */
class Relay {
  readonly #settings: RelaySettings
  readonly #file: number
  readonly #hash = createHash('sha256')
  #pieceHash = createHash('sha256')
  readonly #takers: Writable[] = []
  readonly #freeStages: Buffer[] = []
  #stage: Buffer = Buffer.allocUnsafeSlow(STAGE_BYTES)
  #staged = 0
  #received = 0
  #passed = 0
  #from: Readable | undefined

  constructor(settings: RelaySettings) {
    this.#settings = settings
    this.#file = openSync(settings.file, 'w')
  }

  async start(): Promise<void> {
    const { secure, listen, source } = this.#settings
    const next = createTlsServer(secure, (socket) => {
      socket.setNoDelay(true)
      this.#takers.push(socket)
    })
    next.listen(listen.port, listen.host)
    await once(next, 'listening')
    if (typeof source === 'string') return
    const http = createHttpServer((_request, response) => this.#serve(response))
    http.listen(listen.port, '127.0.0.1')
    await once(http, 'listening')
    const options: ConnectionOptions & Pick<SocketConstructorOpts, 'onread'> = {
      ...source,
      ...secure,
      rejectUnauthorized: false,
      onread: {
        buffer: Buffer.allocUnsafeSlow(READ_BYTES),
        callback: (bytes, { buffer, byteOffset }) => this.#take(Buffer.from(buffer, byteOffset, bytes)),
      },
    }
    this.#from = connect(options)
    await once(this.#from, 'secureConnect')
  }

  /** The first one: it has no client. */
  fetch(): void {
    const { source } = this.#settings
    if (typeof source !== 'string') return
    get(source, (body) => {
      this.#from = body
      body.on('data', (chunk: Buffer) => {
        if (!this.#take(chunk)) body.pause()
      })
    })
  }

  #serve(response: ServerResponse): void {
    response.writeHead(200, { 'content-length': this.#settings.sizeBytes })
    response.flushHeaders()
    this.#takers.push(response)
    process.send?.('asked')
  }

  /** Takes the next bytes; whether more may come at once. */
  #take(bytes: Buffer): boolean {
    this.#received += bytes.byteLength
    let mayGoOn = true
    for (let taken = 0; taken < bytes.byteLength; ) {
      const copied = bytes.copy(this.#stage, this.#staged, taken)
      taken += copied
      this.#staged += copied
      const isLast = this.#received === this.#settings.sizeBytes && taken === bytes.byteLength
      if (this.#staged === STAGE_BYTES || isLast) mayGoOn = this.#pass(isLast)
    }
    return mayGoOn
  }

  #pass(isLast: boolean): boolean {
    const stage = this.#stage
    const bytes = stage.subarray(0, this.#staged)
    this.#hash.update(bytes)
    this.#pieceHash.update(bytes)
    for (let written = 0; written < bytes.byteLength; ) written += writeSync(this.#file, bytes, written)
    this.#passed += bytes.byteLength
    if (isLast) this.#hash.digest()
    if (isLast || this.#passed % PIECE_BYTES === 0) {
      this.#pieceHash.digest()
      this.#pieceHash = createHash('sha256')
    }
    this.#stage = this.#freeStages.pop() ?? Buffer.allocUnsafeSlow(STAGE_BYTES)
    this.#staged = 0
    let waiting = this.#takers.length
    let isFull = false
    for (const taker of this.#takers) {
      const mayGoOn = taker.write(bytes, () => {
        if (--waiting > 0) return
        this.#freeStages.push(stage)
        if (isFull) this.#from?.resume()
      })
      isFull ||= !mayGoOn
      if (isLast) taker.end()
    }
    return !isFull
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

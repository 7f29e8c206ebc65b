import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface ReceivedEvent {
  readonly id: string
  readonly action: string
  readonly target: Readonly<Record<string, unknown>>
}

export interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly event: ReceivedEvent & Readonly<Record<string, unknown>>
}

/** An HTTP server that notifications are sent to. */
export class EventReceiver {
  /** All that came, taken or not. */
  readonly received: Received[] = []
  /** What was answered with 200. */
  readonly taken: ReceivedEvent[] = []
  /** The status of the next answers; 0 gives none. */
  status = 200
  headers: Record<string, string> = {}
  #server: Server | undefined
  #port = 0

  get url(): string {
    return `http://127.0.0.1:${this.#port}/events`
  }

  /** Listens, after the first time on the port that it had. */
  async start(): Promise<void> {
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        const { events } = JSON.parse(body) as { events: [Received['event']] }
        this.received.push({ headers: request.headers, body, event: events[0] })
        if (this.status === 0) return
        if (this.status === 200) this.taken.push(events[0])
        response.writeHead(this.status, this.headers).end()
      })
    })
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async stop(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
}

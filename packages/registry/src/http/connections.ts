import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from 'node:http2'
import type { Server, Socket } from 'node:net'
import { addressOf } from './caller.ts'

/** The connections of an HTTP server, with TLS or without, over HTTP/1.1 or HTTP/2: who is idle can be sent away. */
export class Connections {
  /** Requests in flight on each connection that speaks HTTP/1.1. */
  readonly #inFlight = new Map<Socket, number>()
  readonly #sessions = new Set<ServerHttp2Session>()
  /** All, those whose TLS handshake goes on too. */
  readonly #sockets = new Set<Socket>()
  /** Whose TLS handshake goes on, by the other end's address. */
  readonly #handshakes = new Map<string, Socket>()
  /** Those that are to end with the request in flight. */
  readonly #leaving = new WeakSet<Socket>()
  #isClosing = false

  /** @param isTls whether the server speaks TLS */
  constructor(server: Server, isTls: boolean) {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      if (!isTls) return
      const address = addressOf(socket)
      this.#handshakes.set(address, socket)
      socket.once('close', () => this.#shakenHands(address, socket))
    })
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket & { readonly alpnProtocol?: string }) => {
      this.#shakenHands(addressOf(socket))
      if (socket.alpnProtocol === 'h2') return
      this.#inFlight.set(socket, 0)
      socket.once('close', () => this.#inFlight.delete(socket))
    })
    server.on('session', (session: ServerHttp2Session) => {
      this.#sessions.add(session)
      session.once('close', () => this.#sessions.delete(session))
      if (this.#isClosing) session.close()
    })
  }

  /** A request has come; it counts until the response is out, or the client has left. */
  began(request: IncomingMessage | Http2ServerRequest, response: ServerResponse | Http2ServerResponse): void {
    const { socket } = request
    const before = this.#inFlight.get(socket)
    // HTTP/2 knows itself which streams are open.
    if (before === undefined) return
    this.#inFlight.set(socket, before + 1)
    response.once('close', () => {
      const left = (this.#inFlight.get(socket) ?? 1) - 1
      if (this.#inFlight.has(socket)) this.#inFlight.set(socket, left)
      if ((this.#isClosing || this.#leaving.has(socket)) && left === 0) socket.end()
    })
  }

  /** Closes the idle ones, and the others when their requests are answered. */
  closeGently(): void {
    this.#isClosing = true
    this.renew()
  }

  /**
   * As `closeGently`, for those that are there now: what they showed when they came need not hold any more. Those that are
   * on their way in are cut.
   */
  renew(): void {
    for (const session of this.#sessions) session.close()
    for (const [socket, inFlight] of this.#inFlight) {
      if (inFlight === 0) socket.destroy()
      else this.#leaving.add(socket)
    }
    for (const socket of this.#handshakes.values()) socket.destroy()
  }

  #shakenHands(address: string, socket = this.#handshakes.get(address)): void {
    if (this.#handshakes.get(address) === socket) this.#handshakes.delete(address)
  }

  closeAll(): void {
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from 'node:http2'
import type { Server, Socket } from 'node:net'

/** The connections of an HTTP server, with TLS or without, over HTTP/1.1 or HTTP/2: who is idle can be sent away. */
export class Connections {
  /** Requests in flight on each connection that speaks HTTP/1.1. */
  readonly #inFlight = new Map<Socket, number>()
  readonly #sessions = new Set<ServerHttp2Session>()
  /** All, those whose TLS handshake goes on too. */
  readonly #sockets = new Set<Socket>()
  #isClosing = false

  /** @param isTls whether the server speaks TLS */
  constructor(server: Server, isTls: boolean) {
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    server.on(isTls ? 'secureConnection' : 'connection', (socket: Socket & { readonly alpnProtocol?: string }) => {
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
      if (this.#isClosing && left === 0) socket.end()
    })
  }

  /** Closes the idle ones, and the others when their requests are answered. */
  closeGently(): void {
    this.#isClosing = true
    for (const session of this.#sessions) session.close()
    for (const [socket, inFlight] of this.#inFlight) if (inFlight === 0) socket.destroy()
  }

  closeAll(): void {
    for (const session of this.#sessions) session.destroy()
    for (const socket of this.#sockets) socket.destroy()
  }
}

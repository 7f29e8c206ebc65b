import { connect, type Socket } from 'node:net'
import { parseHostPort } from '@shoal/core'

/** Frames of HTTP/2 (RFC 9113, section 6). */
const DATA = 0
const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const GOAWAY = 7
const WINDOW_UPDATE = 8
const FRAME_HEADER_BYTES = 9
const MOST_FRAME_BYTES = 16_384
const END_STREAM = 0x1
const ACK = 0x1
const END_HEADERS = 0x4

const INITIAL_WINDOW_SIZE = 4
const FIRST_WINDOW_BYTES = 65_535
const WIDEST_WINDOW_BYTES = 2 ** 31 - 1
/** After so many bytes the other end is told that they were read. */
const WINDOW_STEP_BYTES = 2 ** 30

/** Before each message of gRPC: a byte that says whether it is compressed, and its length. */
const MESSAGE_HEADER_BYTES = 5
const READ_BYTES = 64 * 1024

/** Who is told what comes of a call. */
export interface CallListener {
  /** A message came; its bytes are valid during the call only. */
  message(bytes: Buffer): void
  failed(error: Error): void
}

/** One call with a stream of messages each way. */
export interface Call {
  send(message: Uint8Array): void
}

/** What all connections of the process read into: each read is dealt with before the next one begins. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES)

/**
 * A connection to a gRPC server, without TLS, for load: its frames are written and read by hand, at about the cost of
 * the system calls. With grpc-js the simulated nodes took as much of the machine as the scheduler that was measured.
 */
export class GrpcConnection {
  readonly #socket: Socket
  readonly #address: string
  readonly #calls = new Map<number, OpenCall>()
  #nextStream = 1
  #isOpen = false
  /** Written before the connection was there. */
  #unwritten: Buffer[] = []
  /** Bytes of DATA that the server still takes, on all calls together; and on a call that is opened now. */
  #window = FIRST_WINDOW_BYTES
  #callWindow = FIRST_WINDOW_BYTES
  /** The beginning of a frame, the rest of which has not come. */
  #rest: Buffer | undefined
  #unannounced = 0

  /** @param address `host:port` */
  constructor(address: string) {
    this.#address = address
    const place = parseHostPort(address)
    if (place === undefined) throw new Error(`${address} is no address`)
    this.#socket = connect({
      ...place,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (bytes) => {
          this.#read(readBuffer.subarray(0, bytes))
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the scheduler closed the connection')))
    this.#socket.once('connect', () => {
      this.#isOpen = true
      this.#socket.write(Buffer.concat(this.#unwritten.splice(0)))
    })
    const settings = Buffer.alloc(6)
    settings.writeUInt16BE(INITIAL_WINDOW_SIZE, 0)
    settings.writeUInt32BE(WIDEST_WINDOW_BYTES, 2)
    this.#write(Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))
    this.#write(frame(SETTINGS, 0, 0, settings))
    this.#write(windowUpdate(WIDEST_WINDOW_BYTES - FIRST_WINDOW_BYTES))
  }

  /** Begins a call. @param path `/package.Service/Method` */
  call(path: string, listener: CallListener): Call {
    const stream = this.#nextStream
    this.#nextStream += 2
    this.#write(frame(HEADERS, END_HEADERS, stream, requestHeaders(path, this.#address)))
    const call = new OpenCall(listener, this.#callWindow)
    this.#calls.set(stream, call)
    return {
      send: (message) => {
        call.waiting.push(...messageFrames(stream, message))
        this.#sendWaiting(call)
      },
    }
  }

  #sendWaiting(call: OpenCall): void {
    for (let next = call.waiting[0]; next !== undefined; next = call.waiting[0]) {
      const bytes = next.length - FRAME_HEADER_BYTES
      if (bytes > this.#window || bytes > call.window) return
      call.waiting.shift()
      this.#window -= bytes
      call.window -= bytes
      this.#write(next)
    }
  }

  #write(bytes: Buffer): void {
    if (this.#isOpen) this.#socket.write(bytes)
    else this.#unwritten.push(bytes)
  }

  #read(read: Buffer): void {
    const bytes = this.#rest === undefined ? read : Buffer.concat([this.#rest, read])
    let at = 0
    while (bytes.length - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      const [type, flags] = [bytes[at + 3] as number, bytes[at + 4] as number]
      this.#frame(type, flags, bytes.readUInt32BE(at + 5), bytes.subarray(at + FRAME_HEADER_BYTES, end))
      at = end
    }
    this.#rest = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at))
  }

  #frame(type: number, flags: number, stream: number, payload: Buffer): void {
    const call = this.#calls.get(stream)
    if (type === DATA) {
      this.#unannounced += payload.length
      if (this.#unannounced >= WINDOW_STEP_BYTES) {
        this.#write(windowUpdate(this.#unannounced))
        this.#unannounced = 0
      }
      call?.take(payload)
    } else if (type === WINDOW_UPDATE) {
      const bytes = payload.readUInt32BE(0)
      if (stream === 0) this.#window += bytes
      else if (call !== undefined) call.window += bytes
      for (const one of call === undefined ? this.#calls.values() : [call]) this.#sendWaiting(one)
    } else if (type === SETTINGS && (flags & ACK) === 0) {
      this.#apply(payload)
      this.#write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)))
    } else if (type === PING && (flags & ACK) === 0) this.#write(frame(PING, ACK, 0, payload))
    else if (type === GOAWAY) this.#fail(new Error('the scheduler ended the connection'))
    const isEnd = type === RST_STREAM || ((type === DATA || type === HEADERS) && (flags & END_STREAM) !== 0)
    if (!isEnd) return
    this.#calls.delete(stream)
    call?.listener.failed(new Error('the scheduler ended the call'))
  }

  #apply(settings: Buffer): void {
    for (let at = 0; at + 6 <= settings.length; at += 6) {
      if (settings.readUInt16BE(at) !== INITIAL_WINDOW_SIZE) continue
      const bytes = settings.readUInt32BE(at + 2)
      for (const call of this.#calls.values()) call.window += bytes - this.#callWindow
      this.#callWindow = bytes
    }
  }

  #fail(error: Error): void {
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const { listener } of calls) listener.failed(error)
  }
}

class OpenCall {
  readonly listener: CallListener
  /** Bytes of DATA that the server still takes. */
  window: number
  /** Frames that wait for room. */
  readonly waiting: Buffer[] = []
  /** The beginning of a message, the rest of which has not come. */
  #rest: Buffer | undefined

  constructor(listener: CallListener, window: number) {
    this.listener = listener
    this.window = window
  }

  take(payload: Buffer): void {
    const bytes = this.#rest === undefined ? payload : Buffer.concat([this.#rest, payload])
    let at = 0
    while (bytes.length - at >= MESSAGE_HEADER_BYTES) {
      const begin = at + MESSAGE_HEADER_BYTES
      const end = begin + bytes.readUInt32BE(at + 1)
      if (end > bytes.length) break
      this.listener.message(bytes.subarray(begin, end))
      at = end
    }
    this.#rest = at === bytes.length ? undefined : Buffer.from(bytes.subarray(at))
  }
}

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, FRAME_HEADER_BYTES)
  return bytes
}

/** A message in as many frames as it needs. */
function messageFrames(stream: number, message: Uint8Array): Buffer[] {
  const payload = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + message.length)
  payload[0] = 0
  payload.writeUInt32BE(message.length, 1)
  payload.set(message, MESSAGE_HEADER_BYTES)
  const frames: Buffer[] = []
  for (let at = 0; at < payload.length; at += MOST_FRAME_BYTES) {
    frames.push(frame(DATA, 0, stream, payload.subarray(at, at + MOST_FRAME_BYTES)))
  }
  return frames
}

/** On the whole connection. */
function windowUpdate(bytes: number): Buffer {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return frame(WINDOW_UPDATE, 0, 0, payload)
}

/** Written without any compression (RFC 7541): pairs of the static table by number, all others as they are. */
function requestHeaders(path: string, authority: string): Buffer {
  const [post, http] = [0x83, 0x86]
  const [authorityName, pathName] = [0x01, 0x04]
  return Buffer.concat([
    Buffer.from([post, http, pathName]),
    text(path),
    Buffer.from([authorityName]),
    text(authority),
    ...Object.entries({ te: 'trailers', 'content-type': 'application/grpc' }).flatMap(([name, value]) => [
      Buffer.from([0]),
      text(name),
      text(value),
    ]),
  ])
}

function text(value: string): Buffer {
  if (value.length >= 127) throw new RangeError(`${value} is too long for a header`)
  return Buffer.concat([Buffer.from([value.length]), Buffer.from(value)])
}

import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { GrpcConnection } from '../scheduler/grpc-connection.ts'

const PATH = '/test.Echo/Echo'
const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value }

type EchoCall = ServerDuplexStream<Buffer, Buffer>

let server: Server | undefined

afterEach(() => server?.forceShutdown())

async function listening(echo: (call: EchoCall) => void, options = {}): Promise<string> {
  const started = new Server(options)
  server = started
  const method = {
    path: PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  }
  started.addService({ echo: method }, { echo })
  const port = await new Promise<number>((resolve, reject) => {
    started.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(error)
    })
  })
  return `127.0.0.1:${port}`
}

const echoAll = (call: EchoCall) => {
  call.on('data', (message: Buffer) => call.write(message))
  call.on('error', () => {})
}

/** Opens a call; resolves when so many messages have come. */
function calling(connection: GrpcConnection, most: number) {
  const came: Buffer[] = []
  const { promise, resolve, reject } = Promise.withResolvers<Buffer[]>()
  const call = connection.call(PATH, {
    message: (message) => {
      came.push(Buffer.from(message))
      if (came.length === most) resolve(came)
    },
    failed: reject,
  })
  return { call, came: promise }
}

describe('GrpcConnection', () => {
  it('sends messages to a gRPC server and takes its answers, in order, beyond what its windows hold', async () => {
    const connection = new GrpcConnection(await listening(echoAll))
    const messages = Array.from({ length: 400 }, (_, i) => Buffer.alloc((i * 997) % 100_000, i))
    const calls = [calling(connection, messages.length), calling(connection, messages.length)]
    for (const message of messages) for (const { call } of calls) call.send(message)
    for (const { came } of calls) expect(Buffer.concat(await came).equals(Buffer.concat(messages))).toBe(true)
  })

  it('answers the pings by which a server looks whether it is there', async () => {
    const keepAlive = { 'grpc.keepalive_time_ms': 50, 'grpc.keepalive_timeout_ms': 100 }
    const connection = new GrpcConnection(await listening(echoAll, keepAlive))
    const { call, came } = calling(connection, 2)
    call.send(Buffer.from('first'))
    await new Promise((resolve) => setTimeout(resolve, 500))
    call.send(Buffer.from('second'))
    expect(Buffer.concat(await came).toString()).toBe('firstsecond')
  })

  it('says that a call failed when the server ends it, and when it goes', async () => {
    const address = await listening((call) => call.once('data', () => call.end()))
    const { call, came } = calling(new GrpcConnection(address), 1)
    call.send(Buffer.from('end'))
    await expect(came).rejects.toThrow('ended the call')
    const other = calling(new GrpcConnection(address), 1)
    server?.forceShutdown()
    await expect(other.came).rejects.toThrow()
  })
})

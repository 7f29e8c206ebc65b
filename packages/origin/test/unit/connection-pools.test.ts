import { once } from 'node:events'
import { createServer, get } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { expect, test } from 'vitest'
import { ConnectionPools } from '../../src/connection-pools.ts'
import { Endpoints } from '../../src/endpoint.ts'

test('a connection is kept for the next request, and closed by us when there is none', async () => {
  const sockets: Socket[] = []
  const server = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => response.end('x'))
  server.on('connection', (socket) => sockets.push(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  const endpoint = new Endpoints({ origins: { 'registry.test': { url: url.href } }, allowUnlisted: false }).resolve(
    'registry.test',
  )
  const pools = new ConnectionPools(2, undefined, 100)
  try {
    for (let i = 0; i < 2; i++) {
      const [response] = await once(get(url, { agent: pools.agentFor(endpoint, url) }), 'response')
      response.resume()
      await once(response, 'close')
    }
    expect(sockets).toHaveLength(1)
    const [socket] = sockets
    if (socket !== undefined && !socket.closed) await once(socket, 'close')
    expect(sockets).toHaveLength(1)
  } finally {
    pools.destroy()
    server.close()
  }
})

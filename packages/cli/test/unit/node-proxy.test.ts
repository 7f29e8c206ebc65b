import { execFile } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const PROGRAM = `
  const { ignoreNodeProxy } = await import(process.argv[1])
  if (process.argv[3] !== undefined) await ignoreNodeProxy(process)
  const { get } = await import('node:http')
  const { request } = await import('undici')
  const url = process.argv[2]
  const viaHttp = await new Promise((resolve) => get(url, (answer) => answer.once('data', (text) => resolve(String(text)))))
  const viaFetch = await (await fetch(url)).text()
  const viaUndici = await (await request(url)).body.text()
  process.stdout.write([viaHttp, viaFetch, viaUndici].join())
  process.exit()
`

it('what Node is told of proxies does not hold for requests between our parts', async () => {
  const proxy = createServer((_request, response) => response.end('proxy')).on('connect', (_request, socket) => {
    socket.on('error', () => {})
    socket.write('HTTP/1.1 200 OK\r\n\r\n')
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nproxy'))
  })
  const part = createServer((_request, response) => response.end('part'))
  const [proxyUrl = '', partUrl = ''] = await Promise.all(
    [proxy, part].map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    }),
  )
  const ask = async (...last: string[]) => {
    const file = join(import.meta.dirname, '../../src/node-proxy.ts')
    const args = ['--input-type=module', '--eval', PROGRAM, file, partUrl, ...last]
    const env = { PATH: process.env.PATH ?? '', NODE_USE_ENV_PROXY: '1', HTTP_PROXY: proxyUrl }
    return (await promisify(execFile)(process.execPath, args, { env, cwd: import.meta.dirname })).stdout
  }
  try {
    expect(await ask()).toBe('proxy,proxy,proxy')
    expect(await ask('ignored')).toBe('part,part,part')
  } finally {
    proxy.closeAllConnections()
    proxy.close()
    part.close()
  }
})

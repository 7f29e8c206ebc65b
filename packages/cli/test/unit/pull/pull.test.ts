import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../../src/program.ts'
import { parseNodeAddress } from '../../../src/pull/node-address.ts'
import { pullImage } from '../../../src/pull/pull.ts'

const MAIN = join(import.meta.dirname, '../../../src/main.ts')

// A node whose mirror has nothing.
let node: { readonly address: string; readonly authorizations: (string | undefined)[]; close(): void }
beforeEach(async () => {
  const authorizations: (string | undefined)[] = []
  const server = createServer((request, response) => {
    const isNode = request.url === '/api/v1/node'
    if (!isNode) authorizations.push(request.headers.authorization)
    response.writeHead(isNode ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(isNode ? { addresses: { mirror: `http://${node.address}` } } : {}))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  node = { address, authorizations, close: () => void server.close().closeAllConnections() }
})
afterEach(() => node.close())

const pull = (
  ref: string,
  options: { username?: string; passwordStdin?: boolean } = {},
  stdin: Readable = new PassThrough(),
) =>
  pullImage(
    ref,
    { node: `http://${node.address}`, platform: 'linux/amd64', ...options },
    { stdout: new PassThrough(), stderr: new PassThrough(), stdin },
  )

describe('shoal pull', () => {
  it.each([
    ['127.0.0.1:5000/none:7', '127.0.0.1:5000/none:7: status 404'],
    ['none', 'docker.io/library/none:latest: status 404'],
    [`a.test/b@sha256:${'0'.repeat(64)}`, `a.test/b@sha256:${'0'.repeat(64)}: status 404`],
  ])('names %s when it is not there', async (ref, message) => {
    await expect(pull(ref)).rejects.toThrow(message)
  })

  it('reads the password from standard input only when it is told to', async () => {
    const given = () => Object.assign(new PassThrough()).end('s3cret\n')
    await expect(pull('a.test/b', { username: 'u', passwordStdin: true }, given())).rejects.toThrow('404')
    expect(node.authorizations).toEqual([`Basic ${Buffer.from('u:s3cret').toString('base64')}`])
    await expect(pull('a.test/b', { username: 'u' }, given())).rejects.toThrow('pipe it in with --password-stdin')
    await expect(pull('a.test/b', { passwordStdin: true }, given())).rejects.toThrow('goes with --username')
    expect(node.authorizations).toHaveLength(1)
  })

  it.each([
    ['s3cret\r', `Basic ${Buffer.from('u:s3cret').toString('base64')}`],
    ['\x03', undefined],
    ['\x04', undefined],
  ])('asks for the password at the terminal, without showing it: %j', async (keys, authorization) => {
    const command = `${process.execPath} ${MAIN} pull a.test/b --node ${node.address} --username u`
    const script = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] })
    let shown = ''
    for await (const chunk of script.stdout) {
      const wasAsked = shown.includes('Password of u: ')
      shown += chunk
      if (!wasAsked && shown.includes('Password of u: ')) script.stdin.write(keys)
    }
    expect(shown).not.toContain('s3cret')
    expect(shown).toContain(authorization === undefined ? 'shoal: no password was given' : 'status 404')
    expect(node.authorizations).toEqual(authorization === undefined ? [] : [authorization])
  })
})

describe('a node', () => {
  it.each([
    ['127.0.0.1:7413', 'http://127.0.0.1:7413'],
    ['node-1.example.com:7413', 'http://node-1.example.com:7413'],
    ['[::1]:7413', 'http://[::1]:7413'],
    ['localhost:7413', 'http://localhost:7413'],
    ['http://127.0.0.1:7413/', 'http://127.0.0.1:7413'],
    ['https://node.example.com', 'https://node.example.com'],
  ])('%s is %s', (text, url) => {
    expect(parseNodeAddress(text)).toBe(url)
  })

  it.each(['', 'node', 'ftp://a:1', 'http://a/b', 'http://', 'a:0', 'a:99999'])('%j is refused', async (text) => {
    const program = createProgram({ file: '/x', environment: {}, stdout: new PassThrough(), stderr: new PassThrough() })
    for (const command of [['pull', 'a.test/b'], ['scrub']]) {
      const refused = program.parseAsync(['node', 'shoal', ...command, '--node', text])
      await expect(refused).rejects.toThrow('write host:port, or a URL such as http://127.0.0.1:7413')
    }
  })
})

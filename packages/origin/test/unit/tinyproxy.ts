import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const PROGRAM = '/usr/bin/tinyproxy'

/** Whether tinyproxy is there to test with: why not, else undefined. On CI it must be. */
export function missingProxy(): string | undefined {
  if (existsSync(PROGRAM)) return undefined
  if (process.env.CI === 'true') throw new Error(`${PROGRAM} is missing: install the package tinyproxy`)
  return `${PROGRAM} is not installed`
}

/** A running tinyproxy. */
export interface RunningProxy {
  /** Without credentials. */
  readonly url: string
  /** What it was asked for: `CONNECT host:port`, `GET http://…`. */
  readonly requests: string[]
  stop(): Promise<void>
}

/** Runs tinyproxy; `credentials` is `user:password` that it wants. */
export async function startProxy(credentials: string): Promise<RunningProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'origin-proxy-'))
  const port = await freePort()
  const config = join(folder, 'tinyproxy.conf')
  const lines = [`Port ${port}`, 'Listen 127.0.0.1', 'MaxClients 50', 'LogLevel Connect']
  await writeFile(config, [...lines, `BasicAuth ${credentials.replace(':', ' ')}`, ''].join('\n'))
  const child = spawn(PROGRAM, ['-d', '-c', config], { stdio: ['ignore', 'pipe', 'ignore'] })
  const requests: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const request = /Request \(file descriptor \d+\): (.*) HTTP/.exec(line)?.[1]
      if (request !== undefined) requests.push(request)
      if (line.includes('done sending stored logs')) resolve()
    })
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`tinyproxy ended (${code})`)))
  })
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    stop: async () => {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

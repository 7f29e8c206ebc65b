import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger, digestOf } from '@shoal/core'
import { onTestFinished } from 'vitest'
import { OriginClient, type OriginClientDependencies } from '../../src/client.ts'
import type { OriginClientOptions, OriginLimits, OriginSettings } from '../../src/service/options.ts'

/** A server of the test, closed when the test is over. */
export interface TestServer {
  /** `127.0.0.1:port`. */
  readonly host: string
  readonly url: string
  readonly requests: IncomingMessage[]
}

export async function serve(handler: RequestListener): Promise<TestServer> {
  const requests: IncomingMessage[] = []
  const server: Server = createServer((request, response) => {
    requests.push(request)
    handler(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { host, url: `http://${host}`, requests }
}

const LIMITS: OriginLimits = {
  connectTimeoutMs: 2_000,
  headersTimeoutMs: 5_000,
  progressTimeoutMs: 5_000,
  totalTimeoutMs: 10_000,
  connections: 8,
}

/** What a client waited for between tries, milliseconds. */
export type Waits = number[]

/** A client that knows `origins`, does not really wait between tries, and is closed when the test is over. */
export function clientFor(
  origins: Record<string, OriginSettings>,
  options: Partial<Omit<OriginClientOptions, 'limits'>> & {
    limits?: Partial<OriginLimits>
  } & Partial<OriginClientDependencies> = {},
): OriginClient & { readonly waits: Waits } {
  const { limits, allowUnlisted = true, holds, proxies, ...dependencies } = options
  const waits: Waits = []
  const client = new OriginClient(
    { origins, allowUnlisted, limits: { ...LIMITS, ...limits }, ...(holds && { holds }), ...(proxies && { proxies }) },
    {
      log: createLogger('test', 'silent'),
      retry: { random: () => 0.5, sleep: async (ms) => void waits.push(ms) },
      ...dependencies,
    },
  )
  onTestFinished(() => client.close())
  return Object.assign(client, { waits })
}

/** A client whose only origin is `server`. */
export function clientOf(server: TestServer, options?: Parameters<typeof clientFor>[1], settings?: OriginSettings) {
  return clientFor({ [server.host]: { url: server.url, ...settings } }, options)
}

export const NEVER = new AbortController().signal

/** A blob whose every byte differs from its neighbours. */
export function makeBlob(size: number): { bytes: Buffer; digest: string; size: number } {
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff
  return { bytes, digest: digestOf(bytes), size }
}

/** The two ends of a `Range: bytes=a-b` header; undefined without one. */
export function rangeOf(request: IncomingMessage): { start: number; end: number } | undefined {
  const match = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')
  return match === null ? undefined : { start: Number(match[1]), end: Number(match[2]) }
}

/** Answers a blob request as a good origin does. */
export function sendBlob(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const range = rangeOf(request)
  if (range === undefined) {
    response.writeHead(200, { 'content-length': bytes.length }).end(request.method === 'HEAD' ? undefined : bytes)
    return
  }
  const part = bytes.subarray(range.start, range.end + 1)
  response
    .writeHead(206, {
      'content-length': part.length,
      'content-range': `bytes ${range.start}-${range.end}/${bytes.length}`,
    })
    .end(part)
}

/** Fetches a range and returns its bytes. */
export async function collect(
  client: OriginClient,
  call: Omit<Parameters<OriginClient['fetchBlob']>[0], 'signal'> & { signal?: AbortSignal },
): Promise<{ bytes: Buffer; rangesIgnored: boolean }> {
  const chunks: Buffer[] = []
  const { rangesIgnored } = await client.fetchBlob({ signal: NEVER, ...call }, (chunk) =>
    chunks.push(Buffer.from(chunk)),
  )
  return { bytes: Buffer.concat(chunks), rangesIgnored }
}

import { rm } from 'node:fs/promises'
import { afterEach, expect, it } from 'vitest'
import { type Answer, ask, content, pushBlob, startRegistry, temporaryFolder } from '../running-registry.ts'
import { startDistribution } from './distribution.ts'
import { requireTool } from './tool.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Status and, of each part in turn, what it says that it is and its bytes. */
function partsOf({ status, headers, bytes }: Answer): unknown {
  const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(headers.get('content-type') ?? '')?.[1]
  if (boundary === undefined) return { status, range: headers.get('content-range'), body: bytes.toString('latin1') }
  const parts = bytes.toString('latin1').split(`--${boundary}`)
  const range = (part: string) => /content-range: (.*)\r\n/i.exec(part)?.[1]
  const body = (part: string) => part.slice(part.indexOf('\r\n\r\n') + 4, -2)
  return { status, parts: parts.slice(1, -1).map((part) => [range(part), body(part)]), end: parts.at(-1) }
}

it('ranges and conditions are answered as docker-registry answers them', async (context) => {
  const program = requireTool('docker-registry', context)
  const folder = await temporaryFolder()
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  const theirs = await startDistribution(program, folder)
  cleanups.push(theirs.stop)
  const ours = await startRegistry()
  cleanups.push(ours.dispose)
  const bytes = content('ranges', 5000)
  const digest = await pushBlob(ours.url, 'app', bytes)
  await pushBlob(theirs.url, 'app', bytes)
  const asked: Record<string, string>[] = [
    { range: 'bytes=0-0' },
    { range: 'bytes=10-19,4000-4009,-5' },
    { range: 'bytes=4000-4009, 10-19' },
    { range: 'bytes=0-9,10-19' },
    { range: 'bytes=0-9,6000-' },
    { range: 'bytes=0-9223372036854775807' },
    { range: 'bytes=5-9,0-1', 'if-range': `"${digest}"` },
    { range: 'bytes=5-9,0-1', 'if-range': `W/"${digest}"` },
    { range: 'bytes=5-9,0-1', 'if-range': '"x"' },
    { 'if-none-match': `"x", W/"${digest}"` },
    { 'if-none-match': '*' },
    { 'if-none-match': '"x"' },
  ]
  for (const headers of asked) {
    const [our, their] = await Promise.all(
      [ours, theirs].map(async ({ url }) => partsOf(await ask(`${url}/v2/app/blobs/${digest}`, { headers }))),
    )
    expect({ headers, answer: our }).toEqual({ headers, answer: their })
  }
  for (const headers of [
    ...['bytes=6000-,7000-', 'bytes=9-1', 'bytes=0-1,x'].map((range) => ({ range })),
    { 'if-match': '"x"' },
  ]) {
    const statusOf = async ({ url }: { readonly url: string }) => {
      const answer = await fetch(`${url}/v2/app/blobs/${digest}`, { headers })
      // Theirs promises the blob's length and then closes the connection.
      await answer.body?.cancel()
      return answer.status
    }
    expect({ headers, status: await statusOf(ours) }).toEqual({ headers, status: await statusOf(theirs) })
  }
})

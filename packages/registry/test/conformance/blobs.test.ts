import { digestOf } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { content } from '../running-registry.ts'
import { type AskTarget, codesOf, locationOf, newRepository, pushBlob, useTarget, withQuery } from './target.ts'

const target = useTarget()
const ALGORITHMS = ['sha256', 'sha512'] as const

describe('end-1: the base', () => {
  it('is answered 200, with what Docker looks for', async () => {
    const { status, headers } = await target('GET', '/v2/')
    expect(status).toBe(200)
    expect(headers.get('docker-distribution-api-version')).toBe('registry/2.0')
  })
})

/** Ways to push a blob; each resolves to the last answer. */
const UPLOADS: Readonly<Record<string, (repository: string, bytes: Buffer, digest: string) => Promise<Answered>>> = {
  'POST alone': (repository, bytes, digest) =>
    target('POST', withQuery(`/v2/${repository}/blobs/uploads/`, 'digest', digest), { body: bytes }),
  'POST, PUT': async (repository, bytes, digest) =>
    target('PUT', withQuery(await begin(repository), 'digest', digest), { body: bytes }),
  'POST that names the algorithm, PUT': async (repository, bytes, digest) => {
    const algorithm = digest.slice(0, digest.indexOf(':'))
    const started = await target('POST', `/v2/${repository}/blobs/uploads/?digest-algorithm=${algorithm}`)
    expect(started.status).toBe(202)
    return target('PUT', withQuery(locationOf(started), 'digest', digest), { body: bytes })
  },
  'POST, one streamed PATCH, PUT': async (repository, bytes, digest) => {
    const streamed = await target('PATCH', await begin(repository), { body: streamOf(bytes) })
    expect(streamed.status).toBe(202)
    return target('PUT', withQuery(locationOf(streamed), 'digest', digest))
  },
  'POST, chunks, PUT': async (repository, bytes, digest) =>
    target('PUT', withQuery(await chunks(await begin(repository), bytes, 3), 'digest', digest)),
  'POST, chunks, the last one in the PUT': async (repository, bytes, digest) => {
    const last = Math.floor(bytes.length / 2)
    const location = await chunks(await begin(repository), bytes.subarray(0, last), 2)
    const headers = { 'content-range': `${last}-${bytes.length - 1}` }
    return target('PUT', withQuery(location, 'digest', digest), { body: bytes.subarray(last), headers })
  },
}
type Answered = Awaited<ReturnType<AskTarget>>

async function begin(repository: string): Promise<string> {
  const started = await target('POST', `/v2/${repository}/blobs/uploads/`)
  expect(started.status).toBe(202)
  expect(started.headers.get('docker-upload-uuid')).not.toBeNull()
  return locationOf(started)
}

/** Sends bytes in so many chunks; returns where to go on. */
async function chunks(start: string, bytes: Buffer, count: number): Promise<string> {
  let location = start
  const size = Math.ceil(bytes.length / count)
  for (let at = 0; at < bytes.length; at += size) {
    const body = bytes.subarray(at, at + size)
    const headers = { 'content-range': `${at}-${at + body.length - 1}`, 'content-type': 'application/octet-stream' }
    const answer = await target('PATCH', location, { body, headers })
    expect([answer.status, answer.headers.get('range')]).toEqual([202, `0-${at + body.length - 1}`])
    location = locationOf(answer)
  }
  return location
}

function streamOf(bytes: Buffer): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => {
      controller.enqueue(bytes)
      controller.close()
    },
  })
}

describe('end-4, end-5, end-6: a blob is pushed', () => {
  for (const algorithm of ALGORITHMS) {
    it.each(Object.keys(UPLOADS))(`with ${algorithm} by %s, and can be pulled at once`, async (name) => {
      const repository = newRepository()
      const bytes = content(`${name} ${algorithm}`, 10_000)
      const digest = digestOf(bytes, algorithm)
      const answer = await UPLOADS[name]?.(repository, bytes, digest)
      expect(answer?.status).toBe(201)
      const pulled = await target('GET', locationOf(answer as Answered))
      expect([pulled.status, pulled.bytes.equals(bytes)]).toEqual([200, true])
      expect((await target('GET', `/v2/${repository}/blobs/${digest}`)).bytes.equals(bytes)).toBe(true)
    })

    it.each(Object.keys(UPLOADS))(`with ${algorithm} by %s, but not with a digest of other bytes`, async (name) => {
      const repository = newRepository()
      const digest = digestOf('other bytes', algorithm)
      const answer = (await UPLOADS[name]?.(repository, content(name, 10_000), digest)) as Answered
      expect([answer.status, codesOf(answer)]).toEqual([400, ['DIGEST_INVALID']])
      expect((await target('HEAD', `/v2/${repository}/blobs/${digest}`)).status).toBe(404)
    })
  }

  it('of no byte', async () => {
    const repository = newRepository()
    const empty = Buffer.alloc(0)
    const answer = await target('PUT', withQuery(await begin(repository), 'digest', digestOf(empty)), { body: empty })
    expect(answer.status).toBe(201)
    const pulled = await target('GET', `/v2/${repository}/blobs/${digestOf(empty)}`)
    expect([pulled.status, pulled.bytes.length]).toEqual([200, 0])
  })

  it.each(['sha256:short', 'md5:d41d8cd98f00b204e9800998ecf8427e', 'sha256', `sha256:${'G'.repeat(64)}`, ''])(
    'not with "%s" for a digest',
    async (digest) => {
      const answer = await target('PUT', withQuery(await begin(newRepository()), 'digest', digest), { body: 'x' })
      expect([answer.status, codesOf(answer)]).toEqual([400, ['DIGEST_INVALID']])
    },
  )

  it('not with an algorithm that nobody knows', async () => {
    const answer = await target('POST', `/v2/${newRepository()}/blobs/uploads/?digest-algorithm=md5`)
    expect(answer.status).toBe(400)
  })

  it('not to a name that no repository can have', async () => {
    for (const name of ['UPPER', 'a/.b', '-a', 'a__', 'a//b']) {
      const answer = await target('POST', `/v2/${name}/blobs/uploads/`)
      expect([name, answer.status === 400 || answer.status === 404]).toEqual([name, true])
    }
  })
})

describe('end-5: a chunk', () => {
  it.each([
    ['comes again', '0-9', 10],
    ['leaves a gap', '20-29', 10],
    ['overlaps', '5-14', 10],
  ])('that %s is refused with 416, and the session goes on', async (_what, range, length) => {
    const repository = newRepository()
    const bytes = content('chunks', 30)
    let location = await chunks(await begin(repository), bytes.subarray(0, 10), 1)
    const refused = await target('PATCH', location, {
      body: bytes.subarray(0, length),
      headers: { 'content-range': range },
    })
    expect([refused.status, refused.headers.get('range')]).toEqual([416, '0-9'])
    const late = await target('PUT', withQuery(location, 'digest', digestOf(bytes)), {
      body: bytes.subarray(0, length),
      headers: { 'content-range': range },
    })
    expect(late.status).toBe(416)
    const next = { body: bytes.subarray(10), headers: { 'content-range': '10-29' } }
    const sent = await target('PATCH', location, next)
    expect([sent.status, sent.headers.get('range')]).toEqual([202, '0-29'])
    location = locationOf(sent)
    expect((await target('PUT', withQuery(location, 'digest', digestOf(bytes)))).status).toBe(201)
  })

  it('whose range can not be read, or is not its length, is refused', async () => {
    const location = await begin(newRepository())
    for (const range of ['bytes 0-9', '0-9/10', '9-0', 'x', '0-8']) {
      const { status } = await target('PATCH', location, { body: 'ten bytes!', headers: { 'content-range': range } })
      expect([range, status === 400 || status === 416]).toEqual([range, true])
    }
  })
})

describe('end-13, end-14: a session', () => {
  it('says where it stands, and is gone when it is cancelled', async () => {
    const start = await begin(newRepository())
    const fresh = await target('GET', start)
    expect([fresh.status, fresh.headers.get('range')]).toEqual([204, '0-0'])
    const location = await chunks(start, content('status', 100), 2)
    const status = await target('GET', location)
    expect([status.status, status.headers.get('range'), status.headers.has('location')]).toEqual([204, '0-99', true])
    expect((await target('DELETE', location)).status).toBe(204)
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const body = method === 'PATCH' || method === 'PUT' ? { body: 'x' } : {}
      const path = method === 'PUT' ? withQuery(location, 'digest', digestOf('x')) : location
      const gone = await target(method, path, body)
      expect([method, gone.status, codesOf(gone)]).toEqual([method, 404, ['BLOB_UPLOAD_UNKNOWN']])
    }
  })
})

describe('end-11: a mount', () => {
  it('makes a blob of another repository this one’s, exactly where it says', async () => {
    const [from, to] = [newRepository(), newRepository()]
    const digest = await pushBlob(target, from, content('mounted', 1000))
    const answer = await target('POST', `/v2/${to}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`)
    expect([answer.status, new URL(locationOf(answer), 'http://any').pathname]).toEqual([
      201,
      `/v2/${to}/blobs/${digest}`,
    ])
    expect((await target('GET', `/v2/${to}/blobs/${digest}`)).bytes.equals(content('mounted', 1000))).toBe(true)
  })

  it('of what is not there, or from nowhere, opens a session', async () => {
    const [from, to] = [newRepository(), newRepository()]
    const digest = await pushBlob(target, from, content('not mounted', 1000))
    for (const query of [`mount=${digestOf('nothing')}&from=${encodeURIComponent(from)}`, `mount=${digest}`]) {
      const answer = await target('POST', `/v2/${to}/blobs/uploads/?${query}`)
      expect(answer.status).toBe(202)
      expect((await target('GET', locationOf(answer))).status).toBe(204)
    }
  })
})

describe('end-2: a blob', () => {
  it.each(ALGORITHMS)('is pulled by %s, its head too', async (algorithm) => {
    const repository = newRepository()
    const bytes = content('pulled', 5000)
    const digest = await pushBlob(target, repository, bytes, algorithm)
    const path = `/v2/${repository}/blobs/${digest}`
    const head = await target('HEAD', path)
    expect([head.status, head.headers.get('content-length'), head.bytes.length]).toEqual([200, '5000', 0])
    expect(head.headers.get('docker-content-digest')).toBe(digest)
    const pulled = await target('GET', path)
    expect([pulled.status, pulled.bytes.equals(bytes)]).toEqual([200, true])
    expect(pulled.headers.get('docker-content-digest')).toBe(digest)
    expect(pulled.headers.get('cache-control')).toBe('max-age=31536000')
    const etag = pulled.headers.get('etag') ?? ''
    expect((await target('GET', path, { headers: { 'if-none-match': etag } })).status).toBe(304)
  })

  it.each([
    ['bytes=10-19', 10, 19],
    ['bytes=0-0', 0, 0],
    ['bytes=990-', 990, 999],
    ['bytes=-5', 995, 999],
    ['bytes=900-5000', 900, 999],
    ['bytes=0-999', 0, 999],
  ])('is pulled in part by Range: %s', async (range, first, last) => {
    const repository = newRepository()
    const bytes = content('ranges', 1000)
    const digest = await pushBlob(target, repository, bytes)
    const answer = await target('GET', `/v2/${repository}/blobs/${digest}`, { headers: { range } })
    expect([answer.status, answer.headers.get('content-range')]).toEqual([206, `bytes ${first}-${last}/1000`])
    expect(answer.bytes.equals(bytes.subarray(first, last + 1))).toBe(true)
  })

  it.each(['bytes=500-0', 'bytes=1000-', 'bytes=2000-3000'])('has no Range: %s', async (range) => {
    const repository = newRepository()
    const digest = await pushBlob(target, repository, content('ranges', 1000))
    const answer = await target('GET', `/v2/${repository}/blobs/${digest}`, { headers: { range } })
    expect([answer.status, answer.headers.get('content-range')]).toEqual([416, 'bytes */1000'])
  })

  it('that is not there is unknown', async () => {
    const path = `/v2/${newRepository()}/blobs/${digestOf('nothing')}`
    const answer = await target('GET', path)
    expect([answer.status, codesOf(answer)]).toEqual([404, ['BLOB_UNKNOWN']])
    expect((await target('HEAD', path)).status).toBe(404)
  })

  it('is not asked for by what is no digest', async () => {
    const { status } = await target('GET', `/v2/${newRepository()}/blobs/sha256:short`)
    expect([400, 404]).toContain(status)
  })
})

describe('end-10: a blob', () => {
  it('is deleted where it is asked for, and then unknown there', async () => {
    const [here, there] = [newRepository(), newRepository()]
    const bytes = content('deleted', 100)
    for (const repository of [here, there]) await pushBlob(target, repository, bytes)
    const path = `/v2/${here}/blobs/${digestOf(bytes)}`
    expect((await target('DELETE', path)).status).toBe(202)
    expect((await target('GET', path)).status).toBe(404)
    expect((await target('DELETE', path)).status).toBe(404)
    expect((await target('GET', `/v2/${there}/blobs/${digestOf(bytes)}`)).status).toBe(200)
    await pushBlob(target, here, bytes)
    expect((await target('GET', path)).status).toBe(200)
  })
})

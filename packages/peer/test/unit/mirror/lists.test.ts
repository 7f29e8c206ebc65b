import type { RequestListener } from 'node:http'
import { describe, expect, it } from 'vitest'
import { mirrorOf } from './running-mirror.ts'

const TAGS = ['a', 'b', 'c', 'd', 'e']
const DIGEST = `sha256:${'0'.repeat(64)}`

/** A registry whose pages of two are known by tokens of its own, with links to where clients can not go. */
const byToken: RequestListener = (request, response) => {
  const url = new URL(request.url ?? '', 'http://x')
  const at = Number(url.searchParams.get('next_page') ?? 0)
  if (at + 2 < TAGS.length) {
    response.setHeader('link', `<https://internal.test:5000${url.pathname}?next_page=${at + 2}&k=a%2Fb>; rel="next"`)
  }
  response.setHeader('content-type', 'application/json')
  const page = TAGS.slice(at, at + 2)
  response.end(JSON.stringify({ tags: page, manifests: page.map((digest) => ({ digest })) }))
}

describe('a list through the mirror', () => {
  it.each([
    ['the registry before the repository', '/v2/hub.test/x', ''],
    ['the registry as ns', '/v2/x', '?ns=hub.test'],
    ['no registry', '/v2/library/x', ''],
  ])('goes on where the registry says, for %s', async (_what, path, query) => {
    const { url, seen } = await mirrorOf(byToken)
    for (const [list, of] of [
      ['tags/list', (body: { tags: string[] }) => body.tags],
      [`referrers/${DIGEST}`, (body: { manifests: { digest: string }[] }) => body.manifests.map((each) => each.digest)],
    ] as const) {
      const all: string[] = []
      for (let next: string | undefined = `${path}/${list}${query}`; next !== undefined; ) {
        expect(next.startsWith(`${path}/${list}`)).toBe(true)
        const answer: Response = await fetch(`${url}${next}`)
        all.push(...of((await answer.json()) as never))
        next = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1]
      }
      expect(all).toEqual(TAGS)
    }
    const asked = seen.map((each) => each.url.replace(/(?<=[?&])ns=[^&]*&?/, '').replace(/[?&]$/, ''))
    const repository = path === '/v2/library/x' ? 'library/x' : 'x'
    expect(asked.slice(0, 3)).toEqual([
      `/v2/${repository}/tags/list`,
      `/v2/${repository}/tags/list?next_page=2&k=a%2Fb`,
      `/v2/${repository}/tags/list?next_page=4&k=a%2Fb`,
    ])
  })

  it('is that of Docker Hub’s library for a name of one part', async () => {
    const { url, seen } = await mirrorOf(byToken)
    for (const path of ['/v2/one', '/v2/docker.io/one', '/v2/one']) await fetch(`${url}${path}/tags/list`)
    expect(new Set(seen.map((each) => each.url.split('?')[0]))).toEqual(new Set(['/v2/library/one/tags/list']))
  })

  it('is asked of one registry, also where that is named twice', async () => {
    const { url, seen } = await mirrorOf(byToken)
    expect((await fetch(`${url}/v2/x/tags/list?ns=hub.test&ns=hub.test`)).status).toBe(200)
    expect(seen[0]?.url).toMatch(/^\/v2\/x\/tags\/list/)
    for (const query of ['ns=hub.test&ns=docker.io', 'ns=host:99999', 'ns=']) {
      const answer = await fetch(`${url}/v2/x/tags/list?${query}`)
      expect(answer.status).toBe(400)
      expect(await answer.text()).toMatch(/NAME_INVALID.*host:port/)
    }
    expect(seen).toHaveLength(1)
  })

  it('is nothing for a browser to guess at', async () => {
    const { url } = await mirrorOf(byToken)
    expect((await fetch(`${url}/v2/x/tags/list?ns=hub.test`)).headers.get('x-content-type-options')).toBe('nosniff')
  })
})

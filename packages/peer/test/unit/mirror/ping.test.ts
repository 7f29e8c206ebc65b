import { describe, expect, it } from 'vitest'
import { mirrorOf } from './running-mirror.ts'

const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })

describe('the ping', () => {
  it('asks for nothing unless it is told to', async () => {
    const { url } = await mirrorOf((_request, response) => response.end('{"tags":[]}'))
    const answer = await fetch(`${url}/v2/`)
    expect([answer.status, await answer.text()]).toEqual([200, '{}'])
  })

  it('asks for credentials where it is, which the registry then gets, and no others', async () => {
    const { url, seen } = await mirrorOf((_request, response) => response.end('{"tags":[]}'), { challenge: true })
    const challenged = await fetch(`${url}/v2/`)
    expect(challenged.status).toBe(401)
    expect(challenged.headers.get('www-authenticate')).toBe('Basic realm="Shoal mirror"')
    expect(await challenged.text()).toContain('UNAUTHORIZED')
    for (const headers of [basic('me:secret'), basic(':')]) {
      expect((await fetch(`${url}/v2/`, { headers })).status).toBe(200)
      expect((await fetch(`${url}/v2/hub.test/x/tags/list`, { headers })).status).toBe(200)
    }
    expect(seen.map(({ authorization }) => authorization)).toEqual([basic('me:secret').authorization, undefined])
  })
})

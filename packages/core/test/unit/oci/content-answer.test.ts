import { describe, expect, it } from 'vitest'
import { answerContent, digestOf } from '../../../src/index.ts'

const BYTES = Buffer.from('0123456789')
const DIGEST = digestOf(BYTES)
const BLOB = { digest: DIGEST, sizeBytes: 10, mediaType: 'application/octet-stream', hasRanges: true }

/** What a server would send. */
function answer(headers: Record<string, string> = {}, { method = 'GET', content = BLOB } = {}) {
  const found = answerContent({ method, headers }, content)
  const body = 'body' in found ? found.body : []
  const pieces = body.map((part) => (part instanceof Uint8Array ? part : BYTES.subarray(part.start, part.end + 1)))
  return { ...found, body: Buffer.concat(pieces).toString('latin1') }
}

describe('answerContent', () => {
  it('answers with the whole, and HEAD with its head', () => {
    const headers = {
      etag: `"${DIGEST}"`,
      'docker-content-digest': DIGEST,
      'accept-ranges': 'bytes',
      'content-type': 'application/octet-stream',
      'content-length': 10,
    }
    expect(answer()).toEqual({ status: 200, headers, body: '0123456789' })
    expect(answer({}, { method: 'HEAD' })).toEqual({ status: 200, headers, body: '' })
    expect(answer({ range: 'bytes=0-1' }, { method: 'HEAD' })).toEqual({ status: 200, headers, body: '' })
    expect(answer({}, { content: { ...BLOB, sizeBytes: 0 } })).toMatchObject({ status: 200, body: '' })
  })

  it('answers one range with that part', () => {
    expect(answer({ range: 'bytes=2-4' })).toMatchObject({
      status: 206,
      headers: { 'content-range': 'bytes 2-4/10', 'content-length': 3, 'content-type': 'application/octet-stream' },
      body: '234',
    })
  })

  it('answers several ranges with as many parts', () => {
    const { status, headers, body } = answer({ range: 'bytes=7-8, 0-1' })
    const [, boundary] = /^multipart\/byteranges; boundary=(\S+)$/.exec(String(headers['content-type'])) ?? []
    expect(boundary).toMatch(/^[0-9a-f-]{36}$/)
    expect({ status, body }).toEqual({
      status: 206,
      body: [
        `--${boundary}`,
        'content-type: application/octet-stream',
        'content-range: bytes 7-8/10',
        '',
        '78',
        `--${boundary}`,
        'content-type: application/octet-stream',
        'content-range: bytes 0-1/10',
        '',
        '01',
        `--${boundary}--`,
        '',
      ].join('\r\n'),
    })
    expect(headers['content-length']).toBe(body.length)
    expect(headers).not.toHaveProperty('content-range')
    expect(answer({ range: 'bytes=7-8, 0-1' }).headers['content-type']).not.toBe(headers['content-type'])
  })

  it.each(['bytes=10-', 'bytes=4-3', 'bytes=x', 'bytes=20-21,30-'])('refuses %s with the size', (range) => {
    expect(answer({ range })).toMatchObject({ status: 416, headers: { 'content-range': 'bytes */10' }, body: '' })
  })

  it('sends a part only of what the client has', () => {
    const range = 'bytes=2-4'
    expect(answer({ range, 'if-range': `"${DIGEST}"` })).toMatchObject({ status: 206 })
    expect(answer({ range, 'if-range': `W/"${DIGEST}"` })).toMatchObject({ status: 200 })
    expect(answer({ range, 'if-range': 'Wed, 21 Oct 2015 07:28:00 GMT' })).toMatchObject({ status: 200 })
  })

  it('looks at conditions before ranges', () => {
    const range = 'bytes=99-'
    expect(answer({ range, 'if-none-match': '*' })).toMatchObject({ status: 304, headers: { etag: `"${DIGEST}"` } })
    expect(answer({ range, 'if-match': '"other"' })).toMatchObject({ status: 412 })
  })

  it('sends no parts of what has none', () => {
    const manifest = { ...BLOB, hasRanges: false }
    expect(answer({ range: 'bytes=2-4' }, { content: manifest })).toMatchObject({ status: 200, body: '0123456789' })
  })
})

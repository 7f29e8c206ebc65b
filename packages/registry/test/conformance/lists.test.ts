import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { describe, expect, it } from 'vitest'
import { artifact, descriptorOf, image, index, type Pushed } from './data-sets.ts'
import { type Answer, codesOf, newRepository, useTarget } from './target.ts'

const target = useTarget()

const jsonOf = ({ bytes }: Answer) => JSON.parse(bytes.toString())
/** Path of the next page; undefined on the last one. */
const nextOf = ({ headers }: Answer) => /^<([^>]+)>; *rel="?next"?$/.exec(headers.get('link') ?? '')?.[1]

describe('end-8: tags', () => {
  const TAGS = ['0', '10', '9', 'Latest', 'latest', 'v1.0', 'v1.0-rc_1']

  async function tagged(): Promise<string> {
    const repository = newRepository()
    for (const tag of TAGS) await image('tags')(target, repository, tag)
    return repository
  }

  it('are listed in order, with the name', async () => {
    const repository = await tagged()
    const answer = await target('GET', `/v2/${repository}/tags/list`)
    expect([answer.status, jsonOf(answer), nextOf(answer)]).toEqual([200, { name: repository, tags: TAGS }, undefined])
  })

  it('come in pages, by number and by where the last one ended', async () => {
    const repository = await tagged()
    const list = async (query: string) => {
      const answer = await target('GET', `/v2/${repository}/tags/list${query}`)
      return { tags: jsonOf(answer).tags as string[], next: nextOf(answer) }
    }
    expect(await list('?n=0')).toEqual({ tags: [], next: undefined })
    expect(await list('?n=100')).toEqual({ tags: TAGS, next: undefined })
    expect(await list('?last=9')).toEqual({ tags: TAGS.slice(3), next: undefined })
    expect((await list('?n=2&last=between')).tags).toEqual(TAGS.slice(4, 6))
    const seen: string[] = []
    for (let path: string | undefined = `/v2/${repository}/tags/list?n=3`; path !== undefined; ) {
      const answer: Answer = await target('GET', path)
      seen.push(...jsonOf(answer).tags)
      path = nextOf(answer)
    }
    expect(seen).toEqual(TAGS)
  })

  it('of a repository that nobody pushed to are unknown', async () => {
    const answer = await target('GET', `/v2/${newRepository()}/tags/list`)
    expect([answer.status, codesOf(answer)]).toEqual([404, ['NAME_UNKNOWN']])
  })

  it.each(['n=-1', 'n=x'])('are not listed by %s', async (query) => {
    const repository = newRepository()
    await image('tags')(target, repository, 'v1')
    expect((await target('GET', `/v2/${repository}/tags/list?${query}`)).status).toBe(400)
  })
})

describe('the catalog', () => {
  it('names each repository once, in pages of at most a thousand', async () => {
    const names = Array.from({ length: 5 }, () => newRepository()).sort()
    for (const name of names) await image('catalog')(target, name, 'v1')
    const seen: string[] = []
    for (let path: string | undefined = '/v2/_catalog?n=2'; path !== undefined; ) {
      const answer: Answer = await target('GET', path)
      const { repositories } = jsonOf(answer)
      expect(repositories.length).toBeLessThanOrEqual(2)
      seen.push(...repositories)
      path = nextOf(answer)
    }
    expect(seen.filter((name) => names.includes(name)).sort()).toEqual(names)
    const refused = await target('GET', '/v2/_catalog?n=1001')
    expect([refused.status, codesOf(refused)]).toEqual([400, ['PAGINATION_NUMBER_INVALID']])
  })
})

describe('end-12: referrers', () => {
  const SBOM = 'application/vnd.example.sbom'
  const SIGNATURE = 'application/vnd.example.signature.v1+json'

  async function list(repository: string, digest: string, query = '') {
    const answer = await target('GET', `/v2/${repository}/referrers/${digest}${query}`)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, MEDIA_TYPES.ociIndex])
    const { schemaVersion, mediaType, manifests } = jsonOf(answer)
    expect([schemaVersion, mediaType]).toEqual([2, MEDIA_TYPES.ociIndex])
    return { answer, manifests: manifests as Record<string, unknown>[] }
  }

  it('of what nobody refers to are an empty index, whatever is there', async () => {
    const repository = newRepository()
    expect((await list(repository, digestOf('nothing'))).manifests).toEqual([])
    const { digest } = await image('alone')(target, repository, 'v1')
    expect((await list(repository, digest)).manifests).toEqual([])
    expect((await list(repository, digestOf('nothing', 'sha512'))).manifests).toEqual([])
  })

  it('of what is no digest are refused', async () => {
    const answer = await target('GET', `/v2/${newRepository()}/referrers/sha256:short`)
    expect([answer.status, codesOf(answer)]).toEqual([400, ['DIGEST_INVALID']])
  })

  it.each(['before', 'after', 'without'])('that come %s their subject are listed with what they say', async (when) => {
    const repository = newRepository()
    const elsewhere = newRepository()
    const subject = await image(when)(target, when === 'after' ? repository : elsewhere)
    const about = { subject: descriptorOf(subject) }
    const annotations = { 'org.example.key': 'value' }
    const pushed: [Pushed, string | undefined][] = [
      [await artifact('sbom', { artifactType: SBOM, annotations, ...about })(target, repository), SBOM],
      [await artifact('by its config', { configType: SIGNATURE, ...about })(target, repository), SIGNATURE],
      [await index([image('child')], { artifactType: SBOM, ...about })(target, repository), SBOM],
      [await index([], about)(target, repository), undefined],
    ]
    if (when === 'before') await image(when)(target, repository)
    const { manifests, answer } = await list(repository, subject.digest)
    expect(answer.headers.get('oci-filters-applied')).toBeNull()
    expect(manifests.map(({ digest }) => digest).sort()).toEqual(pushed.map(([{ digest }]) => digest).sort())
    for (const [{ digest, bytes, mediaType }, artifactType] of pushed) {
      const found = manifests.find((each) => each.digest === digest)
      expect(found).toMatchObject({ mediaType, size: bytes.length })
      expect(found?.artifactType).toBe(artifactType)
    }
    expect(manifests.find(({ digest }) => digest === pushed[0]?.[0].digest)?.annotations).toMatchObject(annotations)

    const filtered = await list(repository, subject.digest, `?artifactType=${encodeURIComponent(SBOM)}`)
    expect(filtered.answer.headers.get('oci-filters-applied')).toBe('artifactType')
    expect(filtered.manifests).toHaveLength(2)
    const none = await list(repository, subject.digest, '?artifactType=application%2Fnone')
    expect(none.manifests).toEqual([])

    for (const [{ digest }] of pushed) {
      expect((await target('DELETE', `/v2/${repository}/manifests/${digest}`)).status).toBe(202)
    }
    expect((await list(repository, subject.digest)).manifests).toEqual([])
  })

  it('that a client listed under the fallback tag, before the registry knew of them, are listed too', async () => {
    const repository = newRepository()
    const subject = await image('old')(target, repository, 'v1')
    const referrer = await artifact('old', { artifactType: SBOM, subject: descriptorOf(subject) })(target, repository)
    const tag = subject.digest.replace(':', '-')
    const fallback = { manifests: [{ ...descriptorOf(referrer), artifactType: SBOM }] }
    const { digest } = await index([], fallback)(target, repository, tag)
    expect((await list(repository, subject.digest)).manifests.map((each) => each.digest)).toEqual([referrer.digest])
    // The tag stays what the client made it.
    const { headers } = await target('HEAD', `/v2/${repository}/manifests/${tag}`)
    expect(headers.get('docker-content-digest')).toBe(digest)
  })

  it('that do not fit into one answer are found by following links', async () => {
    const repository = newRepository()
    const subject = await image('many')(target, repository)
    const about = { subject: descriptorOf(subject), artifactType: SBOM }
    const pushed = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const annotations = { 'org.example.large': String(i).repeat(2_000_000) }
      pushed.add((await artifact(`many ${i}`, { annotations, ...about })(target, repository)).digest)
    }
    const seen: string[] = []
    let pages = 0
    for (
      let path: string | undefined = `/v2/${repository}/referrers/${subject.digest}?artifactType=${SBOM}`;
      path !== undefined;
      pages++
    ) {
      const answer: Answer = await target('GET', path)
      expect(answer.headers.get('oci-filters-applied')).toBe('artifactType')
      for (const { digest } of jsonOf(answer).manifests) seen.push(digest)
      path = nextOf(answer)
    }
    expect(pages).toBeGreaterThan(1)
    expect(seen.sort()).toEqual([...pushed].sort())
  })
})

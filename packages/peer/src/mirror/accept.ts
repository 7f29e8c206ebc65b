import { MEDIA_TYPES } from '@shoal/core'

const LETTERS: ReadonlyMap<string, string> = new Map([
  [MEDIA_TYPES.ociIndex, 'i'],
  [MEDIA_TYPES.ociManifest, 'm'],
  [MEDIA_TYPES.dockerList, 'l'],
  [MEDIA_TYPES.dockerManifest, 'd'],
  ['application/vnd.docker.distribution.manifest.v1+json', 's'],
  ['application/vnd.docker.distribution.manifest.v1+prettyjws', 's'],
  ['application/json', 'j'],
  ['application/*', 'a'],
  ['*/*', 'a'],
])

/**
 * What an `Accept` header asks for, as one of a few short texts, so that clients cannot fill the memory by writing the
 * same wish in many ways. Undefined when it names types that are none of manifests: what an origin makes of those is not
 * known.
 */
export function acceptClass(accept: string | undefined): string | undefined {
  const letters = new Set<string>()
  for (const entry of (accept ?? '').split(',')) {
    const type = (entry.split(';', 1)[0] ?? '').trim().toLowerCase()
    if (type === '') continue
    const letter = LETTERS.get(type)
    if (letter === undefined) return undefined
    letters.add(letter)
  }
  return [...letters].sort().join('')
}

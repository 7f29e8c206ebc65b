import { CoreError, isDigest, isManifestMediaType, isRepositoryName } from '@shoal/core'
import { Type } from 'typebox'
import { Value } from 'typebox/value'

/** A manifest that was pushed. */
export interface PushedManifest {
  readonly repository: string
  readonly digest: string
}

const envelope = Type.Object({
  events: Type.Array(
    Type.Object({
      action: Type.String(),
      target: Type.Object({
        mediaType: Type.Optional(Type.String()),
        repository: Type.Optional(Type.String()),
        digest: Type.Optional(Type.String()),
      }),
    }),
    { maxItems: 100 },
  ),
})

/**
 * The manifests whose push an envelope tells of, each once. Source: Distribution's `notifications/event.go`.
 * @throws CoreError `EVENTS_INVALID` when it is no envelope
 */
export function pushedManifests(body: Uint8Array): PushedManifest[] {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (cause) {
    throw notAnEnvelope(cause)
  }
  if (!Value.Check(envelope, json)) throw notAnEnvelope()
  const pushed = new Map<string, PushedManifest>()
  for (const { action, target } of json.events) {
    const { mediaType = '', repository = '', digest = '' } = target
    if (action !== 'push' || !isManifestMediaType(mediaType)) continue
    if (!isRepositoryName(repository) || !isDigest(digest)) throw notAnEnvelope()
    pushed.set(`${repository}@${digest}`, { repository, digest })
  }
  return [...pushed.values()]
}

function notAnEnvelope(cause?: unknown): CoreError {
  return new CoreError('EVENTS_INVALID', "the body is not an envelope of Distribution's registry events", { cause })
}

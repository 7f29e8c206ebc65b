import { parseDigest } from '@shoal/core'
import { LeaseFailed_Reason } from '@shoal/proto'
import type { StoredBlob } from '../store/blob.ts'
import type { DownloadDependencies } from './dependencies.ts'
import { DownloadError } from './errors.ts'
import type { WholeDigest } from './whole-digest.ts'

/** How a download ended. */
export type DownloadOutcome = 'complete' | DownloadError

/**
 * Publishes a blob of which all pieces are here, if the whole has its digest. Else it is thrown away, and the scheduler
 * told. Rejects when the store fails.
 */
export async function publishIfRight(
  blob: StoredBlob,
  wholeDigest: WholeDigest,
  { store, coordinator }: Pick<DownloadDependencies, 'store' | 'coordinator'>,
): Promise<DownloadOutcome> {
  const { digest } = blob
  const { algorithm, hex } = parseDigest(digest)
  const found = await wholeDigest.found()
  if (found === hex) {
    await store.publish(blob)
    return 'complete'
  }
  coordinator.leaseFailed(digest, LeaseFailed_Reason.DIGEST_MISMATCH)
  coordinator.withdrawn(digest)
  await store.discard(digest)
  const message = `the bytes fetched for ${digest} have the digest ${algorithm}:${found}; they were thrown away`
  return new DownloadError('DIGEST_MISMATCH', message)
}

import type { BytesBySource, Download } from './download.ts'

const MAX_KEPT = 256

/** A download as a person or a progress bar sees it. */
export interface DownloadSummary {
  readonly digest: string
  /** Bytes. */
  readonly size: number
  readonly pieces: number
  readonly held: number
  readonly state: 'active' | 'complete' | 'failed'
  readonly bytes: Readonly<BytesBySource>
}

/** The last downloads that ended. */
export class EndedDownloads {
  readonly #byDigest = new Map<string, DownloadSummary>()

  add(summary: DownloadSummary): void {
    this.#byDigest.delete(summary.digest)
    this.#byDigest.set(summary.digest, summary)
    const [oldest] = this.#byDigest.keys()
    if (this.#byDigest.size > MAX_KEPT && oldest !== undefined) this.#byDigest.delete(oldest)
  }

  values(): Iterable<DownloadSummary> {
    return this.#byDigest.values()
  }
}

export function summaryOf(download: Download, state: DownloadSummary['state']): DownloadSummary {
  const { digest, blob, bytes } = download
  return { digest, size: blob.size, pieces: blob.layout.count, held: blob.have.held, state, bytes: { ...bytes } }
}

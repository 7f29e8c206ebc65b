import type { Writable } from 'node:stream'
import { type Bar, MultiBar } from 'cli-progress'
import type { DownloadStatus } from './node-client.ts'

const MIB = 1024 * 1024

/** Shows how far each blob is and where its pieces came from. */
export interface Progress {
  /** A blob is being pulled. */
  add(digest: string, size: number): void
  update(status: DownloadStatus): void
  /** The blob is whole; `status` is undefined when the node had it before. */
  done(digest: string, size: number, status: DownloadStatus | undefined): void
  close(): void
}

/** Bars on a terminal, one line a finished blob elsewhere. */
export function createProgress(stdout: Writable & { readonly isTTY?: boolean }): Progress {
  return stdout.isTTY === true ? new BarProgress(stdout) : new LineProgress(stdout)
}

class BarProgress implements Progress {
  readonly #bars: MultiBar
  readonly #byDigest = new Map<string, Bar>()

  constructor(stdout: Writable) {
    this.#bars = new MultiBar({
      format: '{name} {bar} {percentage}% of {size}  {sources}',
      stream: stdout as NodeJS.WritableStream,
      hideCursor: true,
      clearOnComplete: false,
      autopadding: true,
      barsize: 24,
    })
  }

  add(digest: string, size: number): void {
    const payload = { name: shortName(digest), size: mebibytes(size), sources: '' }
    this.#byDigest.set(digest, this.#bars.create(Math.max(1, size), 0, payload))
  }

  update({ digest, bytes }: DownloadStatus): void {
    this.#byDigest.get(digest)?.update(bytes.peer + bytes.seed + bytes.origin, { sources: sourcesOf(bytes) })
  }

  done(digest: string, size: number, status: DownloadStatus | undefined): void {
    const sources = status === undefined ? 'was here already' : sourcesOf(status.bytes)
    this.#byDigest.get(digest)?.update(Math.max(1, size), { sources })
  }

  close(): void {
    this.#bars.stop()
  }
}

class LineProgress implements Progress {
  readonly #stdout: Writable

  constructor(stdout: Writable) {
    this.#stdout = stdout
  }

  add(): void {}

  update(): void {}

  done(digest: string, size: number, status: DownloadStatus | undefined): void {
    const sources = status === undefined ? 'was here already' : sourcesOf(status.bytes)
    this.#stdout.write(`${shortName(digest)}  ${mebibytes(size)}  ${sources}\n`)
  }

  close(): void {}
}

/** Shares of the bytes by who sent them, e.g. `neighbours 62%  seed 38%  origin 0%`. */
export function sourcesOf({ peer, seed, origin }: DownloadStatus['bytes']): string {
  const all = peer + seed + origin
  if (all === 0) return ''
  const percent = (bytes: number) => `${Math.round((100 * bytes) / all)}%`
  return `neighbours ${percent(peer)}  seed ${percent(seed)}  origin ${percent(origin)}`
}

/** `12.3 MiB`. */
export function mebibytes(bytes: number): string {
  return bytes < MIB ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`
}

function shortName(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}

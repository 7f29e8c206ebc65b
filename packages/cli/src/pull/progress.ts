import type { Writable } from 'node:stream'
import { type Bar, MultiBar } from 'cli-progress'
import type { DownloadStatus } from './node-client.ts'
import { clock, Pace } from './pace.ts'

const MIB = 1024 * 1024
const NAME_LENGTH = 12
const SHOW_EVERY_MS = 5000
const HERE_BEFORE = 'was here already'

/** A blob that is being pulled. */
interface Blob {
  readonly digest: string
  /** Bytes. */
  readonly size: number
}

/** Shows how far each blob and the whole is, how fast it comes, and where the pieces came from. */
export interface Progress {
  update(statuses: readonly DownloadStatus[]): void
  /** The blob is whole; `status` is undefined when the node had it before. */
  done(blob: Blob, status: DownloadStatus | undefined): void
  close(): void
}

/** Bars on a terminal; elsewhere a line for each finished blob, and every five seconds one for the whole. */
export function createProgress(
  stdout: Writable & { readonly isTTY?: boolean },
  blobs: readonly Blob[],
  now: () => number = () => performance.now(),
): Progress {
  const whole = new Whole(blobs, now)
  return stdout.isTTY === true ? new BarProgress(stdout, blobs, whole) : new LineProgress(stdout, whole, now)
}

/** All blobs together. */
class Whole {
  readonly size: number
  readonly #received = new Map<string, number>()
  readonly #pace: Pace

  constructor(blobs: readonly Blob[], now: () => number) {
    this.size = blobs.reduce((sum, { size }) => sum + size, 0)
    this.#pace = new Pace(now)
    for (const { digest } of blobs) this.#received.set(digest, 0)
  }

  /** Bytes that came. */
  get received(): number {
    return this.#received.values().reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Other clients' downloads are not counted. */
  note(digest: string, bytes: number): void {
    if (this.#received.has(digest)) this.#received.set(digest, Math.max(bytes, this.#received.get(digest) ?? 0))
  }

  /** To be called after `note`, now and then. */
  look(): void {
    this.#pace.note(this.received)
  }

  /** `62% of 512.3 MiB  45.2 MiB/s  0:12 left`. */
  toString(): string {
    const { received, size } = this
    const { rate } = this.#pace
    const share = `${size === 0 ? 100 : Math.floor((100 * received) / size)}% of ${mebibytes(size)}`
    if (rate <= 0 || received >= size) return share
    return `${share}  ${mebibytes(rate)}/s  ${clock((size - received) / rate)} left`
  }
}

/** A line must fit in 80 columns: `0123456789ab ██████████  62% of 1234.5 MiB  neighbours 62% seed 38% origin 0%`. */
const BAR_SIZE = 10
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

class BarProgress implements Progress {
  readonly #bars: MultiBar
  readonly #byDigest: ReadonlyMap<string, Bar>
  readonly #whole: Whole
  readonly #wholeBar: Bar
  /** The terminal gets its cursor back before the signal ends the process, as it does by default. */
  readonly #onSignal = (signal: NodeJS.Signals): void => {
    this.close()
    process.kill(process.pid, signal)
  }

  constructor(stdout: Writable, blobs: readonly Blob[], whole: Whole) {
    this.#whole = whole
    const bars = new MultiBar({
      format: '{name} {bar} {percentage}% of {size}  {sources}',
      stream: stdout as NodeJS.WritableStream,
      hideCursor: true,
      clearOnComplete: false,
      autopadding: true,
      barsize: BAR_SIZE,
    })
    this.#bars = bars
    const barOf = ({ digest, size }: Blob) =>
      bars.create(Math.max(1, size), 0, { name: shortName(digest), size: mebibytes(size).padStart(10), sources: '' })
    this.#byDigest = new Map(blobs.map((blob) => [blob.digest, barOf(blob)]))
    const wholeFormat = { format: `${'all'.padEnd(NAME_LENGTH)} {bar} {text}` }
    this.#wholeBar = bars.create(Math.max(1, whole.size), 0, { text: '' }, wholeFormat)
    for (const signal of SIGNALS) process.once(signal, this.#onSignal)
  }

  update(statuses: readonly DownloadStatus[]): void {
    for (const { digest, bytes } of statuses) {
      const received = bytes.peer + bytes.seed + bytes.origin
      this.#whole.note(digest, received)
      this.#byDigest.get(digest)?.update(received, { sources: sourcesOf(bytes, ' ') })
    }
    this.#showWhole()
  }

  done({ digest, size }: Blob, status: DownloadStatus | undefined): void {
    this.#whole.note(digest, size)
    const sources = status === undefined ? HERE_BEFORE : sourcesOf(status.bytes, ' ')
    this.#byDigest.get(digest)?.update(Math.max(1, size), { sources })
    this.#showWhole()
  }

  close(): void {
    for (const signal of SIGNALS) process.off(signal, this.#onSignal)
    this.#bars.stop()
  }

  #showWhole(): void {
    this.#whole.look()
    this.#wholeBar.update(this.#whole.received, { text: String(this.#whole) })
  }
}

class LineProgress implements Progress {
  readonly #stdout: Writable
  readonly #whole: Whole
  readonly #now: () => number
  #shownMs: number

  constructor(stdout: Writable, whole: Whole, now: () => number) {
    this.#stdout = stdout
    this.#whole = whole
    this.#now = now
    this.#shownMs = now()
  }

  update(statuses: readonly DownloadStatus[]): void {
    for (const { digest, bytes } of statuses) this.#whole.note(digest, bytes.peer + bytes.seed + bytes.origin)
    this.#whole.look()
    if (this.#now() - this.#shownMs < SHOW_EVERY_MS) return
    this.#shownMs = this.#now()
    this.#stdout.write(`${this.#whole}\n`)
  }

  done({ digest, size }: Blob, status: DownloadStatus | undefined): void {
    this.#whole.note(digest, size)
    const sources = status === undefined ? HERE_BEFORE : sourcesOf(status.bytes)
    this.#stdout.write(`${shortName(digest)}  ${mebibytes(size)}  ${sources}\n`)
  }

  close(): void {}
}

/**
 * Shares of the bytes by who sent them, e.g. `neighbours 62%  seed 38%  origin 0%`.
 * @param gap between two of them
 */
export function sourcesOf({ peer, seed, origin }: DownloadStatus['bytes'], gap = '  '): string {
  const all = peer + seed + origin
  if (all === 0) return ''
  const percent = (bytes: number) => `${Math.round((100 * bytes) / all)}%`
  return [`neighbours ${percent(peer)}`, `seed ${percent(seed)}`, `origin ${percent(origin)}`].join(gap)
}

/** `12.3 MiB`. */
export function mebibytes(bytes: number): string {
  return bytes < MIB ? `${Math.ceil(bytes / 1024)} KiB` : `${(bytes / MIB).toFixed(1)} MiB`
}

function shortName(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, NAME_LENGTH)
}

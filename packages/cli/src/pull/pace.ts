const WINDOW_MS = 5000

/** How fast bytes come, by what came in the last five seconds. */
export class Pace {
  readonly #now: () => number
  readonly #samples: { readonly atMs: number; readonly bytes: number }[]

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now
    this.#samples = [{ atMs: now(), bytes: 0 }]
  }

  /** @param bytes all that came so far */
  note(bytes: number): void {
    const atMs = this.#now()
    this.#samples.push({ atMs, bytes })
    while (this.#samples.length > 2 && (this.#samples[1]?.atMs ?? atMs) <= atMs - WINDOW_MS) this.#samples.shift()
  }

  /** Bytes a second; 0 when nothing came. */
  get rate(): number {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)]
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0
    return (1000 * (last.bytes - first.bytes)) / (last.atMs - first.atMs)
  }
}

/** `1:05` for 65 seconds, `1:00:00` for an hour; whole seconds, rounded up. */
export function clock(seconds: number): string {
  const whole = Math.ceil(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  const rest = String(whole % 60).padStart(2, '0')
  return hours === 0 ? `${minutes}:${rest}` : `${hours}:${String(minutes).padStart(2, '0')}:${rest}`
}

import { existsSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Place, run, type Service } from '@shoal/bench'
import { http } from '../kit/http.ts'

const SOURCE = join(import.meta.dirname, 'clock.c')
/** How far a process may be from where its clock was stepped to, when it is asked what time it is. */
const TOLERANCE_MS = 60_000
/** Node writes the same date into its answers for up to a second. */
const DATE_HEADER_MS = 1100

/** Wall clocks of their own for all services. */
export class Clocks {
  readonly #folder: string
  readonly #library: string

  private constructor(folder: string, library: string) {
    this.#folder = folder
    this.#library = library
  }

  /** Compiles what makes them, into `folder`. Throws when there is no C compiler. */
  static async make(folder: string): Promise<Clocks> {
    const library = join(folder, 'clock.so')
    await run('cc', ['-O2', '-shared', '-fPIC', '-o', library, SOURCE, '-ldl'])
    return new Clocks(folder, library)
  }

  /** The command that starts another with the clock of its place, which is as far ahead of the machine's at first. */
  launcher(place: Pick<Place, 'name'>, aheadSeconds = 0): readonly string[] {
    const file = this.#file(place)
    if (!existsSync(file)) writeFileSync(file, secondsOf(aheadSeconds))
    return ['env', `LD_PRELOAD=${this.#library}`, `CHAOS_CLOCK=${file}`]
  }

  /** Sets the clock of a service that is not started yet to so many seconds ahead of the machine's, negative: behind. */
  set(place: Place, seconds: number): void {
    writeFileSync(this.#file(place), secondsOf(seconds))
  }

  /** Steps the clock of a running service to so many seconds ahead of the machine's, negative: behind. */
  async step({ place, adminUrl }: Service, seconds: number): Promise<void> {
    // In place: the process has the file mapped.
    const file = await open(this.#file(place), 'r+')
    await file.write(secondsOf(seconds), 0, 8, 0)
    await file.close()
    await delay(DATE_HEADER_MS)
    const { headers, body } = await http(`${adminUrl}/readyz`)
    body.resume()
    const ahead = Date.parse(headers.date ?? '') - Date.now()
    if (!(Math.abs(ahead - seconds * 1000) < TOLERANCE_MS)) {
      throw new Error(`the clock of ${place.name} was not stepped: it says ${headers.date}`)
    }
  }

  #file(place: Pick<Place, 'name'>): string {
    return join(this.#folder, `${place.name}.clock`)
  }
}

function secondsOf(seconds: number): Buffer {
  return Buffer.from(new BigInt64Array([BigInt(seconds)]).buffer)
}

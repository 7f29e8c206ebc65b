import { join } from 'node:path'
import { commandAt, type Measured, type Place, start } from '@shoal/bench'
import { httpExpect } from '../kit/http.ts'

const PROGRAM = join(import.meta.dirname, 'gate-program.ts')

/** What a gate demands. */
export interface GateOptions {
  /** It wants Bearer tokens, which it gives to anybody, and which live for so long, and say longer; it wants none unless told. */
  readonly tokenSeconds?: number
}

/** What a gate answers in the place of the registry. */
export interface Refusal {
  readonly status: 429 | 503
  /** Seconds of `Retry-After`; none unless told. */
  readonly retryAfter?: number
  readonly forMs: number
}

/** What a gate has counted. */
export interface GateCounts {
  /** Requests that were refused because the row said so. */
  readonly refused: number
  /** Requests with a token that had expired. */
  readonly expired: number
  /** Bodies that it broke off. */
  readonly broken: number
}

/** A reverse proxy beside the registry, through which nodes reach it, that does what an origin in trouble does. */
export class Gate {
  readonly #control: string

  constructor(place: Place) {
    this.#control = `http://${place.host}:${place.ports[3]}`
  }

  /** Where nodes reach it. */
  static urlAt(place: Place): string {
    return `http://${place.host}:${place.ports[4]}`
  }

  /** Starts one beside the registry; it is put into `started`. */
  static async start(registry: Place, { tokenSeconds = 0 }: GateOptions, started: Measured[]): Promise<Gate> {
    const [to, , , control, port] = registry.ports
    const args = [PROGRAM, registry.host, ...[port, to, control, tokenSeconds].map(String)]
    const ready = `http://${registry.host}:${control}/counts`
    started.push(await start('gate', ...commandAt(registry, process.execPath, args), ready))
    return new Gate(registry)
  }

  /** Breaks off every body that is on its way. */
  async breakBodies(): Promise<void> {
    await httpExpect(`${this.#control}/break`, [200], { method: 'POST' })
  }

  /** Breaks off every body that is on its way, and refuses requests for a while, from now on. */
  async refuse(refusal: Refusal): Promise<void> {
    await httpExpect(`${this.#control}/refuse`, [200], { method: 'POST', body: JSON.stringify(refusal) })
    await this.breakBodies()
  }

  async counts(): Promise<GateCounts> {
    return JSON.parse((await httpExpect(`${this.#control}/counts`, [200])).body.toString()) as GateCounts
  }
}

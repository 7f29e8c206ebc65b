import { BackgroundLoop, pause, type Startable } from '@shoal/core'
import type { FastifyInstance } from 'fastify'
import { type Static, Type } from 'typebox'
import { Value } from 'typebox/value'
import { RegistryError } from '../errors.ts'
import type { Guard } from './guard.ts'

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Where the mode is kept for all replicas. */
export interface SharedMode {
  /** undefined when nobody has set it, or nobody can say. */
  get(): Promise<boolean | undefined>
  set(isOn: boolean): Promise<void>
}

const LOOK_EVERY_MS = 1000

/** Refuses what would change the storage while it is on. Requests that have begun go on. */
export class ReadOnlyMode implements Startable {
  readonly #shared: SharedMode | undefined
  readonly #loop = new BackgroundLoop((signal) => this.#look(signal))
  #isOn: boolean

  /** @param isOn until somebody sets it */
  constructor(isOn: boolean, shared?: SharedMode) {
    this.#isOn = isOn
    this.#shared = shared
  }

  get isOn(): boolean {
    return this.#isOn
  }

  async start(): Promise<void> {
    if (this.#shared !== undefined) await this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  /** Sets it for all replicas; rejects when they can not be told, and then leaves it. */
  async set(isOn: boolean): Promise<void> {
    await this.#shared?.set(isOn)
    this.#isOn = isOn
  }

  readonly guard: Guard = ({ method }) => {
    if (!this.#isOn || READS.has(method)) return
    throw new RegistryError(
      'UNSUPPORTED',
      'the registry takes no changes at the moment: try again later, or ask its operator',
      {
        headers: { allow: 'GET, HEAD' },
      },
    )
  }

  async #look(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isOn = (await this.#shared?.get()) ?? this.#isOn
      await pause(LOOK_EVERY_MS, signal)
    }
  }
}

const bodySchema = Type.Object({ readOnly: Type.Boolean() }, { additionalProperties: false })

/** Adds the routes by which operators look at the mode and change it. */
export function addReadOnlyRoutes(server: FastifyInstance, mode: ReadOnlyMode): void {
  const view = (): Static<typeof bodySchema> => ({ readOnly: mode.isOn })
  server.get('/api/v1/read-only', async () => view())
  server.put('/api/v1/read-only', async (request, reply) => {
    // Not by the server's own validation, which would take "false" for a boolean.
    const { body } = request
    if (!Value.Check(bodySchema, body)) {
      return reply.code(400).send({ message: 'send {"readOnly": true} or {"readOnly": false}' })
    }
    await mode.set(body.readOnly)
    return view()
  })
}

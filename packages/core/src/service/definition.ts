import type { Static, TObject } from 'typebox'
import type { Startable } from '../lifecycle.ts'
import type { Logger } from '../log.ts'

/** A running service and where it listens, name of the door → URL or `host:port`. */
export interface Service extends Startable {
  addresses(): Readonly<Record<string, string>>
}

/** What a command needs to run a service from a config file. */
export interface ServiceDefinition<S extends TObject = TObject> {
  /** Name of the command and of the log field. */
  readonly name: string
  /** Options with their defaults. */
  readonly schema: S
  /** @param environment the process's variables, for what has its usual place there, such as proxies; left out: none */
  create(
    options: Static<S>,
    log: Logger,
    environment?: Readonly<Record<string, string | undefined>>,
  ): Promise<Service> | Service
}

import { rename } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { BackgroundLoop, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import type { Counter, Gauge } from 'prom-client'
import { copyFile, hashFile } from '../backup/copy.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { FilesystemDriver } from '../storage/filesystem.ts'
import type { AuditLog } from './audit-log.ts'

interface ShipperDependencies {
  readonly audit: AuditLog
  /** Where the files go. */
  readonly target: StorageDriver
  /** Counts files by `outcome`: shipped or failed. */
  readonly files: Counter<'outcome'>
  /** Files that wait. */
  readonly waiting: Gauge
  readonly log: Logger
}

const MINUTE_MS = 60_000
/** Digits of a file's digest in its name: no two files take each other's place, and one that is shipped twice its own. */
const DIGEST_DIGITS = 16

/** Copies the files of the audit log to an object store, each once it is done. */
export class AuditShipper implements Startable {
  readonly #folder: string
  readonly #everyMs: number
  readonly #dependencies: ShipperDependencies
  readonly #loop = new BackgroundLoop((signal) => this.#shipAgainAndAgain(signal))
  #isFailing = false

  constructor(
    { folder, everyMinutes }: { readonly folder: string; readonly everyMinutes: number },
    dependencies: ShipperDependencies,
  ) {
    this.#folder = folder
    this.#everyMs = everyMinutes * MINUTE_MS
    this.#dependencies = dependencies
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  /** To be called once the audit log has stopped: what it wrote last is shipped too, or with the next start. */
  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.#shipAll(AbortSignal.timeout(10_000))
  }

  async #shipAgainAndAgain(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#dependencies.audit.endFile()
      await this.#shipAll(signal)
      await pause(this.#everyMs, signal)
    }
  }

  async #shipAll(signal: AbortSignal): Promise<void> {
    const { audit, files, waiting, log } = this.#dependencies
    try {
      const names = await audit.unshipped()
      waiting.set(names.length)
      for (const [at, name] of names.entries()) {
        if (signal.aborted) return
        await this.#ship(name)
        files.inc({ outcome: 'shipped' })
        waiting.set(names.length - at - 1)
      }
      if (this.#isFailing) log.info('the audit log is shipped again')
      this.#isFailing = false
    } catch (error) {
      files.inc({ outcome: 'failed' })
      const fields = { error: errorChain(error) }
      if (!this.#isFailing) log.error(fields, 'the audit log is not shipped; its files wait, and will be tried again')
      this.#isFailing = true
    }
  }

  async #ship(name: string): Promise<void> {
    const { target } = this.#dependencies
    const source = new FilesystemDriver(this.#folder)
    const { digests } = await hashFile(source, name, ['sha256'])
    const [, day = '', number = ''] = /^audit-([^.]+)\.([^.]+)\.jsonl$/.exec(name) ?? []
    const digest = digests.sha256?.slice(0, DIGEST_DIGITS)
    const to = `${day}/${hostname().replace(/[^A-Za-z0-9._-]/g, '_')}.${number}.${digest}.jsonl`
    await copyFile({ from: source, path: name, to: target, as: to }, ['sha256'], (copied) => {
      if (copied.digests.sha256 !== digests.sha256) throw new Error(`${name} was changed while it was shipped`)
    })
    await rename(join(this.#folder, name), join(this.#folder, shippedName(name)))
  }
}

function shippedName(name: string): string {
  return name.replace(/\.jsonl$/, '.shipped.jsonl')
}

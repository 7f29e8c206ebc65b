import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { BackgroundLoop, CoreError, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import type { TlsOptions } from './options.ts'

/** Kubernetes and ACME clients put new files in place without saying so. */
const LOOK_EVERY_MS = 10_000

/** What TLS needs of the certificate's files. */
export type CertificateContext = Pick<SecureContextOptions, 'cert' | 'key' | 'ca' | 'minVersion'>

/** @param haveRootsChanged whether clients need certificates from other roots than before */
type CertificateUse = (context: CertificateContext, haveRootsChanged: boolean) => void

/** The certificate of a server, read again when its files change. */
export class Certificate implements Startable {
  readonly #options: TlsOptions
  readonly #log: Logger
  readonly #lookEveryMs: number
  readonly #loop = new BackgroundLoop((signal) => this.#lookAgainAndAgain(signal))
  #current: CertificateContext
  #seen: string
  #use: CertificateUse = () => {}

  private constructor(
    options: TlsOptions,
    first: Files,
    { log, lookEveryMs = LOOK_EVERY_MS }: CertificateDependencies,
  ) {
    this.#options = options
    this.#log = log
    this.#lookEveryMs = lookEveryMs
    this.#current = first.context
    this.#seen = first.text
  }

  /** Throws CoreError `CONFIG_INVALID` when the files can not be read, or do not fit together. */
  static async read(options: TlsOptions, dependencies: CertificateDependencies): Promise<Certificate> {
    return new Certificate(options, await readFiles(options), dependencies)
  }

  get context(): CertificateContext {
    return this.#current
  }

  /** Has `use` called with each certificate that takes the place of the one before. */
  onChange(use: CertificateUse): void {
    this.#use = use
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  stop(): Promise<void> {
    return this.#loop.stop()
  }

  async #lookAgainAndAgain(signal: AbortSignal): Promise<void> {
    /** What was wrong at the last look: said once. */
    let complaint = ''
    while (!signal.aborted) {
      await pause(this.#lookEveryMs, signal)
      if (signal.aborted) return
      try {
        const { context, text } = await readFiles(this.#options)
        complaint = ''
        if (text === this.#seen) continue
        const haveRootsChanged = context.ca !== this.#current.ca
        this.#seen = text
        this.#current = context
        this.#use(context, haveRootsChanged)
        this.#log.info('the certificate was changed')
      } catch (error) {
        // The files are changed one after the other: between the two they do not fit.
        const message = errorChain(error)
        if (message !== complaint) this.#log.warn({ error: message }, 'the certificate stays what it was')
        complaint = message
      }
    }
  }
}

interface CertificateDependencies {
  readonly log: Logger
  readonly lookEveryMs?: number
}

interface Files {
  readonly context: CertificateContext
  /** All of them, to see a change by. */
  readonly text: string
}

async function readFiles({ certFile, keyFile, clientCaFile }: TlsOptions): Promise<Files> {
  const cert = await readPem('certFile', certFile)
  const key = await readPem('keyFile', keyFile)
  const ca = clientCaFile === undefined ? undefined : await readPem('clientCaFile', clientCaFile)
  const context = { cert, key, minVersion: 'TLSv1.2', ...(ca === undefined ? {} : { ca }) } as const
  try {
    createSecureContext(context)
  } catch (cause) {
    throw new CoreError('CONFIG_INVALID', `tls: ${certFile} and ${keyFile} are not a certificate and its key`, {
      cause,
    })
  }
  return { context, text: [cert, key, ca].join('\n') }
}

async function readPem(name: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new CoreError('CONFIG_INVALID', `tls.${name}: ${path} can not be read`, { cause })
  }
}

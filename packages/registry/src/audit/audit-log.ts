import { type FileHandle, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { errorChain, type Logger, prepareDataFolder, type Startable } from '@shoal/core'
import type { Counter } from 'prom-client'

export interface AuditLogOptions {
  readonly folder: string
  readonly maxFileBytes: number
  readonly keepDays: number
  /** Whether files are shipped, and stay until they were. */
  readonly isShipped?: boolean
}

interface AuditLogDependencies {
  /** Counts lines by `outcome`: written or lost. */
  readonly lines: Counter<'outcome'>
  readonly log: Logger
  /** Milliseconds since 1970. */
  readonly now: () => number
}

interface OpenFile {
  readonly path: string
  readonly handle: FileHandle
  readonly day: string
  sizeBytes: number
}

const DAY_MS = 86_400_000
/** After a failure lines are lost for so long: each attempt costs a full disk a file. */
const RETRY_MS = 1000
/** Lines that may wait for the disk; further ones are lost, so that a hanging disk does not eat the memory. */
const MAX_WAITING = 50_000
const FILE = /^audit-([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9]{6})(\.shipped)?\.jsonl$/

/**
 * Appends lines to files `audit-<day>.<number>.jsonl`. A line is with the system soon after `add`, all that wait in one
 * write; it is forced to the disk when its file is done. Lines that can not be written are counted and lost, never
 * waited for. A new file after each failure and each start: only the last line of one can be torn.
 */
export class AuditLog implements Startable {
  readonly #options: AuditLogOptions
  readonly #dependencies: AuditLogDependencies
  #waiting: string[] = []
  #writing: Promise<void> | undefined
  #file: OpenFile | undefined
  #isEnding = false
  #failedAtMs: number | undefined
  #isStarted = false

  constructor(options: AuditLogOptions, dependencies: AuditLogDependencies) {
    this.#options = options
    this.#dependencies = dependencies
  }

  /** Throws CoreError `DATA_FOLDER_UNUSABLE`. */
  async start(): Promise<void> {
    if (this.#isStarted) return
    await prepareDataFolder(this.#options.folder)
    this.#isStarted = true
  }

  async stop(): Promise<void> {
    this.#isStarted = false
    await this.#writing
    await this.#close()
  }

  /** Has a line, which ends in a newline, written. */
  add(line: string): void {
    const { now } = this.#dependencies
    const isPaused = this.#failedAtMs !== undefined && Math.abs(now() - this.#failedAtMs) < RETRY_MS
    if (!this.#isStarted || isPaused || this.#waiting.length >= MAX_WAITING) {
      this.#dependencies.lines.inc({ outcome: 'lost' })
      return
    }
    this.#waiting.push(line)
    this.#writing ??= this.#writeWaiting()
  }

  /** Ends the file that lines go to, if there is one: the next lines begin another one. */
  async endFile(): Promise<void> {
    this.#isEnding = this.#file !== undefined
    // Who writes at the moment ends it with the next lines.
    if (this.#writing === undefined) await this.#close()
  }

  /** Files that are done and were not shipped, oldest first. */
  async unshipped(): Promise<string[]> {
    const current = this.#file?.path
    const { folder } = this.#options
    const files = (await this.#files()).filter(({ name, wasShipped }) => !wasShipped && join(folder, name) !== current)
    return files.map(({ name }) => name).sort()
  }

  async #writeWaiting(): Promise<void> {
    const { lines, log, now } = this.#dependencies
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#write(Buffer.from(batch.join('')))
        lines.inc({ outcome: 'written' }, batch.length)
        if (this.#failedAtMs !== undefined) log.info('the audit log can be written again')
        this.#failedAtMs = undefined
      } catch (error) {
        lines.inc({ outcome: 'lost' }, batch.length)
        const { folder } = this.#options
        // Once for each time that the disk fails, however many lines that costs.
        if (this.#failedAtMs === undefined)
          log.error({ folder, error: errorChain(error) }, 'the audit log loses lines: free its disk')
        this.#failedAtMs = now()
        await this.#close()
      }
    }
    this.#writing = undefined
  }

  async #write(bytes: Buffer): Promise<void> {
    const file = await this.#current()
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await file.handle.write(bytes, at)
      at += bytesWritten
      file.sizeBytes += bytesWritten
    }
  }

  /** The file that lines go to now. */
  async #current(): Promise<OpenFile> {
    const day = dayOf(this.#dependencies.now())
    const { folder, maxFileBytes } = this.#options
    const file = this.#file
    if (file?.day === day && file.sizeBytes < maxFileBytes && !this.#isEnding) return file
    await this.#close()
    const numbers = (await this.#files()).filter((each) => each.day === day).map(({ number }) => number)
    const number = String(Math.max(0, ...numbers) + 1).padStart(6, '0')
    const path = join(folder, `audit-${day}.${number}.jsonl`)
    const begun = { path, handle: await open(path, 'ax', 0o640), day, sizeBytes: 0 }
    this.#file = begun
    await this.#deleteOld()
    return begun
  }

  async #deleteOld(): Promise<void> {
    const { folder, keepDays, isShipped = false } = this.#options
    const oldest = dayOf(this.#dependencies.now() - keepDays * DAY_MS)
    for (const { name, day, wasShipped } of await this.#files()) {
      if (day < oldest && (wasShipped || !isShipped)) await rm(join(folder, name), { force: true })
    }
  }

  async #files(): Promise<{ name: string; day: string; number: number; wasShipped: boolean }[]> {
    return (await readdir(this.#options.folder)).flatMap((name) => {
      const [, day, number, shipped] = FILE.exec(name) ?? []
      return day === undefined ? [] : [{ name, day, number: Number(number), wasShipped: shipped !== undefined }]
    })
  }

  async #close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    this.#isEnding = false
    if (file === undefined) return
    try {
      await file.handle.datasync()
    } catch (error) {
      this.#dependencies.log.error({ error: errorChain(error) }, 'a file of the audit log may not be whole on the disk')
    } finally {
      await file.handle.close().catch(() => {})
      // What a full disk left.
      if (file.sizeBytes === 0) await rm(file.path, { force: true }).catch(() => {})
    }
  }
}

function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why a small file system can not be mounted here; undefined when it can. Fails where tests must not be skipped. */
export function whyNoTmpfs(): string | undefined {
  const why =
    process.platform !== 'linux' ? 'needs Linux' : process.getuid?.() === 0 ? undefined : 'needs root, to mount a tmpfs'
  if (why === undefined) return undefined
  if (process.env.CI === 'true') throw new Error(`the tests on a full disk can not run in CI: ${why}`)
  process.stderr.write(`skipped, the tests on a full disk: ${why}\n`)
  return why
}

/** A small file system of its own that can be filled to the last byte. */
export class SmallDisk {
  readonly folder: string
  #filler: number | undefined

  static async mount(bytes: number): Promise<SmallDisk> {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-disk-'))
    run('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder)
    return new SmallDisk(folder)
  }

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Somebody else takes all that is free, but `left` bytes. */
  fill(left = 0): void {
    this.#filler ??= openSync(join(this.folder, 'filler'), 'a+')
    let size = 0
    try {
      for (const block = Buffer.alloc(64 * 1024, 1); ; ) size += writeSync(this.#filler, block)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    }
    if (left > 0) ftruncateSync(this.#filler, Math.max(0, size - left))
  }

  async unmount(): Promise<void> {
    if (this.#filler !== undefined) closeSync(this.#filler)
    run('umount', this.folder)
    await rm(this.folder, { recursive: true })
  }
}

function run(command: string, ...args: string[]): void {
  execFileSync(command, args)
}

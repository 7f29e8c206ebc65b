import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { makeGuardedFolder } from './guarded-folder.ts'

/** Something a test started. */
export interface Stoppable {
  stop(): Promise<unknown>
}

/**
 * What a test file started and made. All of it is undone after its tests, in reverse order, also when they or their
 * set-up failed.
 */
export class TestBed {
  readonly #cleanups: (() => Promise<unknown>)[] = []
  #root: Promise<string> | undefined
  #folders = 0

  /** @param root an empty folder of the caller's for all that is made; one of its own unless told */
  constructor(root?: string) {
    if (root !== undefined) this.#root = Promise.resolve(root)
  }

  /** A new empty folder. Its path is short: a socket in it must fit in 107 bytes. */
  async folder(name: string): Promise<string> {
    this.#root ??= this.#makeRoot()
    const path = join(await this.#root, `${this.#folders++}-${name}`)
    await mkdir(path)
    return path
  }

  /** Runs `cleanup` after the tests, before those of earlier calls. */
  onTearDown(cleanup: () => Promise<unknown>): void {
    this.#cleanups.push(cleanup)
  }

  /** Stops `part` after the tests; gives it back. */
  use<T extends Stoppable>(part: T): T {
    this.onTearDown(() => part.stop())
    return part
  }

  /** Undoes everything; the first failure is thrown after the last cleanup ran. */
  async tearDown(): Promise<void> {
    const errors: unknown[] = []
    for (let cleanup = this.#cleanups.pop(); cleanup !== undefined; cleanup = this.#cleanups.pop()) {
      await cleanup().catch((error: unknown) => errors.push(error))
    }
    this.#root = undefined
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'cleanups failed')
  }

  async #makeRoot(): Promise<string> {
    const root = await makeGuardedFolder()
    this.#cleanups.unshift(() => root.remove())
    return root.path
  }
}

/** A test bed that is torn down after the tests of the file or `describe` that calls this. */
export function createTestBed(): TestBed {
  const bed = new TestBed()
  afterAll(() => bed.tearDown())
  return bed
}

import { type FSWatcher, watch } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Logger } from '@shoal/core'

interface Watched {
  readonly watcher: FSWatcher
  readonly inode: number
}

/**
 * Tells of entries that come, go or change in some folders, as far as the system tells: there are file systems without
 * such news, the system may drop some when there are many, and folders that were replaced are silent.
 */
export class FolderWatch {
  readonly #folders: readonly string[]
  readonly #changed: (folder: string, name: string) => void
  readonly #log: Logger
  readonly #watched = new Map<string, Watched>()
  #hasFailed = false

  constructor(
    folders: readonly string[],
    dependencies: { changed: (folder: string, name: string) => void; log: Logger },
  ) {
    this.#folders = folders
    this.#changed = dependencies.changed
    this.#log = dependencies.log
  }

  /** Watches the folders that are there now, those of the same name that were before no more. */
  async renew(): Promise<void> {
    for (const folder of this.#folders) {
      const inode = await stat(folder).then(
        (entry) => entry.ino,
        () => undefined,
      )
      if (this.#watched.get(folder)?.inode === inode) continue
      this.#drop(folder)
      if (inode !== undefined) this.#watch(folder, inode)
    }
  }

  close(): void {
    for (const folder of this.#folders) this.#drop(folder)
  }

  #watch(folder: string, inode: number): void {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => this.#changed(folder, name ?? ''))
      watcher.on('error', (error) => {
        this.#drop(folder)
        this.#failed(folder, error)
      })
      this.#watched.set(folder, { watcher, inode })
    } catch (error) {
      this.#failed(folder, error)
    }
  }

  #drop(folder: string): void {
    this.#watched.get(folder)?.watcher.close()
    this.#watched.delete(folder)
  }

  #failed(folder: string, err: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    this.#log.warn({ folder, err }, 'a folder can not be watched: it is read anew once in a while instead')
  }
}

import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { CoreError, systemErrorCode } from './errors.ts'

/** For folders and files that nobody but this user is to read. */
export const OWNER_ONLY = { folder: 0o700, file: 0o600 } as const

/**
 * Makes `path` (and its parents), for this user alone where it is new, and proves that it can be written; throws CoreError
 * `DATA_FOLDER_UNUSABLE`.
 */
export async function prepareDataFolder(path: string): Promise<string> {
  const folder = resolve(path)
  const probe = join(folder, `.probe-${randomUUID()}`)
  try {
    await makeFolder(folder, OWNER_ONLY.folder)
    await writeFile(probe, '')
    await rm(probe)
  } catch (cause) {
    throw new CoreError(
      'DATA_FOLDER_UNUSABLE',
      `cannot write to the data folder ${folder} (${systemErrorCode(cause) ?? 'unknown error'}): make it a folder that this user may write to, or choose another one`,
      { cause },
    )
  }
  return folder
}

/**
 * Makes a folder and its parents; one that is there is left as it is. Unlike `mkdir` of Node with `recursive`, it ends
 * where the file system says of a folder in an existing one that it does not exist, as `/proc` and autofs do. Throws what
 * the system says.
 * @param mode of the folders that it makes
 */
export async function makeFolder(path: string, mode?: number): Promise<void> {
  const folder = resolve(path)
  const parent = dirname(folder)
  if (await isFolder(folder)) return
  if (parent !== folder) {
    await makeFolder(parent, mode).catch((error: unknown) => {
      // Something else stands there: what is below it then cannot be made, and the system says so.
      if (systemErrorCode(error) !== 'EEXIST') throw error
    })
  }
  try {
    await mkdir(folder, { mode })
  } catch (error) {
    // Somebody else may have made it meanwhile.
    if (!(await isFolder(folder))) throw error
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false
  }
}

/**
 * Takes from everybody but the owner what rights there are on a file or folder. Resolves to whether there were any; `failed`
 * when they could not be taken, as the file is another user's or the file system is read-only. Throws other errors of the
 * system.
 */
export async function keepToOwner(path: string): Promise<'was' | 'done' | 'failed'> {
  const { mode } = await lstat(path)
  if ((mode & 0o077) === 0) return 'was'
  try {
    await chmod(path, mode & 0o700)
    return 'done'
  } catch (error) {
    const code = systemErrorCode(error)
    if (code === 'EPERM' || code === 'EACCES' || code === 'EROFS' || code === 'ENOTSUP') return 'failed'
    throw error
  }
}

/** Forces a folder's entries to disk, so that a rename inside it survives a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Writes a small file so that a crash leaves the old content or the new, never a part: temporary name, fsync, rename. */
export async function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o644): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`
  try {
    const handle = await open(temporary, 'wx', mode)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

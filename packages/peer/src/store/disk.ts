import { statfs } from 'node:fs/promises'

/** Bytes that this user may still write to the file system of `folder`; infinite where the system does not say. */
export async function freeBytesAt(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder)
    return bavail * bsize
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

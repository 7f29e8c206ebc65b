import { statfsSync } from 'node:fs'

/** Bytes that this user may still write to the file system of `folder`; infinite where the system does not say. */
export function freeBytesAt(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize
  } catch {
    return Number.POSITIVE_INFINITY
  }
}

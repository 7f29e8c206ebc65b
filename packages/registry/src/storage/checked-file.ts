import type { ByteRange, Digest } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { BlobChecks } from './blob-checks.ts'
import type { StoredFile } from './driver.ts'

/** A content of this size is read in milliseconds: a client waits for that before its first byte. */
const SMALL_BYTES = 4 * 1024 * 1024

/**
 * A content that is not given away whole before its bytes were found to be right: a small one not at all, of a large one
 * everything but its last bytes. undefined, and closed, when they are known to be wrong.
 */
export async function checkedFile(
  file: StoredFile,
  digest: Digest,
  checks: BlobChecks,
): Promise<StoredFile | undefined> {
  const verdict = checks.verdictOn(digest, file)
  const known = file.sizeBytes <= SMALL_BYTES ? await verdict : verdict
  if (known === 'right') return file
  if (known !== 'wrong') return new FileInDoubt(file, known)
  await file.close()
  return undefined
}

class FileInDoubt implements StoredFile {
  readonly sizeBytes: number
  readonly #file: StoredFile
  readonly #verdict: Promise<'right' | 'wrong'>

  constructor(file: StoredFile, verdict: Promise<'right' | 'wrong'>) {
    this.sizeBytes = file.sizeBytes
    this.#file = file
    this.#verdict = verdict
  }

  /** Throws before the last bytes of the content when it is damaged. Parts before those are given as they are. */
  async *chunks(range: ByteRange): AsyncGenerator<Uint8Array> {
    let at = range.start
    for await (const chunk of this.#file.chunks(range)) {
      at += chunk.byteLength
      if (at === this.sizeBytes && (await this.#verdict) === 'wrong') {
        throw new RegistryError('UNKNOWN', 'the stored blob is damaged: push it again')
      }
      yield chunk
    }
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

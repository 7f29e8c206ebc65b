import { createHash, randomFillSync } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { PieceLayout } from '@shoal/core'
import type { Blob } from './plan.ts'

/** Makes a blob of random bytes; its pages stay in the page cache, and are on disk, so that nothing is written later. */
export async function createBlob(file: string, sizeBytes: number): Promise<Blob> {
  const layout = new PieceLayout(sizeBytes)
  const whole = createHash('sha256')
  const sha256: Uint8Array[] = []
  const piece = Buffer.allocUnsafeSlow(layout.pieceSize)
  const handle: FileHandle = await open(file, 'w')
  try {
    for (let i = 0; i < layout.count; i++) {
      const bytes = randomFillSync(piece.subarray(0, layout.length(i)))
      whole.update(bytes)
      sha256.push(new Uint8Array(createHash('sha256').update(bytes).digest()))
      await handle.writeFile(bytes)
    }
    await handle.datasync()
  } finally {
    await handle.close()
  }
  return { file, digest: `sha256:${whole.digest('hex')}`, sizeBytes, sha256 }
}

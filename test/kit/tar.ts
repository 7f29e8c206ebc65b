import { KitError } from './errors.ts'

/** One member of a tar archive. */
export type TarEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | {
      readonly kind: 'file'
      readonly path: string
      readonly sizeBytes: number
      readonly content: Iterable<Uint8Array>
      /** Permissions; 0644 unless told. */
      readonly mode?: number
    }

const BLOCK_BYTES = 512
const TYPE_FLAGS = { file: '0', link: '2', folder: '5' } as const

/**
 * A tar archive that depends on its entries alone: owner root, time 0, entries in the order given.
 * Source: POSIX pax, "ustar Interchange Format". Throws KitError `FIXTURE_INVALID` when content is not `sizeBytes` long.
 */
export function* writeTar(entries: Iterable<TarEntry>): Generator<Uint8Array> {
  for (const entry of entries) {
    yield header(entry)
    if (entry.kind !== 'file') continue
    let written = 0
    for (const chunk of entry.content) {
      written += chunk.length
      yield chunk
    }
    if (written !== entry.sizeBytes) {
      throw new KitError('FIXTURE_INVALID', `${entry.path}: ${written} bytes of content instead of ${entry.sizeBytes}`)
    }
    const rest = written % BLOCK_BYTES
    if (rest > 0) yield Buffer.alloc(BLOCK_BYTES - rest)
  }
  yield Buffer.alloc(2 * BLOCK_BYTES)
}

function header(entry: TarEntry): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES)
  if (Buffer.byteLength(entry.path) > 100) throw new KitError('FIXTURE_INVALID', `${entry.path}: too long for ustar`)
  const mode = entry.kind === 'file' ? (entry.mode ?? 0o644) : entry.kind === 'folder' ? 0o755 : 0o777
  block.write(entry.kind === 'folder' ? `${entry.path}/` : entry.path, 0)
  octal(block, 100, 8, mode)
  octal(block, 108, 8, 0)
  octal(block, 116, 8, 0)
  octal(block, 124, 12, entry.kind === 'file' ? entry.sizeBytes : 0)
  octal(block, 136, 12, 0)
  block.write('        ', 148)
  block.write(TYPE_FLAGS[entry.kind], 156)
  if (entry.kind === 'link') block.write(entry.target, 157, 100)
  block.write('ustar\x0000', 257)
  block.write('root', 265)
  block.write('root', 297)
  const checksum = block.reduce((sum, byte) => sum + byte, 0)
  block.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148)
  return block
}

function octal(block: Buffer, offset: number, width: number, value: number): void {
  const digits = value.toString(8).padStart(width - 1, '0')
  if (digits.length >= width) throw new KitError('FIXTURE_INVALID', `${value} does not fit in a tar header`)
  block.write(digits, offset)
}

import { digestOf } from '@shoal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StoredBlob } from '../../../src/store/blob.ts'
import { BlobTable } from '../../../src/store/blob-table.ts'

const KIB = 1024

describe('BlobTable', () => {
  it('keeps the sums that adding up all blobs gives', () => {
    const step = fc.record({
      name: fc.integer({ min: 0, max: 5 }),
      size: fc.integer({ min: 0, max: 2000 * KIB }),
      act: fc.constantFrom('part' as const, 'whole' as const, 'piece' as const, 'delete' as const),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const table = new BlobTable()
        for (const { name, size, act } of steps) {
          const digest = digestOf(String(name))
          if (act === 'delete') table.delete(digest)
          else if (act === 'piece') {
            const have = table.get(digest)?.have
            // An empty blob has no piece.
            if (have !== undefined && have.count > 0) have.add(0)
          } else table.set(new StoredBlob(digest, size, '', act === 'whole', 0))
          const blobs = [...table.values()]
          expect(table.usedBytes).toBe(blobs.reduce((sum, blob) => sum + blob.size, 0))
          const missing = blobs.map((blob) => (blob.isComplete ? 0 : blob.missingBytes))
          expect(table.promisedBytes).toBe(missing.reduce((sum, bytes) => sum + bytes, 0))
        }
        table.clear()
        expect([table.usedBytes, table.promisedBytes, [...table.values()].length]).toEqual([0, 0, 0])
      }),
    )
  })
})

import type { RecordTable } from '../../../src/store/recent-records.ts'

/** The index's part in records, in memory. */
export class MemoryTable implements RecordTable {
  readonly values = new Map<string, Uint8Array>()
  /** Whether nothing can be written. */
  isFull = false

  async put(key: string, value: Uint8Array): Promise<void> {
    if (this.isFull) throw new Error('the disk is full')
    this.values.set(key, value)
  }

  async remove(key: string): Promise<void> {
    this.values.delete(key)
  }

  async *entries(prefix: string): AsyncGenerator<[string, Uint8Array]> {
    for (const entry of [...this.values]) if (entry[0].startsWith(prefix)) yield entry
  }
}

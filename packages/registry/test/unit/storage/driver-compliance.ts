import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StorageDriver } from '../../../src/storage/driver.ts'

interface DriverUnderTest {
  readonly driver: StorageDriver
  readonly dispose: () => Promise<void>
}

const text = async (driver: StorageDriver, path: string): Promise<string | undefined> => {
  const bytes = await driver.read(path, 1 << 20)
  return bytes === undefined ? undefined : Buffer.from(bytes).toString()
}

/**
 * What every storage driver must do. Call it in a test file of the driver's own.
 * @param isRemote whether it is another program that keeps the files, which then gives out URLs of them too
 */
export function describeDriver(
  name: string,
  make: () => Promise<DriverUnderTest>,
  { isRemote = false }: { readonly isRemote?: boolean } = {},
): void {
  describe(`${name} is a storage driver`, () => {
    let under: DriverUnderTest
    let driver: StorageDriver
    beforeEach(async () => {
      under = await make()
      driver = under.driver
    })
    afterEach(() => under.dispose())

    const append = async (path: string, ...chunks: string[]) => {
      const appender = await driver.append(path)
      await appender.write(chunks.map((chunk) => Buffer.from(chunk)))
      await appender.commit()
      await appender.close()
      return appender.offset
    }
    const part = async (path: string, start: number, end: number) => {
      const file = await driver.open(path)
      if (file === undefined) throw new Error(`nothing at ${path}`)
      const chunks: Buffer[] = []
      try {
        for await (const chunk of file.chunks({ start, end })) chunks.push(Buffer.from(chunk))
      } finally {
        await file.close()
      }
      return Buffer.concat(chunks)
    }

    it('says that nothing is there without an error', async () => {
      expect(await driver.stat('a/b')).toBeUndefined()
      expect(await driver.read('a/b', 10)).toBeUndefined()
      expect(await driver.open('a/b')).toBeUndefined()
      expect(await driver.list('a')).toEqual([])
      await driver.remove('a/b')
    })

    it('says that nothing is below a file', async () => {
      await driver.write('a', 'x')
      expect(await driver.stat('a/b')).toBeUndefined()
      expect(await driver.read('a/b', 10)).toBeUndefined()
      expect(await driver.list('a')).toEqual([])
    })

    it('reads back what was written, and what was written over it', async () => {
      await driver.write('deep/down/file', 'one')
      await driver.write('deep/down/file', Buffer.from('other'))
      expect(await text(driver, 'deep/down/file')).toBe('other')
      expect(await driver.stat('deep/down/file')).toMatchObject({ isFolder: false, sizeBytes: 5 })
      expect(await driver.stat('deep/down')).toMatchObject({ isFolder: true, sizeBytes: 0 })
    })

    it('shows one writer whole when several write at once', async () => {
      const contents = Array.from({ length: 8 }, (_, i) => String(i).repeat(5000))
      await Promise.all(contents.map((content) => driver.write('x/file', content)))
      expect(contents).toContain(await text(driver, 'x/file'))
      expect(await driver.list('x')).toEqual(['file'])
    })

    it('shows a reader the old content or the new, never a part', async () => {
      const contents = ['a', 'b'].map((letter) => letter.repeat(300_000))
      await driver.write('x/file', contents[0] ?? '')
      let isWriting = true
      const reading = (async () => {
        while (isWriting) expect(contents).toContain(await text(driver, 'x/file'))
      })()
      for (let i = 0; i < 40; i++) await driver.write('x/file', contents[i % 2] ?? '')
      isWriting = false
      await reading
    })

    it('refuses to read a file that is too large to be what it should', async () => {
      await driver.write('file', '12345')
      await expect(driver.read('file', 4)).rejects.toThrow('5 bytes where at most 4')
    })

    it('does not read a folder as a file', async () => {
      await driver.write('folder/file', 'x')
      expect(await driver.read('folder', 10)).toBeUndefined()
      expect(await driver.open('folder')).toBeUndefined()
    })

    it('appends, from one appender to the next', async () => {
      expect(await append('up/data', 'ab', 'c')).toBe(3)
      expect(await append('up/data')).toBe(3)
      expect(await append('up/data', 'def')).toBe(6)
      expect(await text(driver, 'up/data')).toBe('abcdef')
    })

    it('joins what several appenders brought, small and large, and forgets none of it when moved', async () => {
      const parts = [1, 6_000_000, 3, 12_000_001, 0, 5_242_880].map((bytes, i) => Buffer.alloc(bytes, `part ${i} `))
      let offset = 0
      for (const [i, part] of parts.entries()) {
        const appender = await driver.append('up/data')
        expect(appender.offset).toBe(offset)
        for (let at = 0; at < part.length; at += 700_001) await appender.write([part.subarray(at, at + 700_001)])
        offset += part.length
        expect(appender.offset).toBe(offset)
        if (i === parts.length - 1) await appender.commit()
        await appender.close()
      }
      const whole = Buffer.concat(parts)
      expect(await driver.list('up')).toEqual(['data'])
      expect(await driver.stat('up/data')).toMatchObject({ isFolder: false, sizeBytes: offset })
      expect((await part('up/data', 0, offset - 1)).equals(whole)).toBe(true)
      await driver.move('up/data', 'blob/data')
      expect((await part('blob/data', 0, offset - 1)).equals(whole)).toBe(true)
      expect((await part('blob/data', 6_000_000, 6_000_010)).equals(whole.subarray(6_000_000, 6_000_011))).toBe(true)
      expect(await driver.stat('up/data')).toBeUndefined()
      for (const folder of ['up', 'blob']) await driver.remove(folder)
      expect(await driver.list('')).toEqual([])
    })

    it('makes an empty file when nothing is appended', async () => {
      expect(await append('up/data')).toBe(0)
      expect(await driver.stat('up/data')).toMatchObject({ isFolder: false, sizeBytes: 0 })
    })

    it('reads any range of a file that is larger than its buffers', async () => {
      const bytes = Buffer.alloc(3_000_001)
      for (let i = 0; i + 4 <= bytes.length; i += 4) bytes.writeUInt32LE(i, i)
      const appender = await driver.append('large')
      await appender.write([bytes.subarray(0, 1_000_000), bytes.subarray(1_000_000)])
      await appender.close()
      for (const [start, end] of [
        [0, bytes.length - 1],
        [1, 1],
        [524_287, 524_288],
        [999_999, 2_999_999],
        [bytes.length - 1, bytes.length - 1],
      ] as const) {
        expect((await part('large', start, end)).equals(bytes.subarray(start, end + 1))).toBe(true)
      }
    })

    it('can be left in the middle of a file', async () => {
      const appender = await driver.append('large')
      await appender.write([Buffer.alloc(2_000_000)])
      await appender.close()
      const file = await driver.open('large')
      for await (const chunk of file?.chunks({ start: 0, end: 1_999_999 }) ?? []) {
        expect(chunk.byteLength).toBeGreaterThan(0)
        break
      }
      await file?.close()
    })

    it('fails when a file is shorter than the range', async () => {
      await append('short', 'abc')
      await expect(part('short', 0, 5)).rejects.toThrow('before it should')
    })

    it('moves a file, over another one too', async () => {
      await driver.write('from/file', 'new')
      await driver.write('to/file', 'old')
      await driver.move('from/file', 'to/file')
      await driver.move('to/file', 'further/down/file')
      expect(await text(driver, 'further/down/file')).toBe('new')
      expect(await driver.stat('from/file')).toBeUndefined()
      expect(await driver.stat('to/file')).toBeUndefined()
      await expect(driver.move('from/file', 'to/file')).rejects.toThrow()
    })

    it.skipIf(isRemote)('keeps an open file readable when it is removed', async () => {
      await append('file', 'abc')
      const file = await driver.open('file')
      await driver.remove('file')
      for await (const chunk of file?.chunks({ start: 0, end: 2 }) ?? []) {
        expect(Buffer.from(chunk).toString()).toBe('abc')
      }
      await file?.close()
    })

    it.runIf(isRemote)('gives URLs by which anybody can read a file', async () => {
      const bytes = Buffer.from('read by anybody')
      await driver.write('a/file', bytes)
      const url = (await driver.presign?.('a/file', 60)) ?? ''
      const whole = await fetch(url)
      expect([whole.status, Buffer.from(await whole.arrayBuffer()).equals(bytes)]).toEqual([200, true])
      const part = await fetch(url, { headers: { range: 'bytes=5-6' } })
      expect([part.status, await part.text()]).toEqual([206, 'by'])
    })

    it('lists names in ASCII order', async () => {
      for (const path of ['f/b', 'f/B', 'f/a-b', 'f/a/x', 'f/a', 'f/10', 'f/9'].filter((each) => each !== 'f/a')) {
        await driver.write(path, '')
      }
      expect(await driver.list('f')).toEqual(['10', '9', 'B', 'a', 'a-b', 'b'])
    })

    it('removes a folder with all in it', async () => {
      await driver.write('f/a/b', '')
      await driver.remove('f')
      expect(await driver.list('')).toEqual([])
    })

    it('writes into folders that are removed meanwhile', async () => {
      const rounds = Array.from({ length: 40 }, (_, i) => i)
      await Promise.all(rounds.map((i) => (i % 4 === 3 ? driver.remove('t/x') : driver.write('t/x/y/file', String(i)))))
      await driver.write('t/x/y/file', 'last')
      expect(await text(driver, 't/x/y/file')).toBe('last')
    })
  })
}

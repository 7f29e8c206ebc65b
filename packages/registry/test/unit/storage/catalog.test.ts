import { rm } from 'node:fs/promises'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { repositories } from '../../../src/storage/catalog.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { repositoryPath } from '../../../src/storage/paths.ts'
import { temporaryFolder } from '../../running-registry.ts'

let folder: string
let driver: StorageDriver
beforeEach(async () => {
  folder = await temporaryFolder()
  driver = new FilesystemDriver(folder)
})
afterEach(() => rm(folder, { recursive: true }))

const namesAfter = async (after?: string) => {
  const names: string[] = []
  for await (const name of repositories(driver, after)) names.push(name)
  return names
}

it('continues after any name, held or not, with exactly those that come later', async () => {
  const held = ['a', 'a/b', 'a/b/c', 'a-b', 'b/c', 'b/c/d', 'c.d/e', 'z']
  for (const name of held) await driver.write(`${repositoryPath(name)}/_layers/x`, '')
  await driver.write(`${repositoryPath('uploading')}/_uploads/x`, '')
  expect(await namesAfter()).toEqual(held)
  const part = fc.constantFrom('a', 'b', 'c', 'a-b', 'c.d', 'd', 'z', 'zz')
  await fc.assert(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 3 }), async (parts) => {
      const after = parts.join('/')
      expect(await namesAfter(after)).toEqual(held.filter((name) => isLater(name.split('/'), parts)))
    }),
    { numRuns: 60 },
  )
})

it('lists folders before their turn, a few at a time, and no more than a page needs', async () => {
  const names = Array.from({ length: 100 }, (_, i) => `repo-${String(i).padStart(3, '0')}`)
  for (const name of names) await driver.write(`${repositoryPath(name)}/_layers/x`, '')
  let [lists, open, most] = [0, 0, 0]
  const slow = new Proxy(driver, {
    get: (target, name: 'list') => async (path: string) => {
      lists++
      most = Math.max(most, ++open)
      await new Promise((resolve) => setTimeout(resolve, 1))
      open--
      return target[name](path)
    },
  })
  const page: string[] = []
  for await (const name of repositories(slow)) {
    page.push(name)
    if (page.length === 40) break
  }
  expect(page).toEqual(names.slice(0, 40))
  expect(most).toBeGreaterThan(8)
  expect(most).toBeLessThanOrEqual(17)
  expect(lists).toBeLessThanOrEqual(1 + 40 + 16)
})

function isLater(name: readonly string[], after: readonly string[]): boolean {
  for (let i = 0; i < Math.min(name.length, after.length); i++) {
    const [mine = '', other = ''] = [name[i], after[i]]
    if (mine !== other) return mine > other
  }
  return name.length > after.length
}

import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const exec = promisify(execFile)
const LAUNCHER = join(import.meta.dirname, '../../bin/shoal')
const LONG_AGO = new Date('2020-01-01')

// Builds a program that prints its arguments, and says that it did.
const BUNDLE = `
import { mkdirSync, writeFileSync } from 'node:fs'
const dist = import.meta.dirname + '/dist'
mkdirSync(dist, { recursive: true })
writeFileSync(dist + '/shoal.js', 'console.log(process.version, ...process.argv.slice(2))')
writeFileSync(dist + '/built', '')
console.error('bundled')
`

describe('bin/shoal', () => {
  let root: string
  let launcher: string

  const write = async (path: string, text = '') => {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
    await utimes(join(root, path), LONG_AGO, LONG_AGO)
  }

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'shoal launcher '))
    launcher = join(root, 'packages/cli/bin/shoal')
    await mkdir(dirname(launcher), { recursive: true })
    await copyFile(LAUNCHER, launcher)
    await write('packages/cli/bundle.ts', BUNDLE)
    for (const file of ['packages/cli/package.json', 'node_modules/.package-lock.json']) await write(file, '{}')
    for (const file of [
      'packages/cli/src/main.ts',
      'packages/peer/src/lane/a.ts',
      'proto/index.ts',
      'proto/gen/a.ts',
    ]) {
      await write(file)
    }
    await mkdir(join(root, 'node_modules/node/bin'), { recursive: true })
    await symlink(process.execPath, join(root, 'node_modules/node/bin/node'))
  })
  afterEach(() => rm(root, { recursive: true }))

  it('runs on its own Node whatever is on the PATH, from a link to it too', async () => {
    const link = join(root, 'linked')
    await symlink(launcher, link)
    for (const path of [launcher, link]) {
      const { stdout } = await exec(path, ['a', 'b c'], { env: { PATH: '/usr/bin:/bin' } })
      expect(stdout).toBe(`${process.version} a b c\n`)
    }
  })

  it('builds once', async () => {
    expect((await exec(launcher)).stderr).toMatch(/^shoal: building, as sources have changed(.|\n)*bundled\n$/)
    expect((await exec(launcher)).stderr).toBe('')
  })

  it.each(['packages/peer/src/lane/a.ts', 'packages/cli/package.json', 'packages/cli/bundle.ts', 'proto/gen/a.ts'])(
    'builds again when %s is newer',
    async (file) => {
      await exec(launcher)
      const later = new Date(Date.now() + 60_000)
      await utimes(join(root, file), later, later)
      expect((await exec(launcher)).stderr).toContain('bundled')
    },
  )

  it('builds again when a source is gone, and when a dependency was installed', async () => {
    for (const change of [
      () => rm(join(root, 'packages/peer/src/lane/a.ts')),
      () => writeFile(join(root, 'node_modules/.package-lock.json'), '{"new": 1}'),
    ]) {
      await exec(launcher)
      await utimes(join(root, 'packages/cli/dist/built'), LONG_AGO, new Date(Date.now() - 1000))
      await utimes(join(root, 'packages/peer/src/lane'), LONG_AGO, LONG_AGO)
      await change()
      expect((await exec(launcher)).stderr).toContain('bundled')
    }
  })

  it('says what to do when nothing was installed', async () => {
    await rm(join(root, 'node_modules'), { recursive: true })
    await expect(exec(launcher)).rejects.toThrow(`run npm ci in ${root} first`)
  })

  it('starts nothing when the build fails', async () => {
    await write('packages/cli/bundle.ts', 'process.exit(3)')
    await expect(exec(launcher)).rejects.toMatchObject({ code: 3, stdout: '' })
  })
})

import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { Counter, Registry } from 'prom-client'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AuditLog } from '../../../src/audit/audit-log.ts'
import { temporaryFolder } from '../../running-registry.ts'

let folder: string
let nowMs: number
let logged: string[]
let lines: Counter<'outcome'>
const started: AuditLog[] = []
beforeEach(async () => {
  folder = await temporaryFolder()
  nowMs = Date.parse('2026-03-01T12:00:00Z')
  logged = []
  lines = new Counter({ name: 'lines', help: 'lines', labelNames: ['outcome'], registers: [new Registry()] })
})
afterEach(async () => {
  for (const audit of started.splice(0)) await audit.stop()
  await rm(folder, { recursive: true, force: true })
})

async function start(maxFileBytes = 1_000_000, keepDays = 7): Promise<AuditLog> {
  const log = createLogger('registry', 'info', { write: (line) => void logged.push(line) })
  const audit = new AuditLog({ folder, maxFileBytes, keepDays }, { lines, log, now: () => nowMs })
  await audit.start()
  started.push(audit)
  return audit
}

async function countOf(outcome: string): Promise<number> {
  return (await lines.get()).values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0
}

const files = async () => (await readdir(folder)).sort()
const add = async (audit: AuditLog, line: string) => {
  const before = await countOf('written')
  audit.add(line)
  await expect.poll(() => countOf('written')).toBe(before + 1)
}

it('keeps lines in order, in a new file with each day, each start and each so many bytes', async () => {
  const audit = await start(10)
  await add(audit, 'one\n')
  await add(audit, 'two and more\n')
  await add(audit, 'three\n')
  nowMs += 86_400_000
  await add(audit, 'four\n')
  await audit.stop()
  const again = await start(10)
  await add(again, 'five\n')
  const all = await files()
  expect(all).toEqual([
    'audit-2026-03-01.000001.jsonl',
    'audit-2026-03-01.000002.jsonl',
    'audit-2026-03-02.000001.jsonl',
    'audit-2026-03-02.000002.jsonl',
  ])
  const texts = await Promise.all(all.map((name) => readFile(join(folder, name), 'utf8')))
  expect(texts).toEqual(['one\ntwo and more\n', 'three\n', 'four\n', 'five\n'])
})

it('deletes its own files once they are older than they are kept, and no others', async () => {
  for (const name of ['audit-2026-02-21.000001.jsonl', 'audit-2026-02-22.000001.jsonl', 'audit-2026-02-01.txt']) {
    await writeFile(join(folder, name), 'old\n')
  }
  await add(await start(), 'new\n')
  const kept = ['audit-2026-02-01.txt', 'audit-2026-02-22.000001.jsonl', 'audit-2026-03-01.000001.jsonl']
  expect(await files()).toEqual(kept)
})

it('counts what it can not write, says so once, and goes on when it can', async () => {
  const audit = await start()
  await rm(folder, { recursive: true })
  audit.add('lost\n')
  await expect.poll(() => countOf('lost')).toBe(1)
  audit.add('lost too\n')
  await expect.poll(() => countOf('lost')).toBe(2)
  expect(logged.filter((line) => line.includes('loses lines'))).toHaveLength(1)
  await audit.stop()
  const again = await start()
  await add(again, 'kept\n')
  expect(await files()).toHaveLength(1)
})

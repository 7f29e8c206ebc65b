import { readdir, readFile, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf } from '@shoal/core'
import { Counter, Gauge, Registry } from 'prom-client'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { AuditLog } from '../../../src/audit/audit-log.ts'
import { AuditShipper } from '../../../src/audit/shipper.ts'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { startRegistry, temporaryFolder } from '../../running-registry.ts'

const DAY_MS = 86_400_000
const log = createLogger('registry', 'silent')

let folder: string
let nowMs: number
let target: MemoryDriver
let isAway: boolean
const running: { stop(): Promise<void> }[] = []
beforeEach(async () => {
  folder = await temporaryFolder()
  nowMs = Date.parse('2026-03-01T12:00:00Z')
  target = new MemoryDriver(2 ** 20)
  isAway = false
  const { append } = target
  target.append = (path) => (isAway ? Promise.reject(new Error('the store is away')) : append.call(target, path))
})
afterEach(async () => {
  for (const each of running.splice(0).reverse()) await each.stop()
  await rm(folder, { recursive: true })
})

async function start() {
  const registers = [new Registry()]
  const lines = new Counter({ name: 'lines', help: 'lines', labelNames: ['outcome'], registers })
  const files = new Counter({ name: 'files', help: 'files', labelNames: ['outcome'], registers })
  const waiting = new Gauge({ name: 'waiting', help: 'waiting', registers })
  const audit = new AuditLog(
    { folder, maxFileBytes: 10, keepDays: 7, isShipped: true },
    { lines, log, now: () => nowMs },
  )
  const shipper = new AuditShipper({ folder, everyMinutes: 0.001 }, { audit, target, files, waiting, log })
  // As the registry does: what starts first stops last.
  await audit.start()
  await shipper.start()
  const stop = async () => {
    await audit.stop()
    await shipper.stop()
  }
  running.push({ stop })
  const count = async (metric: Counter<'outcome'> | Gauge, outcome?: string) =>
    (await metric.get()).values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0
  return {
    audit,
    stop,
    failed: () => count(files, 'failed'),
    waiting: () => count(waiting),
  }
}

/** What was shipped, in order. */
async function shipped(): Promise<string[]> {
  const texts: string[] = []
  for (const day of (await target.list('')).filter((name) => name !== 'incoming')) {
    for (const name of await target.list(day)) {
      const bytes = Buffer.from((await target.read(`${day}/${name}`, 1000)) ?? '')
      expect(name).toBe(`${hostname()}.${name.split('.').at(-3)}.${digestOf(bytes).slice(7, 23)}.jsonl`)
      texts.push(bytes.toString())
    }
  }
  return texts
}

it('copies each file once it is done, be it small', async () => {
  const { audit, stop } = await start()
  audit.add('one\n')
  await expect.poll(shipped).toEqual(['one\n'])
  audit.add('two and more\n')
  audit.add('three\n')
  await expect.poll(async () => (await shipped()).join('')).toBe('one\ntwo and more\nthree\n')
  nowMs += DAY_MS
  audit.add('four\n')
  await stop()
  expect((await shipped()).join('')).toBe('one\ntwo and more\nthree\nfour\n')
  const local = await readdir(folder)
  expect(local.every((name) => name.endsWith('.shipped.jsonl'))).toBe(true)
  expect(await readFile(join(folder, local.sort()[0] ?? ''), 'utf8')).toBe('one\n')
})

it('keeps what can not be shipped, however old, and ships it later', async () => {
  const { audit, failed, waiting } = await start()
  isAway = true
  audit.add('one\n')
  await expect.poll(failed).toBeGreaterThan(0)
  await expect.poll(waiting).toBe(1)
  nowMs += 30 * DAY_MS
  audit.add('two\n')
  await expect.poll(async () => (await readdir(folder)).length).toBe(2)
  expect(await shipped()).toEqual([])
  isAway = false
  await expect.poll(shipped).toEqual(['one\n', 'two\n'])
  await expect.poll(waiting).toBe(0)
})

it('ships what an earlier process left, and deletes what is old and was shipped', async () => {
  isAway = true
  const first = await start()
  first.audit.add('one\n')
  await first.stop()
  isAway = false
  const { audit } = await start()
  await expect.poll(shipped).toEqual(['one\n'])
  nowMs += 30 * DAY_MS
  audit.add('two\n')
  await expect.poll(shipped).toEqual(['one\n', 'two\n'])
  expect(await readdir(folder)).toHaveLength(1)
})

it('goes to no folder', async () => {
  const audit = { enabled: true, folder, ship: { storage: { driver: 'filesystem' } } }
  await expect(startRegistry({ audit })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('audit.ship.storage.driver'),
  })
})

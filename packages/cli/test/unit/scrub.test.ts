import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Writable } from 'node:stream'
import { createLogger, digestOf } from '@shoal/core'
import { resolveConfig, type Service } from '@shoal/core/service'
import { peerService } from '@shoal/peer'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

const bytes = Buffer.alloc(400_000, 'scrubbed')
const digest = digestOf(bytes)

let dataDir: string
let node: Service
let file: string

/** Runs `shoal scrub`; returns what it printed. */
async function scrub(url = node.addresses().admin ?? ''): Promise<string> {
  let printed = ''
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk
      done()
    },
  })
  await createProgram({ file: 'shoal', environment: {}, stdout, stderr: stdout }).parseAsync([
    'node',
    'shoal',
    'scrub',
    '--node',
    url,
  ])
  return printed
}

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-cli-scrub-'))
  file = join(dataDir, 'blobs/sha256', digest.slice(7, 9), digest.slice(7))
  await mkdir(dirname(file), { recursive: true })
  await writeFile(file, bytes)
  const local = { host: '127.0.0.1', port: 0 }
  const values = {
    dataDir,
    workers: 1,
    schedulers: ['127.0.0.1:1'],
    mirror: local,
    lane: local,
    libp2p: local,
    admin: local,
    store: { minFreeBytes: 0 },
  }
  const config = resolveConfig(peerService.schema, [{ source: 'test', values }])
  node = await peerService.create(config.values, createLogger('test', 'silent'))
  await node.start()
})
afterEach(async () => {
  await node.stop()
  await rm(dataDir, { recursive: true })
})

describe('shoal scrub', () => {
  it('takes up what the index lost, says what was damaged, and fails for it', async () => {
    const found = await scrub()
    expect(found).toContain('checked 1 of 1 blobs, 391 KiB, 0 damaged\n')
    expect(found).toContain('0 damaged and discarded, 1 found that the index did not know, 0 useless files deleted\n')
    expect(await scrub()).toContain('0 found that the index did not know')
    await writeFile(file, Buffer.alloc(400_000, 'rotten'))
    await expect(scrub()).rejects.toMatchObject({ code: 'SCRUB_DAMAGED' })
    expect(await scrub()).toContain('checked 0 of 0 blobs')
    const metrics = await (await fetch(`${node.addresses().admin}/metrics`)).text()
    expect(metrics).toContain('shoal_store_scrubbed_blobs_total{result="damaged"} 1\n')
    expect(metrics).toMatch(/shoal_store_free_bytes [1-9]/)
  })

  it('says when no node is there', async () => {
    await expect(scrub('http://127.0.0.1:1')).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' })
    await expect(scrub(node.addresses().mirror)).rejects.toMatchObject({ code: 'NODE_UNREACHABLE' })
  })
})

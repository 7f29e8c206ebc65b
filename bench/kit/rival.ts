import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { type Measured, start } from './processes.ts'

/** Debian's docker-registry (Distribution). */
export interface Rival {
  readonly process: Measured
  readonly url: string
  /** Folder of its storage. */
  readonly root: string
}

/** Starts docker-registry with its storage below `folder`, logging nothing but errors. */
export async function startRival(folder: string): Promise<Rival> {
  const port = await freePort()
  const root = join(folder, 'rival')
  const config = join(folder, 'rival.yml')
  const options = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: root } },
    http: { addr: `127.0.0.1:${port}` },
  }
  await writeFile(config, JSON.stringify(options))
  const url = `http://127.0.0.1:${port}`
  return { process: await start('docker-registry', 'docker-registry', ['serve', config], `${url}/v2/`), url, root }
}

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

interface RunningDistribution {
  readonly url: string
  /** Kills it; keeps the data. */
  stop(): Promise<void>
}

interface DistributionOptions {
  /** The driver and its parameters, as a YAML flow; the filesystem's on `dataDir` when undefined. */
  readonly storage?: string
  /** More of its configuration, as YAML. */
  readonly more?: string
}

/** Distribution, with its configuration in `dataDir`; resolves to its URL once it listens. */
export async function startDistribution(
  program: string,
  dataDir: string,
  { storage = `filesystem: { rootdirectory: ${dataDir} }`, more = '' }: DistributionOptions = {},
): Promise<RunningDistribution> {
  const config = join(dataDir, 'config.yml')
  await writeFile(
    config,
    `version: 0.1
log: { level: info }
storage: { ${storage}, delete: { enabled: true }, redirect: { disable: true } }
http: { addr: "127.0.0.1:0" }
${more}`,
  )
  // What its clients of object stores read from the environment is not for them.
  const child = spawn(program, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'], env: {} })
  const gone = once(child, 'exit')
  const stop = async () => {
    child.kill('SIGKILL')
    await gone
  }
  const seen: string[] = []
  for await (const line of createInterface(child.stderr)) {
    seen.push(line)
    const address = /listening on ([0-9.]+:[0-9]+)/.exec(line)?.[1]
    if (address !== undefined) {
      child.stderr.resume()
      return { url: `http://${address}`, stop }
    }
  }
  throw new Error(`docker-registry did not start: ${seen.join('\n')}`)
}

/**
 * Builds the programs that the tests drive and Debian does not have. What is there already is left as it is. Needs Go,
 * and on two cores three minutes.
 */
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { run } from './process.ts'
import { CONTAINERD2_FOLDER, CONTAINERD2_PROGRAMS, CONTAINERD2_VERSION, containerd2 } from './runtimes/containerd2.ts'

const BUILD_TIMEOUT_MS = 20 * 60_000

if (!CONTAINERD2_PROGRAMS.every((name) => existsSync(containerd2(name)))) {
  const unfinished = `${CONTAINERD2_FOLDER}.${process.pid}`
  const module = 'github.com/containerd/containerd/v2'
  const packages = CONTAINERD2_PROGRAMS.map((name) => `${module}/cmd/${name}@v${CONTAINERD2_VERSION}`)
  process.stderr.write(`building containerd ${CONTAINERD2_VERSION} ...\n`)
  try {
    await mkdir(unfinished, { recursive: true })
    const env = { GOBIN: unfinished, CGO_ENABLED: '0' }
    await run('go', ['install', '-trimpath', '-ldflags=-s -w', ...packages], { env, timeoutMs: BUILD_TIMEOUT_MS })
    await rm(CONTAINERD2_FOLDER, { recursive: true, force: true })
    await rename(unfinished, CONTAINERD2_FOLDER)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

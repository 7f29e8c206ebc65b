import { startRegistry } from '../running-registry.ts'

/** A registry in a process of its own, for a test to kill: its data folder and more options, as JSON, are arguments. Says where it listens on its standard output. */
const registry = await startRegistry({ ...JSON.parse(process.argv[3] ?? '{}'), dataDir: process.argv[2] })
process.stdout.write(`${registry.url}\n`)

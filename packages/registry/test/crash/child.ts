import { startRegistry } from '../running-registry.ts'

/** A registry in a process of its own, for a test to kill. Says where it listens on its standard output. */
const registry = await startRegistry({ dataDir: process.argv[2] })
process.stdout.write(`${registry.url}\n`)

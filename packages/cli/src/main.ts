#!/usr/bin/env node
import './heap.ts'

// Loaded afterwards: what is read and compiled for it would have let the young generation grow already, for good.
const { ignoreNodeProxy } = await import('./node-proxy.ts')
await ignoreNodeProxy(process)
const { run } = await import('./run.ts')
await run(import.meta.filename)

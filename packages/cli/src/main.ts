import { refuseOldNode } from './node-version.ts'

// Each is loaded after the one before: an old Node cannot even load the rest, and what is read and compiled for `run.ts`
// would have let the young generation grow already, for good.
refuseOldNode(process)
await import('./heap.ts')
const { ignoreNodeProxy } = await import('./node-proxy.ts')
await ignoreNodeProxy(process)
const { run } = await import('./run.ts')
await run(import.meta.filename)

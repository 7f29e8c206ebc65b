export { createNode } from './node.ts'
export { nodeOptions } from './options.ts'
export { peerService } from './service.ts'

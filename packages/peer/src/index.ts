export { createNode, type Role } from './node.ts'
export { type NodeOptions, nodeOptions } from './options.ts'
export { peerService } from './service.ts'

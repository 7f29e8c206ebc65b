export * from './client.ts'
export * from './errors.ts'
export type { ManifestReply } from './manifest.ts'

/*
 * What the main thread of a service process needs besides: options, identity, the admin server. An entry of its own
 * because worker threads use the rest of core, and what these bring in costs a thread 70 MiB and 0.4 CPU seconds.
 */
export * from './admin-server.ts'
export * from './config.ts'
export * from './definition.ts'
export * from './http-server.ts'
export * from './identity.ts'
export * from './options.ts'

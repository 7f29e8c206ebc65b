/*
 * What the main thread of a service needs besides: options, files named in them, metrics. An entry of its own, as
 * core has one: worker threads fetch from origins too, and are to load no more than that takes.
 */
export { proxyRules } from '../proxies.ts'
export * from './metrics.ts'
export * from './options.ts'
export * from './settings.ts'

import { Counter, type Registry } from 'prom-client'

/** What clients ask for of upstreams' content, and what becomes of it. */
export type ProxyMetrics = ReturnType<typeof createProxyMetrics>

/** Names are Distribution's, with its label `type`: `blob` or `manifest`. */
export function createProxyMetrics(registry: Registry) {
  const counter = (name: string, help: string) =>
    new Counter({ name: `registry_proxy_${name}_total`, help, labelNames: ['type'], registers: [registry] })
  return {
    requests: counter('requests', "Requests for upstreams' content"),
    hits: counter('hits', 'Of these, those answered by what was here'),
    misses: counter('misses', 'Of these, those for which the upstream was asked for content'),
    pushedBytes: counter('pushed_bytes', "Bytes of upstreams' content sent to clients"),
    pulledBytes: counter('pulled_bytes', 'Bytes of content received from upstreams'),
  }
}

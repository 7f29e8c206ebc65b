import http from 'node:http'
import https from 'node:https'

/**
 * Takes back what Node makes of `NODE_USE_ENV_PROXY` and `--use-env-proxy`: all requests of this process would go to the
 * proxy, those between the parts of the network too. Requests to other registries find their proxies themselves.
 */
export async function ignoreNodeProxy({ env, execArgv }: Pick<NodeJS.Process, 'env' | 'execArgv'>): Promise<void> {
  const isAsked = [env.NODE_OPTIONS ?? '', ...execArgv].some((text) => text.includes('--use-env-proxy'))
  if (env.NODE_USE_ENV_PROXY === undefined && !isAsked) return
  http.globalAgent = new http.Agent({ keepAlive: true })
  https.globalAgent = new https.Agent({ keepAlive: true })
  // Loaded in this case alone: it takes 9 MiB. Node's own `fetch` uses what is set here.
  const { Agent, setGlobalDispatcher } = await import('undici')
  setGlobalDispatcher(new Agent())
}

import type { Handlers } from './exchange.ts'

/** `/v2/`: tells a client that this is a registry. */
export const baseRoutes: Handlers<'base'> = {
  GET: async ({ reply }) => reply.send({}),
  HEAD: async ({ reply }) => reply.send(),
}

import { CoreError, parseHostPort } from '@shoal/core'
import { Type } from 'typebox'

/** Option of a node: where its schedulers are. */
export const schedulersOption = Type.Array(Type.String({ maxLength: 261 }), {
  minItems: 1,
  maxItems: 16,
  default: ['127.0.0.1:7400'],
  description:
    "host:port of each scheduler's gRPC: one, or up to 16 that share the blobs; written alike on all nodes, in any order",
})

/** The addresses of the option, in small letters. Throws CoreError `CONFIG_INVALID` for one that can not be used. */
export function schedulerAddresses(schedulers: readonly string[]): string[] {
  const addresses = schedulers.map((text) => text.trim().toLowerCase())
  for (const [i, address] of addresses.entries()) {
    if (parseHostPort(address) === undefined) {
      const text = JSON.stringify(schedulers[i])
      throw new CoreError(
        'CONFIG_INVALID',
        `schedulers: ${text} is not host:port; write for example scheduler.example:7400`,
      )
    }
    if (addresses.indexOf(address) < i) {
      throw new CoreError('CONFIG_INVALID', `schedulers: ${address} is named twice; name each scheduler once`)
    }
  }
  return addresses
}

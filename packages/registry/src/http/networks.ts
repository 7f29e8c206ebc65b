import { BlockList, isIP } from 'node:net'
import { CoreError } from '@shoal/core'

/** Addresses and networks that an option names. */
export class Networks {
  readonly #list = new BlockList()

  /**
   * @param texts addresses, and networks like `10.0.0.0/8`
   * @param option where they are from
   * @throws CoreError `CONFIG_INVALID`
   */
  constructor(texts: readonly string[], option: string) {
    for (const text of texts) {
      const [address = '', bits, ...more] = text.split('/')
      const version = isIP(address)
      const most = version === 4 ? 32 : 128
      const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
      if (version === 0 || more.length > 0 || length < 0 || length > most) {
        throw new CoreError(
          'CONFIG_INVALID',
          `${option}: "${text}" is neither an address nor a network like 10.0.0.0/8`,
        )
      }
      this.#list.addSubnet(address, length, version === 4 ? 'ipv4' : 'ipv6')
    }
  }

  /** False for what is no address. */
  has(address: string): boolean {
    // What comes by IPv4 to a socket for both is named as IPv6.
    const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
    const version = isIP(plain)
    return version !== 0 && this.#list.check(plain, version === 4 ? 'ipv4' : 'ipv6')
  }
}

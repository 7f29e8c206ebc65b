import { request } from 'undici'
import { CliError } from '../errors.ts'

const DEADLINE_MS = 5000

/** What a node says of a blob's download. */
export interface DownloadStatus {
  readonly digest: string
  /** Bytes. */
  readonly size: number
  readonly state: 'active' | 'complete' | 'failed'
  readonly bytes: { readonly peer: number; readonly seed: number; readonly origin: number }
}

/** A node's admin API. */
export class NodeClient {
  readonly #url: string

  /** @param url as `parseNodeAddress` gives it */
  constructor(url: string) {
    this.#url = url
  }

  /** Where the node's mirror listens. Throws CliError `NODE_UNREACHABLE`. */
  async mirrorUrl(): Promise<string> {
    const { addresses } = (await this.#get('/api/v1/node')) as { addresses?: { mirror?: string } }
    if (addresses?.mirror === undefined) {
      throw new CliError('NODE_UNREACHABLE', `${this.#url} is not a node's admin address: see --node`)
    }
    return addresses.mirror
  }

  async downloads(): Promise<DownloadStatus[]> {
    return ((await this.#get('/api/v1/downloads')) as { downloads: DownloadStatus[] }).downloads
  }

  async #get(path: string): Promise<unknown> {
    try {
      const { statusCode, body } = await request(this.#url + path, {
        headersTimeout: DEADLINE_MS,
        bodyTimeout: DEADLINE_MS,
      })
      const json = await body.json()
      return statusCode === 200 ? json : {}
    } catch (cause) {
      throw new CliError(
        'NODE_UNREACHABLE',
        `no node answers at ${this.#url}: start one, or name another with --node`,
        {
          cause,
        },
      )
    }
  }
}

import {
  BlobSASPermissions,
  BlobServiceClient,
  type BlockBlobClient,
  type ContainerClient,
  type ContainerListBlobHierarchySegmentResponse,
  RestError,
  StorageSharedKeyCredential,
} from '@azure/storage-blob'
import type { ByteRange } from '@shoal/core'
import { RegistryError } from '../../errors.ts'
import type { Appender } from '../driver.ts'
import { attempt, attemptEach, unlessAbsent } from './failure.ts'
import type { Listed, Listing, ObjectContent, ObjectStore, StoredObject } from './object-store.ts'
import { PartAppender, type PartedFile } from './part-appender.ts'

const MIB = 1024 * 1024
/** How often the store is asked whether it has copied an object. */
const COPY_POLL_MS = 100

/** A container of Azure Blob Storage. */
export interface AzureOptions {
  readonly container: string
  readonly accountName: string
  readonly accountKey: string
  /** URL of the blob service; that of the account in Azure's public cloud when undefined. */
  readonly endpoint?: string | undefined
  readonly partMiB: number
}

/** Block blobs in a container of Azure. */
export class AzureStore implements ObjectStore {
  readonly #container: ContainerClient
  readonly #partBytes: number

  constructor({ container, accountName, accountKey, endpoint, partMiB }: AzureOptions) {
    const url = endpoint ?? `https://${accountName}.blob.core.windows.net`
    const service = new BlobServiceClient(url, new StorageSharedKeyCredential(accountName, accountKey))
    this.#container = service.getContainerClient(container)
    this.#partBytes = partMiB * MIB
  }

  async head(key: string): Promise<StoredObject | undefined> {
    const found = await unlessAbsent(() => this.#blob(key).getProperties(), saysAbsent)
    if (found === undefined) return undefined
    return { sizeBytes: found.contentLength ?? 0, modifiedAtMs: found.lastModified?.getTime() ?? 0 }
  }

  async get(key: string, range?: ByteRange): Promise<ObjectContent | undefined> {
    const count = range === undefined ? undefined : range.end - range.start + 1
    const found = await unlessAbsent(() => this.#blob(key).download(range?.start, count), saysAbsent)
    const body = found?.readableStreamBody
    if (body === undefined) return undefined
    return {
      sizeBytes: found?.contentLength ?? 0,
      body: attemptEach(body as AsyncIterable<Uint8Array>),
      discard: () => void ('destroy' in body && (body as { destroy(): void }).destroy()),
    }
  }

  async put(key: string, content: Uint8Array): Promise<void> {
    await attempt(() => this.#blob(key).upload(content as Uint8Array<ArrayBuffer>, content.byteLength))
  }

  async *list(prefix: string, { isFolded, limit }: Listing): AsyncGenerator<Listed> {
    let rest = limit ?? Number.POSITIVE_INFINITY
    const items = isFolded
      ? this.#container.listBlobsByHierarchy('/', { prefix })
      : this.#container.listBlobsFlat({ prefix })
    for await (const page of attemptEach(items.byPage({ maxPageSize: Math.min(1000, rest) }))) {
      const { blobItems, blobPrefixes: folders = [] } =
        page.segment as ContainerListBlobHierarchySegmentResponse['segment']
      for (const { name } of folders) yield { key: name, sizeBytes: 0, modifiedAtMs: 0 }
      for (const { name, properties } of blobItems) {
        yield {
          key: name,
          sizeBytes: properties.contentLength ?? 0,
          modifiedAtMs: properties.lastModified.getTime(),
        }
      }
      rest -= folders.length + blobItems.length
      if (rest <= 0) return
    }
  }

  async remove(key: string): Promise<void> {
    await unlessAbsent(() => this.#blob(key).delete(), saysAbsent)
  }

  async move(from: string, to: string): Promise<void> {
    const source = this.#blob(from)
    const copied = await unlessAbsent(async () => {
      const copy = await this.#blob(to).beginCopyFromURL(source.url, { intervalInMs: COPY_POLL_MS })
      return (await copy.pollUntilDone()).copyStatus
    }, saysAbsent)
    if (copied === undefined) throw new RegistryError('UNKNOWN', `there is no stored file ${from} to be moved`)
    if (copied !== 'success') throw new RegistryError('UNAVAILABLE', `the object store did not copy: ${copied}`)
    await this.remove(from)
  }

  /** A block blob grows by a list of blocks that names those it had and the new ones. */
  async append(key: string): Promise<Appender> {
    const blob = this.#blob(key)
    const found = await unlessAbsent(() => blob.getBlockList('committed'), saysAbsent)
    const blocks = found?.committedBlocks ?? []
    const sizeBytes = blocks.reduce((sum, block) => sum + block.size, 0)
    if (found !== undefined && sizeBytes !== (found.blobContentLength ?? 0)) {
      throw new RegistryError('BLOB_UPLOAD_INVALID', 'the upload was begun by another registry: begin a new one')
    }
    const ids = blocks.map(({ name }) => name)
    const state = { sizeBytes, exists: found !== undefined }
    return new PartAppender(new BlockFile(blob, ids), state, this.#partBytes)
  }

  presign(key: string, seconds: number): Promise<string> {
    const permissions = BlobSASPermissions.parse('r')
    return attempt(() =>
      this.#blob(key).generateSasUrl({ permissions, expiresOn: new Date(Date.now() + seconds * 1000) }),
    )
  }

  #blob(key: string): BlockBlobClient {
    return this.#container.getBlockBlobClient(key)
  }
}

function saysAbsent(error: unknown): boolean {
  return error instanceof RestError && error.statusCode === 404 && error.code !== 'ContainerNotFound'
}

/** A block blob that grows. */
class BlockFile implements PartedFile {
  readonly #blob: BlockBlobClient
  /** Of the blocks that the blob has, or is to have, in order. */
  readonly #ids: string[]
  #committed: number

  constructor(blob: BlockBlobClient, ids: string[]) {
    this.#blob = blob
    this.#ids = ids
    this.#committed = ids.length
  }

  async put(part: Uint8Array): Promise<void> {
    // The ids of a blob's blocks are equally long.
    const id = Buffer.from(String(this.#ids.length).padStart(8, '0')).toString('base64')
    await this.#blob.stageBlock(id, part as Uint8Array<ArrayBuffer>, part.byteLength)
    this.#ids.push(id)
  }

  async finish(rest: Uint8Array): Promise<void> {
    if (rest.byteLength > 0) await this.put(rest)
    await this.#blob.commitBlockList(this.#ids)
    this.#committed = this.#ids.length
  }

  async drop(): Promise<void> {
    this.#ids.length = this.#committed
  }

  async commit(): Promise<void> {}
}

import { type Logger, PieceLayout, pause, type Startable } from '@shoal/core'
import { StoredBlob } from '../store/blob.ts'
import type { IndexDb } from '../store/index-db.ts'
import { Turns } from '../store/turns.ts'
import { ContentFolder, type Stamp } from './folder.ts'
import type { RuntimeContentMetrics, RuntimeContentView } from './metrics.ts'
import { VerifiedRecords } from './records.ts'
import { type ContentHasher, type Hashed, Verification } from './verification.ts'
import { FolderWatch } from './watch.ts'

const SHA256_BYTES = 32
/** Blobs served at most; a scheduler takes twice as many from a node, its own store's among them. */
const MAX_BLOBS = 100_000
const RESCAN_MS = 60_000
/** Between two readings of the folder, whatever news there are. */
const SCAN_GAP_MS = 1000

/** Who is told of the runtime's blobs; called at once, and must not throw. */
export interface RuntimeContentListener {
  /** A verified blob is there from now on. */
  found(blob: StoredBlob): void
  /** The runtime removed the blob, or its file is another one now. */
  vanished(digest: string): void
}

interface Served {
  readonly blob: StoredBlob
  readonly stamp: Stamp
  /** Only where the index could not take it. */
  readonly pieceMap: Uint8Array | undefined
}

/**
 * The content store of this host's containerd, read only: its whole blobs are served like the node's own, without a
 * second copy. A blob counts once its bytes were hashed, whole and by piece; that outlives the process, so that a
 * restart reads no file again that has not changed.
 */
export class RuntimeContent implements Startable {
  readonly #isOn: boolean
  readonly #rescanMs: number
  readonly #folder: ContentFolder
  readonly #records: VerifiedRecords
  readonly #listener: RuntimeContentListener
  readonly #log: Logger
  readonly #watch: FolderWatch
  readonly #verification: Verification
  readonly #served = new Map<string, Served>()
  /** Digest → stamp of a file that does not have it. */
  readonly #wrong = new Map<string, string>()
  /** One look at a file after the other: news and readings of the folder overlap. */
  readonly #turns = new Turns()
  readonly #stopping = new AbortController()
  #running: Promise<unknown> | undefined
  #hasNews = new AbortController()
  #isFirstScanOver = false
  #hasScanFailed = false

  /** @param options `folder` empty: nothing is read, and nothing held */
  constructor(
    options: { readonly folder: string; readonly rescanMs?: number },
    dependencies: {
      index: IndexDb
      hasher: ContentHasher
      listener: RuntimeContentListener
      metrics: RuntimeContentMetrics
      log: Logger
    },
  ) {
    const { index, hasher, listener, metrics, log } = dependencies
    this.#isOn = options.folder !== ''
    this.#rescanMs = options.rescanMs ?? RESCAN_MS
    this.#folder = new ContentFolder(options.folder)
    this.#records = new VerifiedRecords(index)
    this.#listener = listener
    this.#log = log
    this.#watch = new FolderWatch(this.#folder.watched, {
      changed: (folder, name) => this.#changed(folder, name),
      log,
    })
    this.#verification = new Verification({
      folder: this.#folder,
      hasher,
      metrics,
      log,
      hashed: (hashed) => this.#turns.run(() => this.#hashed(hashed)),
    })
  }

  /**
   * Begins to read the folder, in the background; waits for it to appear where it is not there yet. Throws CoreError
   * `CONFIG_INVALID` when it can not be read, or is not containerd's.
   */
  async start(): Promise<void> {
    if (!this.#isOn || this.#running !== undefined) return
    if (!(await this.#folder.prove())) {
      const fields = { folder: this.#folder.path }
      this.#log.warn(
        fields,
        "containerd's content store is not there: start containerd, or mend store.containerdContent",
      )
    }
    const { signal } = this.#stopping
    this.#running = Promise.all([this.#scanUntilStopped(signal), this.#verification.run(signal)])
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#hasNews.abort()
    this.#watch.close()
    await this.#running
    await this.#turns.run(async () => {})
    this.#watch.close()
  }

  /** The blob, if the runtime has it and its bytes were verified. */
  find(digest: string): StoredBlob | undefined {
    return this.#served.get(digest)?.blob
  }

  *blobs(): Generator<StoredBlob> {
    for (const { blob } of this.#served.values()) yield blob
  }

  /** The sha256 of every piece, 32 bytes each; undefined when the blob is not held. Throws StoreError. */
  async pieceMap(digest: string): Promise<Uint8Array | undefined> {
    const served = this.#served.get(digest)
    return served?.pieceMap ?? (served && (await this.#records.pieceMap(digest, served.stamp)))
  }

  /** The blob's file was not there when somebody opened it. */
  lost(blob: StoredBlob): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#served.get(blob.digest)?.blob === blob) await this.#drop(blob.digest)
    })
  }

  /** Counts and bytes for people. */
  view(): RuntimeContentView {
    let bytes = 0
    for (const { blob } of this.#served.values()) bytes += blob.size
    return {
      folder: this.#isOn ? this.#folder.path : '',
      blobs: this.#served.size,
      bytes,
      waitingBlobs: this.#verification.blobs,
      waitingBytes: this.#verification.bytes,
      wrongBlobs: this.#wrong.size,
    }
  }

  async #scanUntilStopped(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#hasNews = new AbortController()
      await this.#scan(signal)
      await pause(Math.min(SCAN_GAP_MS, this.#rescanMs), signal)
      await pause(this.#rescanMs, AbortSignal.any([signal, this.#hasNews.signal]))
    }
  }

  async #scan(signal: AbortSignal): Promise<void> {
    // Watched first: what comes while the folder is read is news.
    await this.#watch.renew()
    const listed = new Set<string>()
    try {
      for await (const digest of this.#folder.digests()) {
        if (signal.aborted) return
        listed.add(digest)
        await this.#check(digest)
      }
      this.#hasScanFailed = false
    } catch (err) {
      if (!this.#hasScanFailed) this.#log.error({ folder: this.#folder.path, err }, "can not read containerd's content")
      this.#hasScanFailed = true
      return
    }
    const known = [...this.#served.keys(), ...this.#wrong.keys(), ...this.#verification.digests()]
    for (const digest of known) if (!listed.has(digest)) await this.#check(digest)
    if (this.#isFirstScanOver || listed.size === 0 || signal.aborted) return
    this.#isFirstScanOver = true
    this.#log.info(this.view(), "containerd's content store was read")
    await this.#forgetAllBut(listed)
  }

  #changed(folder: string, name: string): void {
    const digest = this.#folder.digestOf(folder, name)
    if (digest === undefined) this.#hasNews.abort()
    else void this.#check(digest)
  }

  /** Looks at the blob's file; never rejects. */
  #check(digest: string): Promise<void> {
    return this.#turns.run(async () => {
      if (this.#stopping.signal.aborted) return
      try {
        await this.#look(digest)
      } catch (err) {
        this.#log.warn({ digest, err }, "what is known of a blob of the runtime's can not be read from the index")
      }
    })
  }

  async #look(digest: string): Promise<void> {
    const stamp = await this.#folder.stamp(digest)
    const served = this.#served.get(digest)
    if (served !== undefined && served.stamp.key === stamp?.key) return
    if (served !== undefined) await this.#drop(digest)
    if (this.#wrong.get(digest) === stamp?.key && stamp !== undefined) return
    this.#wrong.delete(digest)
    if (stamp === undefined) {
      this.#verification.remove(digest)
      return
    }
    if (this.#served.size + this.#verification.blobs >= MAX_BLOBS) return
    const pieceMap = await this.#records.pieceMap(digest, stamp)
    if (pieceMap?.byteLength === new PieceLayout(stamp.size).count * SHA256_BYTES) this.#serve(digest, stamp, undefined)
    else this.#verification.add(digest, stamp)
  }

  async #hashed({ digest, stamp, isRight, pieceMap }: Hashed): Promise<void> {
    // The same stamp before and after: what was hashed is what is there now. Else there is news of it.
    const isSame = (await this.#folder.stamp(digest))?.key === stamp.key
    if (!isSame || this.#served.has(digest) || this.#stopping.signal.aborted) return
    if (isRight) {
      this.#serve(digest, stamp, (await this.#record(digest, stamp, pieceMap)) ? undefined : pieceMap)
    } else {
      this.#wrong.set(digest, stamp.key)
      const fields = { digest, file: this.#folder.file(digest) }
      this.#log.error(fields, "a file of containerd's is not the blob of its name: it is not served; check the disk")
    }
  }

  /** Whether it could be written down. */
  async #record(digest: string, stamp: Stamp, pieceMap: Uint8Array): Promise<boolean> {
    try {
      await this.#records.put(digest, stamp, pieceMap)
      return true
    } catch (err) {
      this.#log.warn({ digest, err }, 'that a blob was verified can not be written down: a restart verifies it again')
      return false
    }
  }

  #serve(digest: string, stamp: Stamp, pieceMap: Uint8Array | undefined): void {
    const blob = new StoredBlob(digest, stamp.size, this.#folder.file(digest), true, 0)
    this.#served.set(digest, { blob, stamp, pieceMap })
    this.#listener.found(blob)
  }

  async #drop(digest: string): Promise<void> {
    this.#served.delete(digest)
    this.#listener.vanished(digest)
    await this.#records.remove(digest).catch((err: unknown) => {
      this.#log.warn({ digest, err }, "the index still has a blob of the runtime's that is gone")
    })
  }

  async #forgetAllBut(listed: ReadonlySet<string>): Promise<void> {
    try {
      const gone: string[] = []
      for await (const digest of this.#records.digests()) if (!listed.has(digest)) gone.push(digest)
      // Of those some may have come since the folder was read.
      for (const digest of gone) if (!this.#served.has(digest)) await this.#records.remove(digest)
    } catch (err) {
      this.#log.warn({ err }, 'the index can not be tidied up now')
    }
  }
}

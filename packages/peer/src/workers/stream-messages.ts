/*
 * A libp2p stream lives on the main thread, who speaks the lane's protocol on it in a worker thread. A channel of
 * messages is between them: bytes both ways, each acknowledged when they have gone on, so that whoever is slow slows
 * the other end down. Closing the channel resets the stream.
 */

/** To the worker thread. */
export type ToStreamUser =
  /** The stream is open; the libp2p peer at its other end. */
  | { readonly type: 'opened'; readonly peerId: string }
  | { readonly type: 'bytes'; readonly bytes: Uint8Array }
  /** What was written last was taken. */
  | { readonly type: 'taken' }
  /** Why the channel is closed now. */
  | { readonly type: 'broke'; readonly reason: string }

/** To the main thread. */
export type ToStreamOwner =
  | { readonly type: 'bytes'; readonly bytes: Uint8Array<ArrayBuffer> }
  /** So many bytes have gone on. */
  | { readonly type: 'taken'; readonly byteLength: number }
  /** Nothing more is written. */
  | { readonly type: 'end' }

/** A frame as the reference parser reads it; where its payload is in the stream, as far as the stream goes. */
export interface ReferenceFrame {
  readonly type: 'hello' | 'request' | 'response' | 'rejected'
  /** The fields, in the order of frames.ts's description. */
  readonly fields: readonly (number | string)[]
  readonly payloadStart: number
  readonly payloadEnd: number
}

const MAX_PIECE = 16 * 1024 * 1024

/**
 * Reads a whole stream at once, written from the description of the frames (frames.ts) and from nothing else of the
 * lane, for a test to compare with. `isRefused`: the stream breaks the protocol after these frames.
 */
export function referenceParse(stream: Uint8Array): { frames: ReferenceFrame[]; isRefused: boolean } {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength)
  const frames: ReferenceFrame[] = []
  const refused = { frames, isRefused: true }
  let at = 0
  while (at + 4 <= stream.byteLength) {
    const type = view.getUint8(at)
    const fieldBytes = view.getUint16(at + 2)
    if (view.getUint8(at + 1) !== 0) return refused
    if (type === 1 && (fieldBytes < 12 || fieldBytes > 256)) return refused
    if ((type === 2 || type === 4) && fieldBytes !== 85) return refused
    if (type === 3 && fieldBytes !== 9) return refused
    if (type < 1 || type > 4) return refused
    const fields = at + 4
    const end = fields + fieldBytes
    if (end > stream.byteLength) break
    let payloadBytes = 0
    if (type === 1) {
      const [magic, lowest, highest] = [view.getUint32(fields), view.getUint16(fields + 4), view.getUint16(fields + 6)]
      if (magic !== 0x53484c4e || lowest < 1 || highest < lowest) return refused
      const time = fieldBytes >= 20 ? view.getBigUint64(fields + 12) : undefined
      const isTime = time !== undefined && time <= 8_640_000_000_000_000n
      const values = [lowest, highest, view.getUint32(fields + 8), isTime ? Number(time) : -1]
      frames.push({ type: 'hello', fields: values, payloadStart: end, payloadEnd: end })
    } else if (type === 2 || type === 4) {
      const offset = view.getBigUint64(fields + 8)
      const length = view.getUint32(fields + 16)
      const algorithm = view.getUint8(fields + 20)
      if (offset >= 2n ** 53n || length < 1 || length > MAX_PIECE) return refused
      if (algorithm !== 1 && algorithm !== 2) return refused
      const digestBytes = algorithm === 1 ? 32 : 64
      let digest = algorithm === 1 ? 'sha256:' : 'sha512:'
      for (let i = 0; i < 64; i++) {
        const byte = view.getUint8(fields + 21 + i)
        if (i < digestBytes) digest += HEX[byte]
        else if (byte !== 0) return refused
      }
      const values = [view.getUint32(fields), view.getUint32(fields + 4), Number(offset), length, digest]
      frames.push({ type: type === 2 ? 'request' : 'rejected', fields: values, payloadStart: end, payloadEnd: end })
    } else {
      const status = view.getUint8(fields + 4)
      const length = view.getUint32(fields + 5)
      if (status > 4 || (status === 0 ? length < 1 || length > MAX_PIECE : length !== 0)) return refused
      payloadBytes = Math.min(length, stream.byteLength - end)
      const values = [view.getUint32(fields), STATUSES[status] ?? '', length]
      frames.push({ type: 'response', fields: values, payloadStart: end, payloadEnd: end + payloadBytes })
    }
    at = end + payloadBytes
  }
  return { frames, isRefused: false }
}

const STATUSES = ['ok', 'busy', 'notHeld', 'mismatch', 'failed']
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

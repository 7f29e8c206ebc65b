import { KitError } from '../errors.ts'
import { callUnary } from './grpc.ts'

/** A pull secret, as the kubelet passes it on. Source: cri-api, runtime.v1.AuthConfig. */
export interface PullSecret {
  readonly username: string
  readonly password: string
  /** When it is set, containerd sends the secret to that server alone. */
  readonly serverAddress?: string
}

const PULL_TIMEOUT_MS = 120_000
const VERSION_TIMEOUT_MS = 5_000

const REMOVE_TIMEOUT_MS = 30_000

/** The kubelet's `RuntimeService/Version`: whether images can be pulled. Throws KitError `UNEXPECTED_ANSWER` until then. */
export async function criAnswers(socketPath: string): Promise<boolean> {
  await callUnary(socketPath, 'runtime.v1.RuntimeService/Version', Buffer.alloc(0), VERSION_TIMEOUT_MS)
  return true
}

/** The kubelet's `ImageService/PullImage`. Throws KitError `UNEXPECTED_ANSWER`. Returns the image's id. */
export async function criPullImage(socketPath: string, reference: string, secret?: PullSecret): Promise<string> {
  const fields = [field(1, field(1, reference))]
  if (secret !== undefined) {
    const { username, password, serverAddress = '' } = secret
    fields.push(field(2, Buffer.concat([field(1, username), field(2, password), field(4, serverAddress)])))
  }
  const method = 'runtime.v1.ImageService/PullImage'
  const answer = await callUnary(socketPath, method, Buffer.concat(fields), PULL_TIMEOUT_MS)
  // The answer's one field, `image_ref`, is shorter than 128 bytes.
  if (answer[0] !== 0x0a || answer[1] !== answer.length - 2) {
    throw new KitError('UNEXPECTED_ANSWER', `PullImage answered ${answer.toString('hex')}`)
  }
  return answer.toString('utf8', 2)
}

/** The kubelet's `ImageService/RemoveImage`. Throws KitError `UNEXPECTED_ANSWER`. */
export async function criRemoveImage(socketPath: string, reference: string): Promise<void> {
  const message = field(1, field(1, reference))
  await callUnary(socketPath, 'runtime.v1.ImageService/RemoveImage', message, REMOVE_TIMEOUT_MS)
}

/** A length-delimited protobuf field. Source: protobuf.dev, "Encoding". */
function field(number: number, value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value)
  const length: number[] = []
  for (let left = bytes.length; ; left >>>= 7) {
    if (left < 128) {
      length.push(left)
      break
    }
    length.push((left & 127) | 128)
  }
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes])
}

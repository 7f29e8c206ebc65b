import { hostOption, portOption } from '@shoal/core/service'
import { Type } from 'typebox'

/** Options of the mirror. */
export const mirrorOptions = (defaultPort: number) =>
  Type.Object(
    {
      host: hostOption('127.0.0.1', 'address on which the mirror listens for container runtimes'),
      port: portOption(defaultPort, 'port on which the mirror listens for container runtimes'),
      defaultRegistry: Type.String({
        default: 'docker.io',
        maxLength: 261,
        description: 'registry that is meant when a runtime names none',
      }),
      challenge: Type.Boolean({
        default: false,
        description:
          'whether `/v2/` asks for credentials, which Podman, CRI-O, skopeo, buildah and crane send only then; leave it off for Docker',
      }),
      tagTtlMs: Type.Integer({
        minimum: 0,
        maximum: 3_600_000,
        default: 1000,
        description: 'how long a tag is taken to mean the same manifest without asking the origin',
      }),
      accessTtlMs: Type.Integer({
        minimum: 0,
        maximum: 86_400_000,
        default: 300_000,
        description: "how long the origin's yes to a client's credentials holds for what is cached",
      }),
      firstByteTimeoutMs: Type.Integer({
        minimum: 500,
        maximum: 600_000,
        default: 5000,
        description:
          'how long a client waits for the first byte of a blob while nothing moves, here or at the origin; then it gets an error',
      }),
    },
    { additionalProperties: false, default: {} },
  )

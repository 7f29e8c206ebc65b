import { setTimeout as delay } from 'node:timers/promises'
import type { Gate, Refusal } from '../gate.ts'
import type { Row } from '../row.ts'
import type { Scene } from '../scene.ts'

const ORIGIN_STALL_MS = 5000
/** Longer than a scheduler leaves a lease to a node to which nothing comes, and than a download has patience with it. */
const ORIGIN_HANG_MS = 25_000
const REFUSAL_MS = 5000
const TOKEN_SECONDS = 2

/** Faults of the registry that all is fetched from. */
export const ORIGIN_ROWS: readonly Row[] = [
  {
    name: 'origin-stalled',
    fault: `the registry stands still for ${ORIGIN_STALL_MS / 1000} s when the seed has fetched half of the blob`,
    strike: (scene) => stopAtHalf(scene, ORIGIN_STALL_MS),
  },
  {
    name: 'origin-hangs',
    fault: `the registry stands still for ${ORIGIN_HANG_MS / 1000} s when the seed has half, so that others are to ask it in its place`,
    // Each of those that are to ask in turn has requests on the way; one of them alone is to be answered in full.
    mostOriginCopies: 1.25,
    strike: (scene) => stopAtHalf(scene, ORIGIN_HANG_MS),
  },
  {
    name: 'origin-rate-limits',
    fault: `when the seed has half, the registry breaks off what it sends and answers 429 for ${REFUSAL_MS / 1000} s`,
    gate: {},
    strike: (scene) => refuseAtHalf(scene, { status: 429, retryAfter: 1, forMs: REFUSAL_MS }),
  },
  {
    name: 'origin-errors',
    fault: `when the seed has half, the registry breaks off what it sends and answers 503 for ${REFUSAL_MS / 1000} s`,
    gate: {},
    strike: (scene) => refuseAtHalf(scene, { status: 503, forMs: REFUSAL_MS }),
  },
  {
    name: 'token-expires',
    fault: `the registry wants tokens, which live ${TOKEN_SECONDS} s and say longer; when the seed has half, it breaks off what it sends`,
    gate: { tokenSeconds: TOKEN_SECONDS },
    nodeOptions: { download: { originStreams: 2 } },
    strike: async (scene) => {
      const gate = gateOf(scene)
      await scene.untilHeld([scene.cluster.seed], 0.5)
      await gate.breakBodies()
      return {
        check: async () => {
          const { broken, expired } = await gate.counts()
          if (broken === 0 || expired === 0)
            throw new Error(`${broken} bodies were broken off, ${expired} tokens refused`)
        },
      }
    },
  },
]

async function stopAtHalf({ cluster, untilHeld }: Scene, forMs: number) {
  await untilHeld([cluster.seed], 0.5)
  cluster.registry.process.signal('SIGSTOP')
  await delay(forMs)
  cluster.registry.process.signal('SIGCONT')
  return {}
}

async function refuseAtHalf(scene: Scene, refusal: Refusal) {
  const gate = gateOf(scene)
  await scene.untilHeld([scene.cluster.seed], 0.5)
  await gate.refuse(refusal)
  return {
    check: async () => {
      const { broken, refused } = await gate.counts()
      if (broken === 0 || refused === 0)
        throw new Error(`${broken} bodies were broken off, ${refused} requests refused`)
    },
  }
}

function gateOf({ gate }: Scene): Gate {
  if (gate === undefined) throw new Error('the row has no gate')
  return gate
}

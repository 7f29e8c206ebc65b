import type { Session } from './session.ts'

const MOST_NODES = 8

/** libp2p addresses of a few nodes for a newcomer to start from: seeds first, then nodes at random. */
export function bootstrapFor(sessions: Iterable<Session>, random: () => number): string[] {
  const ranked = [...sessions]
    .filter((session) => session.introduction.multiaddrs.length > 0)
    .map((session) => ({ session, rank: session.introduction.role === 'seed' ? -1 : random() }))
    .sort((a, b) => a.rank - b.rank)
    .slice(0, MOST_NODES)
  return ranked.flatMap(({ session: { introduction } }) =>
    introduction.multiaddrs.map((address) =>
      /\/p2p\/[^/]+$/.test(address) ? address : `${address}/p2p/${introduction.id}`,
    ),
  )
}

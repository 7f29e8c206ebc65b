import { bootstrapFor } from './bootstrap.ts'
import type { Session } from './session.ts'
import { SessionNumbers } from './session-numbers.ts'

/** The live sessions, found by peer id, by number, and by the core's index of their node. */
export class Directory {
  readonly #byPeer = new Map<string, Session>()
  readonly #numbers = new SessionNumbers()
  readonly #byIndex: (Session | undefined)[] = []
  readonly #seeds = new Set<Session>()
  /** All, in any order, and where each is. */
  readonly #all: Session[] = []
  readonly #places = new Map<Session, number>()

  get all(): readonly Session[] {
    return this.#all
  }

  add(session: Session): void {
    this.#byPeer.set(session.introduction.id, session)
    this.#numbers.add(session.number, session.index)
    this.#byIndex[session.index] = session
    if (session.introduction.role === 'seed') this.#seeds.add(session)
    this.#places.set(session, this.#all.push(session) - 1)
  }

  /** Returns whether the session was in it. */
  delete(session: Session): boolean {
    const place = this.#places.get(session)
    if (place === undefined) return false
    this.#byPeer.delete(session.introduction.id)
    this.#numbers.delete(session.number)
    this.#byIndex[session.index] = undefined
    this.#seeds.delete(session)
    this.#places.delete(session)
    const last = this.#all.pop() as Session
    if (last !== session) {
      this.#all[place] = last
      this.#places.set(last, place)
    }
    return true
  }

  ofPeer(id: string): Session | undefined {
    return this.#byPeer.get(id)
  }

  /** Index of the live session's node; undefined when there is none. */
  indexOfNumber(number: number): number | undefined {
    return this.#numbers.indexOf(number)
  }

  find(index: number): Session | undefined {
    return this.#byIndex[index]
  }

  /** The live session of this index. Throws RangeError when there is none. */
  get(index: number): Session {
    const session = this.#byIndex[index]
    if (session === undefined) throw new RangeError(`no session has the index ${index}`)
    return session
  }

  /** Addresses of a few nodes for a newcomer. @param isLocal whether it is on this machine */
  bootstrap(isLocal: boolean): string[] {
    return bootstrapFor(this.#seeds, this.#all, isLocal, Math.random)
  }
}

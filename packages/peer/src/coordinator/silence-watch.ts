/** How often it is looked whether anything was heard. */
const TURN_MS = 250
/**
 * After so many turns of silence the other side is asked for a sign of life, while something is waited for; after twice
 * as many each time that it only answers, up to the most: an answer costs a scheduler some 50 µs.
 */
const ASK_AFTER = 2
const MOST_ASK_AFTER = 8
/** The same while nothing is waited for. */
const IDLE_ASK_AFTER = 20
/** When nothing was heard for so many turns after that, it is given up. */
const ANSWER_TURNS = 4

/** What silence leads to. */
export interface SilenceListener {
  /** Whether something is waited for now: silence is then noticed sooner. */
  isWaiting(): boolean
  /** Nothing was heard for a while: the other side is to be asked for an answer. */
  ask(): void
  /** Nothing was heard after that either; called once, and the last. */
  givenUp(): void
}

/**
 * Tells that the other end of a stream is gone, though its connection is not: its process hangs, or its host vanished.
 * While something is waited for, and came, it tells so 1.5 seconds after the last word, else within 3 or 6 seconds.
 *
 * Silence is counted in turns of our own event loop: one that is late, for want of CPU, reads between two turns what
 * lies in its sockets, however long that takes. By the clock, nodes that were short of CPU took schedulers for dead
 * that had answered, went to the origin, and had the more to do (docs/architecture.md, "Decisions worth knowing").
 */
export class SilenceWatch {
  readonly #listener: SilenceListener
  readonly #timer: NodeJS.Timeout
  /** Turns since anything was heard, and of those the ones after the question. */
  #quiet = 0
  #unanswered = 0
  #askAfter = ASK_AFTER

  /** Watches from now on. */
  constructor(listener: SilenceListener) {
    this.#listener = listener
    this.#timer = setInterval(() => this.#turn(), TURN_MS)
  }

  /** Something was heard; `isAnswer`: that the other side is there, and no more. */
  heard(isAnswer: boolean): void {
    this.#quiet = 0
    this.#unanswered = 0
    this.#askAfter = isAnswer ? Math.min(MOST_ASK_AFTER, 2 * this.#askAfter) : ASK_AFTER
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #turn(): void {
    this.#quiet++
    if (this.#unanswered > 0) {
      if (this.#unanswered++ < ANSWER_TURNS) return
      this.stop()
      this.#listener.givenUp()
    } else if (this.#quiet >= (this.#listener.isWaiting() ? this.#askAfter : IDLE_ASK_AFTER)) {
      this.#unanswered = 1
      this.#listener.ask()
    }
  }
}

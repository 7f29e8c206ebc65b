/** Does work once for all who ask for it while it is under way. */
export class SingleFlight<T> {
  readonly #underWay = new Map<string, Promise<T>>()

  /** @param key tells one piece of work from another */
  run(key: string, work: () => Promise<T>): Promise<T> {
    const already = this.#underWay.get(key)
    if (already !== undefined) return already
    const mine = work().finally(() => this.#underWay.delete(key))
    this.#underWay.set(key, mine)
    return mine
  }
}

const PAGE = 1024
const NONE = -1

/**
 * Which node's index a session's number stands for, asked for each piece that arrives. Numbers are given out one after
 * another and never again, so they are looked up by page; a page without a live session is dropped.
 */
export class SessionNumbers {
  readonly #pages: ({ readonly indexes: Int32Array; live: number } | undefined)[] = []

  add(number: number, index: number): void {
    const at = Math.floor(number / PAGE)
    let page = this.#pages[at]
    if (page === undefined) {
      page = { indexes: new Int32Array(PAGE).fill(NONE), live: 0 }
      this.#pages[at] = page
    }
    page.indexes[number % PAGE] = index
    page.live++
  }

  /** Takes out a number that was added. */
  delete(number: number): void {
    const at = Math.floor(number / PAGE)
    const page = this.#pages[at]
    if (page === undefined) return
    page.indexes[number % PAGE] = NONE
    if (--page.live === 0) this.#pages[at] = undefined
  }

  /** Index of the node; undefined: no live session has the number. */
  indexOf(number: number): number | undefined {
    const index = this.#pages[Math.floor(number / PAGE)]?.indexes[number % PAGE] ?? NONE
    return index === NONE ? undefined : index
  }
}

import type { Readable } from 'node:stream'

export type StreamName = 'stdout' | 'stderr'

const TAIL_CHARACTERS = 128 * 1024
const ERROR_CHARACTERS = 6000

/** The last lines a program wrote, bounded, in the order they came; and a call for each new one. */
export class OutputTail {
  readonly #lines: { stream: StreamName; text: string }[] = []
  readonly #listeners = new Set<() => void>()
  #characters = 0

  /** Takes over a stream. A last line without its end counts as a line. */
  read(stream: StreamName, source: Readable): void {
    let rest = ''
    source.setEncoding('utf8')
    source.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      if (rest.length > TAIL_CHARACTERS) rest = rest.slice(-TAIL_CHARACTERS)
      for (const text of lines) this.#add(stream, text)
    })
    source.on('end', () => {
      if (rest !== '') this.#add(stream, rest)
    })
  }

  /** The first kept line that matches. */
  find(pattern: RegExp, stream?: StreamName): RegExpExecArray | undefined {
    for (const line of this.#lines) {
      if (stream !== undefined && line.stream !== stream) continue
      const match = pattern.exec(line.text)
      if (match !== null) return match
    }
    return undefined
  }

  /** Calls `listener` after each new line until the returned function is called. */
  onLine(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What is kept, as text. */
  text(): string {
    return this.#lines.map((line) => line.text).join('\n')
  }

  /** The end of what is kept, short enough for an error message. */
  excerpt(): string {
    const text = this.text()
    if (text === '') return '(it wrote nothing)'
    return text.length <= ERROR_CHARACTERS ? text : `…${text.slice(-ERROR_CHARACTERS)}`
  }

  #add(stream: StreamName, text: string): void {
    this.#lines.push({ stream, text })
    this.#characters += text.length
    while (this.#characters > TAIL_CHARACTERS && this.#lines.length > 1) {
      this.#characters -= this.#lines.shift()?.text.length ?? 0
    }
    for (const listener of this.#listeners) listener()
  }
}

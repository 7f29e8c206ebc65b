/**
 * `count` of the items, each as likely as any other, or all of them when there are not more.
 * @param random in [0, 1)
 */
export function chooseSome<T>(items: readonly T[], count: number, random: () => number): T[] {
  const left = [...items]
  const chosen: T[] = []
  while (chosen.length < count && left.length > 0) {
    chosen.push(...left.splice(Math.floor(random() * left.length), 1))
  }
  return chosen
}

/** A configuration as OpenStack's programs read it. */
export function ini(sections: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  const lines = Object.entries(sections).flatMap(([name, settings]) => [
    `[${name}]`,
    ...Object.entries(settings).map(([key, value]) => `${key} = ${value}`),
  ])
  return `${lines.join('\n')}\n`
}

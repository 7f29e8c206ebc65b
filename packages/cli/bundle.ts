/**
 * Bundles the program into `dist/`, as users run it: a process that loads a few files of JavaScript takes 70 MiB less
 * memory than one that loads some 1500 modules and strips the types of ours itself (docs/architecture.md), and starts
 * faster. Names are kept, so that the stack of an error can be read without its source map.
 */
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { builtinModules } from 'node:module'
import { join } from 'node:path'
import { writeFileAtomic } from '@shoal/core'
import { rolldown } from 'rolldown'

const WORKER = '/peer/src/workers/worker.ts'
/** WebAssembly that costs more memory than it is worth, and what takes its place. */
const WASM = ['@chainsafe/as-chacha20poly1305', '@chainsafe/as-sha256']
const NATIVES = join(import.meta.dirname, '../peer/src/swarm/noise-natives.ts')
const dist = join(import.meta.dirname, 'dist')
const begunAt = new Date()

const bundle = await rolldown({
  cwd: import.meta.dirname,
  platform: 'node',
  input: { shoal: 'src/main.ts', worker: `..${WORKER}` },
  // Native code, and a library that starts threads from a file of its own.
  external: ['classic-level', 'piscina'],
  plugins: [
    {
      // `import` of a builtin module evaluates all its exports; those of node:http load Node's own undici, 8 MiB.
      name: 'builtin-modules',
      resolveId(source, importer) {
        const isBuiltin = source !== 'node:module' && (source.startsWith('node:') || builtinModules.includes(source))
        return isBuiltin && importer !== undefined ? { id: `\0builtin:${source}`, moduleSideEffects: false } : undefined
      },
      load(id) {
        if (!id.startsWith('\0builtin:')) return undefined
        return `module.exports = process.getBuiltinModule('${id.slice('\0builtin:'.length)}')`
      },
    },
    {
      name: 'no-wasm',
      resolveId: (source) => (WASM.includes(source) ? { id: NATIVES } : undefined),
    },
    {
      name: 'worker-file',
      transform(code, id) {
        if (!id.endsWith('/workers/threads.ts')) return undefined
        return code.replace("'./worker.ts'", "'./worker.js'")
      },
    },
  ],
  onLog(level, log) {
    if (level === 'warn' && log.code === 'EVAL') return
    throw new Error(`${log.code}: ${log.message}`)
  },
})
const { output } = await bundle.generate({
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunk-[name]-[hash].js',
  minify: { mangle: false, compress: false, codegen: { removeWhitespace: true } },
})
await bundle.close()

// The code of worker threads does not run on the main thread: nothing may import it.
const workerChunk = output.find((file) => file.type === 'chunk' && file.moduleIds.some((id) => id.endsWith(WORKER)))
for (const file of output) {
  if (workerChunk === undefined || file.type !== 'chunk' || !file.imports.includes(workerChunk.fileName)) continue
  if (file.isEntry && file.name === 'worker') continue
  throw new Error(`${file.fileName} imports what belongs to worker threads: ${workerChunk.fileName}`)
}

await mkdir(dist, { recursive: true })
const files = new Map(output.map((file) => [file.fileName, file.type === 'chunk' ? file.code : file.source]))
for (const [name, content] of files) {
  // V8 keeps a file's text, and takes two bytes a character unless all are Latin-1.
  const ascii = String(content).replace(/[^\0-\x7f]/g, escapeOf)
  await writeFileAtomic(join(dist, name), ascii)
}
// What an earlier build left goes last: a program that runs finds its files at any time, and so does another build.
for (const name of await readdir(dist)) {
  if (name.endsWith('.js') && !files.has(name)) await rm(join(dist, name), { force: true })
}
// `bin/shoal` builds anew when a source is newer than this. A source that was written during the build counts as newer.
const built = join(dist, 'built')
await writeFile(built, '')
await utimes(built, begunAt, begunAt)

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

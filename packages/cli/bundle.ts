/**
 * Bundles the program into `dist/`, as users run it: a process that loads a few files of JavaScript takes 70 MiB less
 * memory than one that loads some 1500 modules and strips the types of ours itself (docs/architecture.md), and starts
 * faster. Names are kept, so that the stack of an error can be read without its source map.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const dist = join(import.meta.dirname, 'dist')

const bundle = await rolldown({
  cwd: import.meta.dirname,
  platform: 'node',
  input: { shoal: 'src/main.ts', worker: '../peer/src/workers/worker.ts' },
  // Native code, and a library that starts threads from a file of its own.
  external: ['classic-level', 'piscina'],
  plugins: [
    {
      name: 'worker-file',
      transform(code, id) {
        if (!id.endsWith('/workers/pool.ts')) return undefined
        return { code: code.replace("'./worker.ts'", "'./worker.js'"), map: null }
      },
    },
  ],
  onLog(level, log) {
    if (level === 'warn' && log.code === 'EVAL') return
    throw new Error(`${log.code}: ${log.message}`)
  },
})
const { output } = await bundle.write({
  dir: dist,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunk-[name]-[hash].js',
  sourcemap: true,
  minify: { mangle: false, compress: false, codegen: { removeWhitespace: true } },
})
await bundle.close()

// What an earlier build left goes last: a program that runs finds its files at any time.
const written = new Set(output.flatMap(({ fileName }) => [fileName, `${fileName}.map`]))
for (const file of await readdir(dist)) if (!written.has(file)) await rm(join(dist, file))

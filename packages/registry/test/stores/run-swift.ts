/** Runs a Swift to try a registry on; Ctrl-C ends it. See docs/storage.md. */
import { startSwift } from './swift.ts'

const swift = await startSwift()
await swift.makeContainer('registry')
process.stdout.write(`Swift at ${swift.authUrl} and S3 at ${swift.url}: user ${swift.username}, password ${swift.password}
The container, or bucket, "registry" is there.
`)
process.once('SIGINT', async () => {
  await swift.stop()
  process.exit(0)
})

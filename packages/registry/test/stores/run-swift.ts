/** Runs a Swift to try a registry on, with `--keystone` one that has no accounts of its own; Ctrl-C ends it. See docs/storage.md. */
import { startKeystone } from './keystone.ts'
import { authUrlOf, OWN_ACCOUNT, startSwift } from './swift.ts'

const keystone = process.argv.includes('--keystone') ? await startKeystone() : undefined
const user = await keystone?.addUser({
  username: 'shoal',
  password: 'swimming',
  userDomain: 'people',
  project: 'images',
  projectDomain: 'corp',
})
const swift = await startSwift(user && keystone?.authOf(user))
await keystone?.addStore('here', `${swift.url}/v1/AUTH_$(project_id)s`)
await swift.makeContainer('registry')
const { username, password } = user ?? OWN_ACCOUNT
process.stdout.write(
  user === undefined
    ? `Swift at ${authUrlOf(swift.url)} and S3 at ${swift.url}: user ${username}, password ${password}\n`
    : `Keystone at ${keystone?.url}: user ${username} of domain ${user.userDomain}, password ${password}, project ${user.project} of domain ${user.projectDomain}\n`,
)
process.stdout.write('The container, or bucket, "registry" is there.\n')
process.once('SIGINT', async () => {
  await swift.stop()
  await keystone?.stop()
  process.exit(0)
})

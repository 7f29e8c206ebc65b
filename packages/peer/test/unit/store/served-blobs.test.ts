import { expect, it } from 'vitest'
import { ServedBlobs } from '../../../src/store/served-blobs.ts'

it('has what is served looked up anew, once for each time it was looked up', () => {
  const heard: string[] = []
  const served = new ServedBlobs({
    touch: (digest) => heard.push(`touch ${digest}`),
    forget: (digest) => heard.push(`forget ${digest}`),
  })
  served.lookedUp('a')
  served.lookedUp('a')
  served.renew()
  served.renew()
  served.lookedUp('a')
  expect(heard).toEqual(['touch a', 'touch a', 'forget a', 'touch a'])
})

import { RegistryError } from '../../errors.ts'

/**
 * Does `work`, a request to an object store. Its error is told as the registry's: the client learns that it may try
 * again, the log what the vendor's client said. A vendor's error never goes out as it is: it may carry a status of its
 * own, which is about the registry's request and not about the client's.
 */
export async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw storeFailure(error)
  }
}

/** As `attempt`; undefined when the error is one that says that there is no such object. */
export async function unlessAbsent<T>(
  work: () => Promise<T>,
  saysAbsent: (error: unknown) => boolean,
): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (saysAbsent(error)) return undefined
    throw storeFailure(error)
  }
}

/** The chunks of `body`, whose errors are told as those of `attempt`. */
export async function* attemptEach<T>(body: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* body
  } catch (error) {
    throw storeFailure(error)
  }
}

function storeFailure(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  return new RegistryError(
    'UNAVAILABLE',
    'the object store of the registry does not answer as it should: try again later',
    { cause: error },
  )
}

import type { Service } from '@shoal/bench'

/** Kills a service and starts it again on the data that it left; resolves when it is ready. */
export async function killAndRestart(service: Service): Promise<void> {
  await service.process.stop('SIGKILL')
  await service.restart()
}

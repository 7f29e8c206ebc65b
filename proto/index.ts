export * from './gen/shoal/scheduler/v1/scheduler.ts'
export * as swarm from './gen/shoal/swarm/v1/holdings.ts'

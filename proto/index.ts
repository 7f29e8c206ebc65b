export * from './gen/shoal/scheduler/v1/scheduler.ts'

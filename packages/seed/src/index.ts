export { seedService } from './service.ts'

/** Error codes of the OCI distribution spec, and those that Distribution adds, with the HTTP status each goes with. */
export const OCI_ERROR_STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  SIZE_INVALID: 400,
  TAG_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  UNAVAILABLE: 503,
  UNKNOWN: 500,
} as const

/** A code of the OCI error body. */
export type OciErrorCode = keyof typeof OCI_ERROR_STATUS

/** One entry of the OCI error body. */
export interface OciErrorEntry {
  readonly code: OciErrorCode
  readonly message: string
  readonly detail?: unknown
}

/** The error body of the OCI distribution spec. */
export function ociErrorBody(code: OciErrorCode, message: string, detail?: unknown): { errors: OciErrorEntry[] } {
  return { errors: [detail === undefined ? { code, message } : { code, message, detail }] }
}

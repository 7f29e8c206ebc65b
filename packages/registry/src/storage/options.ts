import { type Static, Type } from 'typebox'

const text = (description: string) => Type.String({ minLength: 1, maxLength: 4096, description })
const strict = { additionalProperties: false } as const

const s3 = Type.Object(
  {
    bucket: text('name of the bucket, which must exist'),
    region: Type.String({ minLength: 1, maxLength: 64, default: 'us-east-1', description: 'region of the bucket' }),
    endpoint: Type.Optional(text("URL of a store that speaks S3's protocol, where it is not AWS")),
    forcePathStyle: Type.Boolean({
      default: false,
      description: 'whether the bucket is named in the path of URLs; most stores other than AWS want it',
    }),
    accessKeyId: Type.Optional(
      text('id of the access key; without it the key is looked for in the environment, the files and the role of AWS'),
    ),
    secretAccessKeyFile: Type.Optional(text('file that holds the secret access key')),
  },
  strict,
)

const azure = Type.Object(
  {
    container: text('name of the container, which must exist'),
    accountName: text('name of the storage account'),
    accountKeyFile: text('file that holds the key of the account'),
    endpoint: Type.Optional(text("URL of the blob service, where it is not Azure's public cloud")),
  },
  strict,
)

const gcs = Type.Object(
  {
    bucket: text('name of the bucket, which must exist'),
    keyFile: Type.Optional(
      text("JSON file with a service account's key; without it the machine's own account is used"),
    ),
    endpoint: Type.Optional(text("URL of the API, where it is not Google's")),
  },
  strict,
)

const swift = Type.Object(
  {
    container: text('name of the container, which must exist'),
    authUrl: text("where to log in: Swift's `…/auth/v1.0` or Keystone's `…/v3`"),
    authVersion: Type.Union([Type.Literal(1), Type.Literal(3)], {
      default: 3,
      description: 'protocol of the login: 1, of Swift itself, or 3, of Keystone',
    }),
    username: text('who logs in'),
    passwordFile: text('file that holds the password'),
    userDomain: Type.String({ default: 'Default', description: "Keystone's domain of the user" }),
    project: Type.Optional(text("Keystone's project; the user's default one without it")),
    projectDomain: Type.String({ default: 'Default', description: "Keystone's domain of the project" }),
    region: Type.Optional(text("which of the object stores in Keystone's catalog; the first without it")),
    tempUrlKeyFile: Type.Optional(
      text("file that holds the account's or container's key for temporary URLs, which `redirect` needs"),
    ),
  },
  strict,
)

/** Where the registry keeps its content. */
export const storageOptions = Type.Object(
  {
    driver: Type.Union(
      [
        Type.Literal('filesystem'),
        Type.Literal('memory'),
        Type.Literal('s3'),
        Type.Literal('azure'),
        Type.Literal('gcs'),
        Type.Literal('swift'),
      ],
      {
        default: 'filesystem',
        description: 'what keeps the content: the folder `dataDir`, memory (lost with the process), or an object store',
      },
    ),
    prefix: Type.String({
      maxLength: 512,
      pattern: '^[A-Za-z0-9/._-]*$',
      default: '',
      description: "what the keys of an object store begin with: Distribution's `rootdirectory`",
    }),
    partMiB: Type.Integer({
      minimum: 5,
      maximum: 512,
      default: 10,
      description:
        'size of the parts that an object store is sent, two of which are in memory for each push; S3 takes 10 000 of one blob',
    }),
    memoryMiB: Type.Integer({
      minimum: 1,
      maximum: 1_048_576,
      default: 1024,
      description: 'what the driver `memory` holds at most',
    }),
    s3: Type.Optional(s3),
    azure: Type.Optional(azure),
    gcs: Type.Optional(gcs),
    swift: Type.Optional(swift),
  },
  { additionalProperties: false, default: {} },
)

export type StorageOptions = Static<typeof storageOptions>

import { Type } from 'typebox';
import { normalisePath } from '../../schema/paths.ts';
import { defineConnector } from '../contract.ts';
import { openS3 } from './connector.ts';
import { readSettings } from './settings.ts';

/** A bucket of Amazon S3, or of a server that speaks like it. */
export default defineConnector({
  kind: 's3',
  serves: 'files',
  summary: 'A bucket of Amazon S3 or of a server that speaks like it, or what is below a prefix in it.',
  config: Type.Object(
    {
      endpoint: Type.Optional(
        Type.String({
          pattern: '^https?://',
          maxLength: 2048,
          description: "Address of a server that is not Amazon's. Without it, Amazon S3 in that region.",
          examples: ['https://minio.acme.example:9000'],
        }),
      ),
      region: Type.String({
        pattern: '^[A-Za-z0-9-]{1,50}$',
        description: 'Region that requests are signed for. Servers that have none take us-east-1.',
        examples: ['eu-central-1'],
      }),
      bucket: Type.String({
        pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$',
        description: 'Name of the bucket.',
        examples: ['acme-orders'],
      }),
      prefix: Type.Optional(
        Type.String({
          maxLength: 900,
          description: 'Folder in the bucket that is the root of the endpoint; nothing outside of it is used.',
          examples: ['partners/acme'],
        }),
      ),
      accessKeyId: Type.Optional(
        Type.String({
          pattern: '^[\\x21-\\x7e]{1,200}$',
          description:
            'Names the secretAccessKey. Without it, the credentials of the machine that the worker runs on, where the operator lends them.',
        }),
      ),
      pathStyle: Type.Optional(
        Type.Boolean({
          description:
            'true: the bucket is in the path; false: in the name of the server. By default true with an endpoint, else false.',
        }),
      ),
      checksums: Type.Optional(
        Type.Boolean({
          default: true,
          description: 'false sends no checksums, for a server that refuses them. Then nothing is proven but the size.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  secrets: {
    secretAccessKey: { description: 'Secret key that belongs to accessKeyId.' },
    sessionToken: { description: 'Session token of temporary keys.' },
    ca: { description: 'Certificates of the authorities to trust, in PEM format, instead of the public ones.' },
  },
  lint(config, secretNames) {
    const mistakes: Array<{ field: string; message: string }> = [];
    const refuse = (field: string, message: string) => mistakes.push({ field, message });
    const url = config.endpoint === undefined ? undefined : URL.parse(config.endpoint);
    if (url === null) refuse('endpoint', 'is not an address such as https://minio.acme.example:9000');
    else if (url && (url.username !== '' || url.password !== ''))
      refuse('endpoint', 'holds credentials; they belong under accessKeyId and `secrets:`');
    else if (url && (url.pathname !== '/' || url.search !== '' || url.hash !== ''))
      refuse('endpoint', 'ends with the name and the port of the server: the bucket belongs under `bucket`');
    if (!isPath(config.prefix)) refuse('prefix', 'is no folder: no "." or "..", and no control characters');
    const hasSecret = secretNames.includes('secretAccessKey');
    if (config.accessKeyId !== undefined && !hasSecret)
      refuse('secrets', 'has no secretAccessKey, which accessKeyId needs');
    if (config.accessKeyId === undefined && hasSecret)
      refuse('accessKeyId', 'is missing: the secretAccessKey belongs to one');
    if (secretNames.includes('sessionToken') && !hasSecret)
      refuse('secrets', 'has a sessionToken, but no secretAccessKey that it belongs to');
    return mistakes;
  },
  open: ({ accessKeyId, ...config }, secrets, context) =>
    openS3(readSettings(config), { ...secrets, ...(accessKeyId !== undefined && { accessKeyId }) }, context),
});

function isPath(prefix: string | undefined): boolean {
  try {
    normalisePath(`/${prefix ?? ''}`);
    return true;
  } catch {
    return false;
  }
}

import { isAbsolute } from 'node:path';
import { Type } from 'typebox';
import { defineConnector } from '../contract.ts';
import { openLocal } from './connector.ts';

/** A folder of the machine that the worker runs on. Which folders may be used is the operator's setting, not the tenant's. */
export default defineConnector({
  kind: 'local',
  serves: 'files',
  summary: 'A folder on the machine of the worker.',
  config: Type.Object(
    {
      root: Type.String({
        minLength: 1,
        maxLength: 4096,
        description:
          'Absolute path of an existing folder that the operator allows (WAYBILL_LOCAL_ROOTS). Nothing outside it can be reached.',
        examples: ['/srv/in'],
      }),
      caseSensitive: Type.Optional(
        Type.Boolean({
          description:
            'Whether `A.csv` and `a.csv` are two files there. Default: as the system of the worker usually has it (Linux: true).',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  secrets: {},
  lint: (config) =>
    isAbsolute(config.root) ? [] : [{ field: 'root', message: 'must be an absolute path, such as /srv/in' }],
  open: (config, _secrets, context) => openLocal(config.root, context, config),
});

import { WaybillError } from '../../schema/errors.ts';
import type { ConnectorContext } from '../contract.ts';
import type { Credentials } from './signing.ts';

/**
 * The keys of the endpoint; without `accessKeyId`, those of the machine that the worker runs on: environment, profile, web identity,
 * container or instance, as Amazon's own programs find them. Throws forbidden when the operator does not lend those: a tenant's
 * configuration must not act as the host.
 */
export function chooseCredentials(
  accessKeyId: string | undefined,
  secrets: Record<string, string>,
  { awsCredentials }: Pick<ConnectorContext, 'awsCredentials'>,
): Credentials | (() => Promise<Credentials>) {
  if (accessKeyId !== undefined) {
    // A file that holds a secret often ends in a line break, which does not belong to it.
    const [secretAccessKey = '', sessionToken] = [secrets.secretAccessKey?.trim(), secrets.sessionToken?.trim()];
    if (sessionToken !== undefined && !/^[\x21-\x7e]+$/.test(sessionToken))
      throw new WaybillError('invalid', 'the secret sessionToken holds characters that no header can carry', {
        field: 'sessionToken',
      });
    return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
  }
  if (awsCredentials !== 'ambient')
    throw new WaybillError(
      'forbidden',
      'the endpoint has no accessKeyId, and the credentials of this machine are not lent to endpoints',
      {
        field: 'accessKeyId',
        advice: 'Give accessKeyId and secretAccessKey, or ask the operator to set WAYBILL_AWS_CREDENTIALS=ambient.',
      },
    );
  let chain: Promise<() => Promise<Credentials>> | undefined;
  return async () => {
    // Loaded by those who use it: it brings the clients of half a dozen services.
    chain ??= import('@aws-sdk/credential-provider-node').then(({ defaultProvider }) => defaultProvider());
    return (await chain)();
  };
}

import { createHash } from 'node:crypto';
import { expect } from 'vitest';
import { type GraphqlAnswer, post, startTestApi, type TestApi } from './api.ts';

/** An API where people sign in: `anna` (engineer), `ben` (operator), `olga` (owner) and `relay` (service), with applications 1001 and 1002. */
export interface SignIns {
  api: TestApi;
  /** The documented integers of the users. */
  userIds: Record<'anna' | 'ben' | 'olga' | 'relay', number>;
  /** Makes another user, who has `password`; gives the integer. */
  createUser(userName: string, role: string, key?: string): Promise<number>;
  /** As an operator of the installation would, in one statement: what depends on it has to be found by the next request. */
  suspend(isSuspended: boolean): Promise<unknown>;
  disable(userName: string): Promise<unknown>;
  /** One of the seven, without a credential. */
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  call(mutation: string, args: Record<string, unknown>, url?: string): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  open(more?: Record<string, unknown>): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  openImmutable(more?: Record<string, unknown>): Promise<any>;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  close(sessionId: string): Promise<any>;
  viewer(credential: string, url?: string): Promise<GraphqlAnswer>;
  /** What the next call with a session is answered: `alive`, or the status and the code. */
  codeOf(sessionId: string): Promise<string>;
  /** The events of the session of that text, in order. */
  eventsOf(sessionId: string): Promise<SessionEvent[]>;
  /** What is kept of refused sign-ins. */
  denials(): Promise<Array<Record<string, unknown>>>;
}

export interface SessionEvent extends Record<string, unknown> {
  type: string;
  data: Record<string, unknown>;
  clientVersion: string | null;
  ip: string | null;
  userString: string | null;
  principal: string | null;
  impersonator: string | null;
}

export const password = 'correct horse battery';
export const facts = { applicationId: 1001, clientVersion: 'test 1.0' };

export function hashOf(sessionId: string): Buffer {
  return createHash('sha256').update(sessionId).digest();
}

export async function startSignIns(): Promise<SignIns> {
  return signInsAt(await startTestApi(null));
}

/** The same at an API that has been started, in its first tenant. */
export async function signInsAt(api: TestApi): Promise<SignIns> {
  const createUser = async (userName: string, role: string, key = api.keys.a): Promise<number> => {
    const { body } = await api.graphql(
      key,
      'mutation($input: CreateUserInput!) { createUser(input: $input) { __typename ... on UserPayload { user { userId } } } }',
      { input: { userName, role, password, email: `${userName}@example.com` } },
    );
    expect(body.data?.createUser.user, JSON.stringify(body)).toBeDefined();
    return body.data.createUser.user.userId;
  };
  for (const id of [1001, 1002])
    await api.database.asOwner(
      `insert into application (tenant_id, id, name) values ($1::uuid, $2::int, 'application ' || $2::int)`,
      [api.database.tenants.a.tenantId, id],
    );
  const userIds = {
    anna: await createUser('anna', 'engineer'),
    ben: await createUser('ben', 'operator'),
    olga: await createUser('olga', 'owner'),
    relay: await createUser('relay', 'service'),
  };
  const call: SignIns['call'] = async (mutation, args, url = api.url) => {
    const given = Object.entries(args)
      .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
      .join(', ');
    const query = `mutation { ${mutation}(${given}) { ${mutation === 'close' ? closeAnswer : openAnswer} } }`;
    const { status, body } = await post(url, null, JSON.stringify({ query }));
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.errors, JSON.stringify(body.errors)).toBeUndefined();
    return body.data[mutation];
  };
  const viewer: SignIns['viewer'] = (credential, url = api.url) =>
    post(url, credential, JSON.stringify({ query: '{ viewer { tenant principal { name } } }' }));
  return {
    api,
    userIds,
    createUser,
    suspend: (isSuspended) =>
      api.database.asOwner('update tenant set suspended_at = case when $1 then now() end where id = $2', [
        ...[isSuspended, api.database.tenants.a.tenantId],
      ]),
    disable: (userName) => api.database.asOwner('update principal set disabled_at = now() where name = $1', [userName]),
    call,
    viewer,
    open: (more = {}) => call('open', { userName: 'anna', password, ...facts, ...more }),
    openImmutable: (more = {}) => call('openImmutable', { userName: 'anna', password, ...facts, ...more }),
    close: (sessionId) => call('close', { sessionId }),
    codeOf: async (sessionId) => {
      const { status, body } = await viewer(sessionId);
      return status === 200 ? 'alive' : `${status} ${body.errors[0].extensions.code}`;
    },
    eventsOf: (sessionId) => api.database.asOwner<SessionEvent>(sessionEvents, [hashOf(sessionId)]),
    denials: async () =>
      (await api.database.asOwner<{ data: Record<string, unknown> }>(deniedEvents)).map(({ data }) => data),
  };
}

const openAnswer = `__typename ... on UserError { code message path retryable }
  ... on SessionData { sessionId userId expiresAt user { userName role email firstName lastName } }`;
const closeAnswer = '__typename ... on UserError { code path } ... on ClosePayload { closed }';

const sessionEvents = `
  select e.type, e.data, e.client_version as "clientVersion", e.ip_address as ip, e.user_string as "userString",
         p.name as principal, i.name as impersonator
    from audit_event e join session s on s.id = e.session_id left join principal p on p.id = e.principal_id
    left join principal i on i.id = e.impersonator_id
   where s.token_hash = $1 order by e.created_at, e.id`;
const deniedEvents = `select data from audit_event where type = 'session.denied' order by created_at, id`;

import { createHash } from 'node:crypto';
import type { Sql } from '../../prisma/contract.ts';
import { WaybillError } from '../../schema/errors.ts';
import type { Json } from '../../schema/plan.ts';
import { limits } from '../limits.ts';

/**
 * Does the work once for a key: the same key with the same request gives the first answer for 24 hours, and of two
 * requests at once the second waits for the first. Runs in the caller's transaction; when that fails the key is free again.
 * Throws conflict (code IDEMPOTENCY_KEY_CONFLICT) when the key was used for another request.
 */
export async function once<Answer extends Json>(
  sql: Sql,
  tenantId: string,
  use: { operation: string; key: string; request: unknown },
  work: () => Promise<Answer>,
): Promise<Answer> {
  checkKey(use.key);
  const values = [tenantId, use.operation, use.key];
  const hash = requestHash(use.request);
  await sql.query(
    `delete from idempotency_key where tenant_id = $1::uuid and operation = $2::text and key = $3::text
        and created_at < now() - interval '24 hours'`,
    values,
  );
  const inserted = await sql.query(
    `insert into idempotency_key (tenant_id, operation, key, request_hash, answer)
      values ($1::uuid, $2::text, $3::text, $4::bytea, 'null'::jsonb) on conflict do nothing returning key`,
    [...values, hash],
  );
  if (inserted.length === 0) return firstAnswer<Answer>(sql, values, hash);

  const answer = await work();
  await sql.query(
    `update idempotency_key set answer = $4::jsonb where tenant_id = $1::uuid and operation = $2::text and key = $3::text`,
    [...values, JSON.stringify(answer)],
  );
  return answer;
}

/** Frees a key whose work came to nothing, so that the client may try again with it. */
export async function forget(sql: Sql, tenantId: string, operation: string, key: string): Promise<void> {
  await sql.query(
    'delete from idempotency_key where tenant_id = $1::uuid and operation = $2::text and key = $3::text',
    [tenantId, operation, key],
  );
}

async function firstAnswer<Answer>(sql: Sql, values: string[], hash: Buffer): Promise<Answer> {
  const [first] = await sql.query<{ same: boolean; answer: Answer }>(
    `select request_hash = $4::bytea as same, answer from idempotency_key
      where tenant_id = $1::uuid and operation = $2::text and key = $3::text`,
    [...values, hash],
  );
  if (first?.same) return first.answer;
  throw new WaybillError('conflict', 'the idempotency key was used for another request', {
    code: 'IDEMPOTENCY_KEY_CONFLICT',
    field: 'idempotencyKey',
  });
}

function checkKey(key: string): void {
  if (/^[\u0021-\u007e]+$/.test(key) && key.length <= limits.idempotencyKeyLength) return;
  const form = `1 to ${limits.idempotencyKeyLength} visible ASCII characters`;
  throw new WaybillError('invalid', `an idempotency key has ${form}`, { field: 'idempotencyKey' });
}

function requestHash(request: unknown): Buffer {
  return createHash('sha256')
    .update(JSON.stringify(sorted(request)))
    .digest();
}

/** The same value with the keys of its maps in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value ?? null;
  const entries = Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1));
  return entries.map(([key, entry]) => [key, sorted(entry)]);
}

import type { Store } from '../../prisma/contract.ts';
import { publicId } from '../../schema/names.ts';
import type { TestTenant } from './database.ts';

/** Public ids of one row of each kind. */
export type History = Record<
  | 'pipeline'
  | 'version'
  | 'run'
  | 'transfer'
  | 'delivery'
  | 'session'
  | 'principal'
  | 'endpoint'
  | 'webhook'
  | 'webhookDelivery'
  | 'auditEvent'
  | 'secret',
  string
>;

/** Writes what a run leaves behind, one row of each kind, as a worker would: for tests of what is read. */
export async function writeHistory(
  store: Store,
  { tenantId, principalId }: TestTenant,
  options: { status?: string; deliveryState?: string; path?: string } = {},
): Promise<History> {
  const { status = 'failed', deliveryState = 'failed', path = '/out/orders one.csv' } = options;
  const plan = {
    language: 'waybill/v1',
    pipeline: 'orders',
    description: 'Orders in',
    labels: { team: 'one' },
    inputs: {},
    endpoints: { partner: 'acme-sftp' },
    session: { application: 10, as: null },
    steps: [],
    onError: [],
    finally: [],
    outputs: {},
  };
  const [row] = await store.sql(tenantId, (sql) =>
    sql.query<Record<keyof History, string>>(writeAll, [
      tenantId,
      principalId,
      JSON.stringify(plan),
      status,
      deliveryState,
      path,
    ]),
  );
  const {
    pipeline,
    version,
    run,
    transfer,
    delivery,
    session,
    endpoint,
    webhook,
    webhookDelivery,
    auditEvent,
    secret,
  } = row!;
  return {
    pipeline: publicId('pipeline', pipeline),
    version: publicId('pipelineVersion', version),
    run: publicId('run', run),
    transfer: publicId('transfer', transfer),
    delivery: publicId('delivery', delivery),
    session: publicId('session', session),
    principal: publicId('principal', principalId),
    endpoint: publicId('endpoint', endpoint),
    webhook: publicId('webhook', webhook),
    webhookDelivery: publicId('webhookDelivery', webhookDelivery),
    auditEvent: publicId('auditEvent', auditEvent),
    secret: publicId('secret', secret),
  };
}

const writeAll = `
  with id as (select uuidv7() as pipeline, uuidv7() as version, uuidv7() as run, uuidv7() as transfer, uuidv7() as delivery,
    uuidv7() as session, uuidv7() as endpoint, uuidv7() as webhook, uuidv7() as webhook_delivery, uuidv7() as event, uuidv7() as secret),
  a as (insert into pipeline (tenant_id, id, name, live_version_hash) select $1::uuid, pipeline, 'orders', repeat('ab', 32) from id),
  b as (insert into pipeline_version (tenant_id, id, pipeline_id, hash, source, plan, published_by)
    select $1::uuid, version, pipeline, repeat('ab', 32), 'pipeline: orders', $3::jsonb, $2::uuid from id),
  c as (insert into session (tenant_id, id, principal_id, application_id, kind, expires_at)
    select $1::uuid, session, $2::uuid, 10, 'concurrent', now() + interval '1 day' from id),
  d as (insert into run (tenant_id, id, version_id, pipeline_name, session_id, status, trigger, inputs, workflow_id, created_by, started_at, failed)
    select $1::uuid, run, version, 'orders', session, $4::text, 'manual', '{}', $1::text || '/orders/' || run, $2::uuid, now(), 1 from id),
  e as (insert into transfer (tenant_id, id, run_id, step, step_key, source_endpoint, target_endpoint, options, status)
    select $1::uuid, transfer, run, 'copy', 'steps[0]', 'acme-sftp', 'landing-zone', '{}', 'failed' from id),
  f as (insert into delivery (tenant_id, id, transfer_id, run_id, batch, delivery_key, state, source_endpoint, source_path, source_size,
      target_endpoint, target_path, bytes_done, sha256, error_kind, error_message, attempt)
    select $1::uuid, delivery, transfer, run, 0, decode(md5(delivery::text), 'hex'), $5::text, 'acme-sftp', $6::text, 12,
      'landing-zone', '/in' || $6::text, 12, decode(repeat('cd', 32), 'hex'), 'forbidden', 'no right to write', 2 from id),
  g as (insert into connector_endpoint (tenant_id, id, name, connector, config, secret_refs, content_hash)
    select $1::uuid, endpoint, 'acme-sftp', 'sftp', '{"host":"acme.example"}', '{"password":"endpoint/acme-sftp/password"}', 'x' from id),
  h as (insert into webhook (tenant_id, id, name, url, events, event_patterns, secret_ref, content_hash)
    select $1::uuid, webhook, 'orders', 'https://partner.example/hook', '{orders.*}', '{orders.%}', 'webhook/orders/signing', 'x' from id),
  i as (insert into audit_event (tenant_id, id, type, principal_id, session_id, run_id, transfer_id, delivery_id, outcome, data)
    select $1::uuid, event, 'orders.received', $2::uuid, session, run, transfer, delivery, 'success', '{"canary":"of one tenant"}' from id),
  j as (insert into webhook_delivery (tenant_id, id, webhook_id, message_id, run_id, type, body, state, attempts)
    select $1::uuid, webhook_delivery, webhook, 'msg_' || replace(event::text, '-', ''), run, 'orders.received', '{}', 'delivered', 1 from id),
  k as (insert into secret (tenant_id, id, name, ciphertext, digest)
    select $1::uuid, secret, 'shared-password', '\\x00', 'x' from id)
  select pipeline, version, run, transfer, delivery, session, endpoint, webhook, webhook_delivery as "webhookDelivery", event as "auditEvent", secret from id`;

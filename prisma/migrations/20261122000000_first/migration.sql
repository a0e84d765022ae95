-- CreateTable
CREATE TABLE "tenant" (
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "tenant_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "credential_index" (
    "hash" BYTEA NOT NULL,
    "kind" TEXT NOT NULL,
    "tenant_id" UUID NOT NULL,
    "credential_id" UUID NOT NULL,

    CONSTRAINT "credential_index_pkey" PRIMARY KEY ("hash")
);

-- CreateTable
CREATE TABLE "principal" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "kind" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "role" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "principal_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "principal_grant" (
    "tenant_id" UUID NOT NULL,
    "principal_id" UUID NOT NULL,
    "action" TEXT NOT NULL,
    "target" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "created_by" UUID NOT NULL,

    CONSTRAINT "principal_grant_pkey" PRIMARY KEY ("tenant_id","principal_id","action","target")
);

-- CreateTable
CREATE TABLE "api_key" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "principal_id" UUID NOT NULL,
    "name" TEXT NOT NULL,
    "key_id" TEXT NOT NULL,
    "hash" BYTEA NOT NULL,
    "scopes" TEXT[],
    "allowed_cidrs" TEXT[] DEFAULT ARRAY[]::TEXT[],
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "last_used_at" TIMESTAMPTZ(3),
    "revoked_at" TIMESTAMPTZ(3),

    CONSTRAINT "api_key_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "session" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "principal_id" UUID NOT NULL,
    "application_id" INTEGER NOT NULL,
    "kind" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,
    "ended_at" TIMESTAMPTZ(3),
    "end_reason" TEXT,
    "run_id" UUID,

    CONSTRAINT "session_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "connector_endpoint" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "connector" TEXT NOT NULL,
    "config" JSONB NOT NULL,
    "limits" JSONB NOT NULL DEFAULT '{}',
    "secret_refs" JSONB NOT NULL DEFAULT '{}',
    "content_hash" TEXT NOT NULL,
    "version" INTEGER NOT NULL DEFAULT 1,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "checked_at" TIMESTAMPTZ(3),
    "check_ok" BOOLEAN,
    "check_report" JSONB,

    CONSTRAINT "connector_endpoint_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "secret" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "ciphertext" BYTEA NOT NULL,
    "digest" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "secret_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "pipeline" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "live_version_hash" TEXT NOT NULL,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "removed_at" TIMESTAMPTZ(3),

    CONSTRAINT "pipeline_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "pipeline_version" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "pipeline_id" UUID NOT NULL,
    "hash" TEXT NOT NULL,
    "source" TEXT NOT NULL,
    "plan" JSONB NOT NULL,
    "published_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "published_by" UUID NOT NULL,

    CONSTRAINT "pipeline_version_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "run" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "version_id" UUID,
    "pipeline_name" TEXT NOT NULL,
    "session_id" UUID,
    "status" TEXT NOT NULL,
    "trigger" TEXT NOT NULL,
    "retry_of" UUID,
    "retry_deliveries" UUID[] DEFAULT ARRAY[]::UUID[],
    "inputs" JSONB NOT NULL DEFAULT '{}',
    "outputs" JSONB,
    "error" JSONB,
    "workflow_id" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "created_by" UUID NOT NULL,
    "started_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    "cancel_requested_at" TIMESTAMPTZ(3),
    "paused_at" TIMESTAMPTZ(3),
    "paused_by" UUID,
    "pause_reason" TEXT,
    "control_pending" BOOLEAN NOT NULL DEFAULT false,
    "waiting_for" TEXT,
    "concurrency_key" TEXT,
    "concurrency_limit" INTEGER,
    "inputs_digest" TEXT,
    "files" INTEGER NOT NULL DEFAULT 0,
    "bytes" BIGINT NOT NULL DEFAULT 0,
    "skipped" INTEGER NOT NULL DEFAULT 0,
    "failed" INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT "run_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "file_set_item" (
    "tenant_id" UUID NOT NULL,
    "set_id" UUID NOT NULL,
    "ordinal" INTEGER NOT NULL,
    "run_id" UUID NOT NULL,
    "endpoint" TEXT NOT NULL,
    "path" TEXT NOT NULL,
    "size" BIGINT NOT NULL,
    "modified" TEXT,

    CONSTRAINT "file_set_item_pkey" PRIMARY KEY ("tenant_id","set_id","ordinal")
);

-- CreateTable
CREATE TABLE "transfer" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "run_id" UUID NOT NULL,
    "step" TEXT NOT NULL,
    "step_key" TEXT NOT NULL,
    "source_endpoint" TEXT NOT NULL,
    "target_endpoint" TEXT NOT NULL,
    "options" JSONB NOT NULL,
    "status" TEXT NOT NULL,
    "planned_at" TIMESTAMPTZ(3),
    "batches" INTEGER NOT NULL DEFAULT 0,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "ended_at" TIMESTAMPTZ(3),

    CONSTRAINT "transfer_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "delivery" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "transfer_id" UUID NOT NULL,
    "run_id" UUID NOT NULL,
    "batch" INTEGER NOT NULL,
    "delivery_key" BYTEA NOT NULL,
    "state" TEXT NOT NULL,
    "source_endpoint" TEXT NOT NULL,
    "source_path" TEXT NOT NULL,
    "source_size" BIGINT NOT NULL,
    "source_modified" TEXT,
    "target_endpoint" TEXT NOT NULL,
    "target_path" TEXT NOT NULL,
    "bytes_done" BIGINT NOT NULL DEFAULT 0,
    "sha256" BYTEA,
    "evidence" TEXT,
    "temporary_path" TEXT,
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "duplicate_of" UUID,
    "disposed_path" TEXT,
    "error_kind" TEXT,
    "error_message" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "published_at" TIMESTAMPTZ(3),

    CONSTRAINT "delivery_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "delivery_claim" (
    "tenant_id" UUID NOT NULL,
    "delivery_key" BYTEA NOT NULL,
    "delivery_id" UUID NOT NULL,
    "owner" TEXT NOT NULL,
    "lease_until" TIMESTAMPTZ(3) NOT NULL,
    "delivered_at" TIMESTAMPTZ(3),

    CONSTRAINT "delivery_claim_pkey" PRIMARY KEY ("tenant_id","delivery_key")
);

-- CreateTable
CREATE TABLE "webhook" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "url" TEXT NOT NULL,
    "events" TEXT[],
    "event_patterns" TEXT[],
    "secret_ref" TEXT NOT NULL,
    "content_hash" TEXT NOT NULL,
    "version" INTEGER NOT NULL DEFAULT 1,
    "updated_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "webhook_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "webhook_delivery" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "webhook_id" UUID NOT NULL,
    "message_id" TEXT NOT NULL,
    "run_id" UUID,
    "type" TEXT NOT NULL,
    "body" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "attempts" INTEGER NOT NULL DEFAULT 0,
    "last_status" INTEGER,
    "last_error" TEXT,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "delivered_at" TIMESTAMPTZ(3),

    CONSTRAINT "webhook_delivery_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "audit_event" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "type" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "principal_id" UUID,
    "session_id" UUID,
    "application_id" INTEGER,
    "run_id" UUID,
    "transfer_id" UUID,
    "delivery_id" UUID,
    "outcome" TEXT NOT NULL,
    "data" JSONB NOT NULL,
    "dedupe_key" TEXT,

    CONSTRAINT "audit_event_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateTable
CREATE TABLE "idempotency_key" (
    "tenant_id" UUID NOT NULL,
    "operation" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "request_hash" BYTEA NOT NULL,
    "answer" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_key_pkey" PRIMARY KEY ("tenant_id","operation","key")
);

-- CreateIndex
CREATE INDEX "session_tenant_id_run_id_idx" ON "session"("tenant_id", "run_id");

-- CreateIndex
CREATE UNIQUE INDEX "tenant_name_key" ON "tenant"("name");

-- CreateIndex
CREATE UNIQUE INDEX "principal_tenant_id_name_key" ON "principal"("tenant_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "api_key_tenant_id_key_id_key" ON "api_key"("tenant_id", "key_id");

-- CreateIndex
CREATE UNIQUE INDEX "connector_endpoint_tenant_id_name_key" ON "connector_endpoint"("tenant_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "secret_tenant_id_name_key" ON "secret"("tenant_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "pipeline_tenant_id_name_key" ON "pipeline"("tenant_id", "name");

-- CreateIndex
CREATE UNIQUE INDEX "pipeline_version_tenant_id_pipeline_id_hash_key" ON "pipeline_version"("tenant_id", "pipeline_id", "hash");

-- CreateIndex
CREATE INDEX "run_tenant_id_created_at_id_idx" ON "run"("tenant_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "run_tenant_id_pipeline_name_created_at_idx" ON "run"("tenant_id", "pipeline_name", "created_at");

-- CreateIndex
CREATE INDEX "run_tenant_id_concurrency_key_status_idx" ON "run"("tenant_id", "concurrency_key", "status");

-- CreateIndex
CREATE INDEX "file_set_item_tenant_id_run_id_idx" ON "file_set_item"("tenant_id", "run_id");

-- CreateIndex
CREATE INDEX "transfer_tenant_id_created_at_id_idx" ON "transfer"("tenant_id", "created_at", "id");

-- CreateIndex
CREATE UNIQUE INDEX "transfer_tenant_id_run_id_step_key_key" ON "transfer"("tenant_id", "run_id", "step_key");

-- CreateIndex
CREATE INDEX "delivery_tenant_id_transfer_id_batch_idx" ON "delivery"("tenant_id", "transfer_id", "batch");

-- CreateIndex
CREATE INDEX "delivery_tenant_id_run_id_state_idx" ON "delivery"("tenant_id", "run_id", "state");

-- CreateIndex
CREATE INDEX "delivery_source_path_idx" ON "delivery" USING SPGIST ("source_path");

-- CreateIndex
CREATE INDEX "delivery_target_path_idx" ON "delivery" USING SPGIST ("target_path");

-- CreateIndex
CREATE INDEX "delivery_tenant_id_sha256_idx" ON "delivery"("tenant_id", "sha256");

-- CreateIndex
CREATE INDEX "delivery_tenant_id_created_at_id_idx" ON "delivery"("tenant_id", "created_at", "id");

-- CreateIndex
CREATE UNIQUE INDEX "webhook_tenant_id_name_key" ON "webhook"("tenant_id", "name");

-- CreateIndex
CREATE INDEX "webhook_delivery_state_created_at_idx" ON "webhook_delivery"("state", "created_at");

-- CreateIndex
CREATE UNIQUE INDEX "webhook_delivery_tenant_id_webhook_id_message_id_key" ON "webhook_delivery"("tenant_id", "webhook_id", "message_id");

-- CreateIndex
CREATE INDEX "audit_event_tenant_id_created_at_id_idx" ON "audit_event"("tenant_id", "created_at", "id");

-- CreateIndex
CREATE INDEX "audit_event_tenant_id_run_id_idx" ON "audit_event"("tenant_id", "run_id");

-- CreateIndex
CREATE UNIQUE INDEX "audit_event_tenant_id_dedupe_key_key" ON "audit_event"("tenant_id", "dedupe_key");

-- AddForeignKey
ALTER TABLE "principal_grant" ADD CONSTRAINT "principal_grant_tenant_id_principal_id_fkey" FOREIGN KEY ("tenant_id", "principal_id") REFERENCES "principal"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "api_key" ADD CONSTRAINT "api_key_tenant_id_principal_id_fkey" FOREIGN KEY ("tenant_id", "principal_id") REFERENCES "principal"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "session" ADD CONSTRAINT "session_tenant_id_principal_id_fkey" FOREIGN KEY ("tenant_id", "principal_id") REFERENCES "principal"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "pipeline_version" ADD CONSTRAINT "pipeline_version_tenant_id_pipeline_id_fkey" FOREIGN KEY ("tenant_id", "pipeline_id") REFERENCES "pipeline"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "run" ADD CONSTRAINT "run_tenant_id_version_id_fkey" FOREIGN KEY ("tenant_id", "version_id") REFERENCES "pipeline_version"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "run" ADD CONSTRAINT "run_tenant_id_session_id_fkey" FOREIGN KEY ("tenant_id", "session_id") REFERENCES "session"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "transfer" ADD CONSTRAINT "transfer_tenant_id_run_id_fkey" FOREIGN KEY ("tenant_id", "run_id") REFERENCES "run"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "delivery" ADD CONSTRAINT "delivery_tenant_id_transfer_id_fkey" FOREIGN KEY ("tenant_id", "transfer_id") REFERENCES "transfer"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "webhook_delivery" ADD CONSTRAINT "webhook_delivery_tenant_id_webhook_id_fkey" FOREIGN KEY ("tenant_id", "webhook_id") REFERENCES "webhook"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "audit_event" ADD CONSTRAINT "audit_event_tenant_id_run_id_fkey" FOREIGN KEY ("tenant_id", "run_id") REFERENCES "run"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- From here on by hand: what Prisma's schema cannot say.

-- The states of schema/plan.ts and of schema.prisma's comments; a test keeps them the same.
alter table principal add constraint principal_kind check (kind in ('user', 'service'));
alter table principal add constraint principal_role check (role in ('owner', 'engineer', 'operator', 'auditor', 'uploader', 'service'));
alter table principal_grant add constraint principal_grant_action check (action in ('actAs', 'use'));
alter table session add constraint session_kind check (kind in ('replaceable', 'concurrent'));
alter table run add constraint run_status check (status in ('starting', 'running', 'succeeded', 'partial', 'failed', 'cancelled', 'refused'));
alter table transfer add constraint transfer_status check (status in ('running', 'succeeded', 'failed', 'cancelled'));
alter table delivery add constraint delivery_state
  check (state in ('planned', 'copying', 'verified', 'published', 'settled', 'held', 'failed', 'skipped', 'cancelled'));
alter table webhook_delivery add constraint webhook_delivery_state check (state in ('pending', 'retrying', 'delivered', 'failed'));
alter table audit_event add constraint audit_event_outcome check (outcome in ('success', 'failure'));

-- The roles that the privileges and policies below name. migrate.ts gives them a login, or makes login roles that are
-- members of them. Roles belong to the whole cluster, so another database may have made them already.
do $$
declare
  role_name text;
begin
  foreach role_name in array array['waybill_app', 'waybill_system'] loop
    if not exists (select from pg_roles where rolname = role_name) then
      execute format('create role %I nologin nosuperuser nobypassrls nocreatedb nocreaterole noreplication', role_name);
    end if;
  end loop;
exception
  when duplicate_object or unique_violation then null;
end
$$;

grant usage on schema public to waybill_app, waybill_system;

-- The wall between tenants. The setting is an empty string, not null, once a pooled connection has had it. FORCE puts the
-- owner behind it too. Every later migration that adds a table with tenant_id repeats the three statements; the start-up
-- self-check of store.ts refuses to serve when one lacks them.
do $$
declare
  walled text;
begin
  for walled in
    select format('%I.%I', table_schema, table_name) from information_schema.columns
    where table_schema = 'public' and column_name = 'tenant_id'
  loop
    execute format('alter table %s enable row level security', walled);
    execute format('alter table %s force row level security', walled);
    execute format(
      'create policy tenant_wall on %s using (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid) '
      'with check (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid)', walled);
  end loop;
end
$$;

alter table tenant enable row level security;
alter table tenant force row level security;
create policy tenant_wall on tenant
  using (id = (select nullif(current_setting('app.tenant_id', true), ''))::uuid)
  with check (id = (select nullif(current_setting('app.tenant_id', true), ''))::uuid);

-- What the application may do to its own tenant's rows. Versions and audit events are never changed, runs and their
-- ledger never deleted.
grant select on tenant to waybill_app;
grant select, insert on audit_event, pipeline_version, credential_index to waybill_app;
grant select, insert, update on principal, api_key, session, pipeline, run, transfer, delivery to waybill_app;
grant select, insert, update, delete
  on connector_endpoint, secret, file_set_item, delivery_claim, webhook, webhook_delivery, idempotency_key to waybill_app;
grant select, insert, delete on principal_grant to waybill_app;

-- What the system role sees across tenants: the outbox, and which runs, sessions and leases
-- the sweeps have to look at. It changes tenants' rows nowhere but in the outbox.
grant select, insert on tenant to waybill_system;
create policy system_tenants on tenant for select to waybill_system using (true);
create policy system_founds on tenant for insert to waybill_system with check (true);

-- A credential says itself where it belongs: whoever has its hash may see that one row, before the tenant is known.
create policy credential_by_hash on credential_index for select to waybill_app
  using (hash = decode(nullif(current_setting('app.credential', true), ''), 'hex'));

grant select on webhook_delivery to waybill_system;
grant update (state, attempts, last_status, last_error, delivered_at) on webhook_delivery to waybill_system;
create policy system_reads on webhook_delivery for select to waybill_system using (true);
create policy system_sends on webhook_delivery for update to waybill_system using (true) with check (true);
grant select (tenant_id, id, name, url, secret_ref, version, disabled_at) on webhook to waybill_system;
create policy system_reads on webhook for select to waybill_system using (true);

grant select (tenant_id, id, pipeline_name, session_id, status, workflow_id, created_at, started_at, ended_at, cancel_requested_at,
  control_pending)
  on run to waybill_system;
create policy system_sweeps on run for select to waybill_system using (true);
grant select (tenant_id, id, principal_id, application_id, kind, created_at, expires_at, ended_at) on session to waybill_system;
create policy system_sweeps on session for select to waybill_system using (true);
grant select on delivery_claim to waybill_system;
create policy system_sweeps on delivery_claim for select to waybill_system using (true);
grant select (tenant_id, operation, key, created_at), delete on idempotency_key to waybill_system;
create policy system_sweeps on idempotency_key for select to waybill_system using (true);
create policy system_forgets on idempotency_key for delete to waybill_system using (created_at < now() - interval '24 hours');

-- The version of a source also is its etag, where the server has one, and an unfinished write is named by a token.
ALTER TABLE "file_set_item" ADD COLUMN "etag" TEXT;
ALTER TABLE "delivery" ADD COLUMN "source_etag" TEXT;
ALTER TABLE "delivery" ADD COLUMN "sink_token" JSONB;
ALTER TABLE "delivery" ADD COLUMN "error_endpoint" TEXT;
ALTER TABLE "delivery" ADD COLUMN "target" INTEGER NOT NULL DEFAULT 0;
-- An endpoint can be paused; what it bears is leased to workers; its failures in a row open its breaker; its checks are kept.
ALTER TABLE "connector_endpoint" ADD COLUMN "paused_at" TIMESTAMPTZ(3), ADD COLUMN "paused_until" TIMESTAMPTZ(3),
  ADD COLUMN "paused_by" UUID, ADD COLUMN "pause_reason" TEXT;

CREATE TABLE "endpoint_lease" (
    "tenant_id" UUID NOT NULL,
    "endpoint_id" UUID NOT NULL,
    "owner" UUID NOT NULL,
    "wanted" INTEGER NOT NULL DEFAULT 0,
    "slots" INTEGER NOT NULL DEFAULT 0,
    "moves" BOOLEAN NOT NULL DEFAULT false,
    "bytes_per_second" BIGINT NOT NULL DEFAULT 0,
    "lease_until" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "endpoint_lease_pkey" PRIMARY KEY ("tenant_id","endpoint_id","owner")
);
CREATE TABLE "endpoint_breaker" (
    "tenant_id" UUID NOT NULL,
    "endpoint_id" UUID NOT NULL,
    "credential" TEXT NOT NULL,
    "failures" INTEGER NOT NULL DEFAULT 0,
    "openings" INTEGER NOT NULL DEFAULT 0,
    "open_until" TIMESTAMPTZ(3),
    "trial_until" TIMESTAMPTZ(3),
    "error_kind" TEXT NOT NULL,
    "error_message" TEXT NOT NULL,

    CONSTRAINT "endpoint_breaker_pkey" PRIMARY KEY ("tenant_id","endpoint_id")
);
CREATE TABLE "endpoint_check" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "endpoint_id" UUID NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "ok" BOOLEAN NOT NULL,
    "report" JSONB NOT NULL,

    CONSTRAINT "endpoint_check_pkey" PRIMARY KEY ("tenant_id","id")
);
CREATE TABLE "run_hold" (
    "tenant_id" UUID NOT NULL,
    "run_id" UUID NOT NULL,
    "endpoint_id" UUID NOT NULL,
    "reason" TEXT NOT NULL,
    "until" TIMESTAMPTZ(3),

    CONSTRAINT "run_hold_pkey" PRIMARY KEY ("tenant_id","run_id","endpoint_id")
);
CREATE INDEX "endpoint_check_tenant_id_endpoint_id_created_at_id_idx" ON "endpoint_check"("tenant_id", "endpoint_id", "created_at", "id");
CREATE INDEX "run_hold_tenant_id_endpoint_id_idx" ON "run_hold"("tenant_id", "endpoint_id");

ALTER TABLE "endpoint_lease" ADD CONSTRAINT "endpoint_lease_tenant_id_endpoint_id_fkey"
  FOREIGN KEY ("tenant_id", "endpoint_id") REFERENCES "connector_endpoint"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "endpoint_breaker" ADD CONSTRAINT "endpoint_breaker_tenant_id_endpoint_id_fkey"
  FOREIGN KEY ("tenant_id", "endpoint_id") REFERENCES "connector_endpoint"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "endpoint_check" ADD CONSTRAINT "endpoint_check_tenant_id_endpoint_id_fkey"
  FOREIGN KEY ("tenant_id", "endpoint_id") REFERENCES "connector_endpoint"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "run_hold" ADD CONSTRAINT "run_hold_tenant_id_run_id_fkey"
  FOREIGN KEY ("tenant_id", "run_id") REFERENCES "run"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "run_hold" ADD CONSTRAINT "run_hold_tenant_id_endpoint_id_fkey"
  FOREIGN KEY ("tenant_id", "endpoint_id") REFERENCES "connector_endpoint"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- The wall between tenants.
do $$
declare
  walled text;
begin
  foreach walled in array array['endpoint_lease', 'endpoint_breaker', 'endpoint_check', 'run_hold']
  loop
    execute format('alter table %I enable row level security', walled);
    execute format('alter table %I force row level security', walled);
    execute format(
      'create policy tenant_wall on %I using (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid) '
      'with check (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid)', walled);
  end loop;
end
$$;
grant select, insert, update, delete on endpoint_lease, endpoint_breaker, endpoint_check, run_hold to waybill_app;

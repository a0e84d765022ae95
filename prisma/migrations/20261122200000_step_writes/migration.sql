-- Where a step is about to write a small file: what its worker leaves there, when it is killed for good, is found by the sweep.
CREATE TABLE "step_write" (
    "tenant_id" UUID NOT NULL,
    "run_id" UUID NOT NULL,
    "step_key" TEXT NOT NULL,
    "endpoint_id" UUID NOT NULL,
    "folder" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "step_write_pkey" PRIMARY KEY ("tenant_id","run_id","step_key")
);
CREATE INDEX "step_write_tenant_id_endpoint_id_idx" ON "step_write"("tenant_id", "endpoint_id");

ALTER TABLE "step_write" ADD CONSTRAINT "step_write_tenant_id_run_id_fkey"
  FOREIGN KEY ("tenant_id", "run_id") REFERENCES "run"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;
ALTER TABLE "step_write" ADD CONSTRAINT "step_write_tenant_id_endpoint_id_fkey"
  FOREIGN KEY ("tenant_id", "endpoint_id") REFERENCES "connector_endpoint"("tenant_id", "id") ON DELETE CASCADE ON UPDATE CASCADE;

-- The wall between tenants.
alter table step_write enable row level security;
alter table step_write force row level security;
create policy tenant_wall on step_write using (tenant_id = (select nullif(current_setting('app.tenant_id', true), ''))::uuid)
  with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), ''))::uuid);
grant select, insert, update, delete on step_write to waybill_app;

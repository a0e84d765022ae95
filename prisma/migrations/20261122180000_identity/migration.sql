-- Who signs in, with what, and what a session carries into the log.
ALTER TABLE "tenant" ADD COLUMN     "impersonation_reason" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "suspended_at" TIMESTAMPTZ(3);

ALTER TABLE "principal" ADD COLUMN     "email" TEXT,
ADD COLUMN     "first_name" TEXT,
ADD COLUMN     "last_name" TEXT,
ADD COLUMN     "user_number" INTEGER NOT NULL DEFAULT 0;

ALTER TABLE "api_key" ADD COLUMN     "rotated_to" UUID;

ALTER TABLE "session" ADD COLUMN     "client_version" TEXT,
ADD COLUMN     "impersonator_id" UUID,
ADD COLUMN     "ip_address" TEXT,
ADD COLUMN     "last_used_at" TIMESTAMPTZ(3),
ADD COLUMN     "method" TEXT,
ADD COLUMN     "parent_id" UUID,
ADD COLUMN     "reason" TEXT,
ADD COLUMN     "token_hash" BYTEA,
ADD COLUMN     "user_string" TEXT;

ALTER TABLE "audit_event" ADD COLUMN     "client_version" TEXT,
ADD COLUMN     "impersonator_id" UUID,
ADD COLUMN     "ip_address" TEXT,
ADD COLUMN     "user_string" TEXT;

CREATE TABLE "tenant_host" (
    "tenant_id" UUID NOT NULL,
    "host" TEXT NOT NULL,

    CONSTRAINT "tenant_host_pkey" PRIMARY KEY ("tenant_id","host")
);

CREATE TABLE "tenant_key" (
    "tenant_id" UUID NOT NULL,
    "version" INTEGER NOT NULL,
    "wrapped" BYTEA NOT NULL,
    "master_key_id" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retired_at" TIMESTAMPTZ(3),

    CONSTRAINT "tenant_key_pkey" PRIMARY KEY ("tenant_id","version")
);

CREATE TABLE "principal_password" (
    "tenant_id" UUID NOT NULL,
    "principal_id" UUID NOT NULL,
    "hash" TEXT NOT NULL,
    "set_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "one_time" BOOLEAN NOT NULL DEFAULT false,
    "failures" INTEGER NOT NULL DEFAULT 0,
    "locked_until" TIMESTAMPTZ(3),
    "totp" BYTEA,
    "totp_since" TIMESTAMPTZ(3),
    "totp_last_step" BIGINT,

    CONSTRAINT "principal_password_pkey" PRIMARY KEY ("tenant_id","principal_id")
);

CREATE TABLE "application" (
    "tenant_id" UUID NOT NULL,
    "id" INTEGER NOT NULL,
    "name" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "application_pkey" PRIMARY KEY ("tenant_id","id")
);

CREATE TABLE "integration" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "name" TEXT NOT NULL,
    "site" TEXT NOT NULL,
    "legacy" BOOLEAN NOT NULL DEFAULT false,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "disabled_at" TIMESTAMPTZ(3),

    CONSTRAINT "integration_pkey" PRIMARY KEY ("tenant_id","id")
);

CREATE TABLE "integration_key" (
    "tenant_id" UUID NOT NULL,
    "id" UUID NOT NULL DEFAULT uuidv7(),
    "integration_id" UUID NOT NULL,
    "kid" TEXT NOT NULL,
    "ciphertext" BYTEA NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "ends_at" TIMESTAMPTZ(3),
    "reminded_days" INTEGER,

    CONSTRAINT "integration_key_pkey" PRIMARY KEY ("tenant_id","id")
);

CREATE TABLE "ticket_use" (
    "tenant_id" UUID NOT NULL,
    "hash" BYTEA NOT NULL,
    "expires_at" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "ticket_use_pkey" PRIMARY KEY ("tenant_id","hash")
);

-- Each principal has a number in its tenant, in the order in which they came. The owner of the table is behind the wall
-- too, which stands aside for this statement.
alter table principal no force row level security;
update principal p set user_number = numbered.number
  from (select tenant_id, id, row_number() over (partition by tenant_id order by created_at, id) as number from principal) numbered
 where p.tenant_id = numbered.tenant_id and p.id = numbered.id;
alter table principal force row level security;

CREATE UNIQUE INDEX "application_tenant_id_name_key" ON "application"("tenant_id", "name");

CREATE UNIQUE INDEX "integration_tenant_id_name_key" ON "integration"("tenant_id", "name");

CREATE INDEX "integration_key_tenant_id_integration_id_idx" ON "integration_key"("tenant_id", "integration_id");

CREATE UNIQUE INDEX "integration_key_tenant_id_kid_key" ON "integration_key"("tenant_id", "kid");

CREATE INDEX "ticket_use_expires_at_idx" ON "ticket_use"("expires_at");

CREATE UNIQUE INDEX "principal_tenant_id_user_number_key" ON "principal"("tenant_id", "user_number");

CREATE INDEX "session_tenant_id_parent_id_idx" ON "session"("tenant_id", "parent_id");

CREATE INDEX "session_tenant_id_principal_id_application_id_idx" ON "session"("tenant_id", "principal_id", "application_id");

ALTER TABLE "principal_password" ADD CONSTRAINT "principal_password_tenant_id_principal_id_fkey" FOREIGN KEY ("tenant_id", "principal_id") REFERENCES "principal"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

ALTER TABLE "integration_key" ADD CONSTRAINT "integration_key_tenant_id_integration_id_fkey" FOREIGN KEY ("tenant_id", "integration_id") REFERENCES "integration"("tenant_id", "id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- From here on by hand.

-- Names are told apart without case: a ticket carries them as a directory writes them. Two accounts of one name stop this.
create unique index principal_name_in_any_case on principal (tenant_id, lower(name));
create unique index principal_email_in_any_case on principal (tenant_id, lower(email)) where email is not null;
create unique index session_token on session (tenant_id, token_hash) where token_hash is not null;
-- A session that is replaced and the one that replaces it change places in one transaction.
create unique index session_replaceable on session (tenant_id, principal_id, application_id)
  where kind = 'replaceable' and ended_at is null;
create index session_live on session (expires_at) where ended_at is null;
alter table application add constraint application_of_customers check (id >= 1000);
alter table session add constraint session_user_string check (length(user_string) <= 255);

-- The next number of the tenant. The lock keeps two at once from taking the same.
create function number_principal() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
  if new.user_number = 0 then
    perform pg_advisory_xact_lock(hashtextextended('principal/' || new.tenant_id, 0));
    select coalesce(max(user_number), 0) + 1 into new.user_number from principal where tenant_id = new.tenant_id;
  end if;
  return new;
end
$$;
create trigger principal_number before insert on principal for each row execute function number_principal();

-- The wall between tenants.
do $$
declare
  walled text;
begin
  foreach walled in array array['tenant_host', 'tenant_key', 'principal_password', 'application', 'integration', 'integration_key', 'ticket_use']
  loop
    execute format('alter table %I enable row level security', walled);
    execute format('alter table %I force row level security', walled);
    execute format(
      'create policy tenant_wall on %I using (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid) '
      'with check (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), ''''))::uuid)', walled);
  end loop;
end
$$;
grant select on tenant_host to waybill_app;
grant select, insert, update on tenant_key, application, integration, integration_key to waybill_app;
grant select, insert, update, delete on principal_password, ticket_use to waybill_app;

-- What sweeps see across tenants.
grant select (method, parent_id, last_used_at) on session to waybill_system;
grant select, delete on ticket_use to waybill_system;
create policy system_sweeps on ticket_use for select to waybill_system using (true);
create policy system_forgets on ticket_use for delete to waybill_system using (expires_at < now());
grant select (tenant_id, id, integration_id, kid, created_at, ends_at, reminded_days) on integration_key to waybill_system;
create policy system_reminds on integration_key for select to waybill_system using (true);
-- A key whose overlap is over is destroyed.
grant delete on integration_key to waybill_app;

-- Which session started a run: it is cancelled when that one ends, and its own session takes over what the sign-in said.
ALTER TABLE "run" ADD COLUMN     "started_by_session" UUID;
CREATE INDEX "run_tenant_id_started_by_session_idx" ON "run"("tenant_id", "started_by_session");
grant select (started_by_session) on run to waybill_system;
grant select (run_id) on session to waybill_system;

-- Where a visitor who names no site belongs, and the sites by name: identity/sites.ts. The first tenant is the default.
alter table tenant no force row level security;
alter table credential_index no force row level security;
insert into credential_index (hash, kind, tenant_id, credential_id)
  select sha256(convert_to('site/' || lower(name), 'UTF8')), 'site', id, id from tenant;
insert into credential_index (hash, kind, tenant_id, credential_id)
  select sha256('site/'), 'site', id, id from tenant order by created_at, id limit 1;
alter table tenant force row level security;
alter table credential_index force row level security;

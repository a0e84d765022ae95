-- The end of a pause is written down when its time has come: the sweep looks in which tenants there are such.
grant select (tenant_id, paused_until) on connector_endpoint to waybill_system;
create policy system_sweeps on connector_endpoint for select to waybill_system using (true);

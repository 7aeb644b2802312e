-- The upkeep deletes old rows of the audit log. No tailnet can: to hs_app they stay append-only.
create index audit_by_time on audit (at);
grant select (tailnet_id, id, at), delete on audit to hs_directory;

update schema_version set version = 2, compat_version = 1;

-- Of a table that nobody has analysed the planner thinks that a tailnet has one row in it: then every index that
-- begins with the tailnet is as good as the primary key, and it may read a thousand nodes to find one. PostgreSQL
-- itself looks after a minute, and a tailnet fills in seconds. Only the owner may analyse, hence a function that
-- runs as its owner. Large tables change slowly, in proportion: they are left to PostgreSQL.
create function analyze_grown() returns integer language plpgsql security definer set search_path from current
as $$
declare
  grown regclass;
  analyzed integer := 0;
begin
  for grown in
    select c.oid from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' and c.reltuples < 100000
      and pg_stat_get_mod_since_analyze(c.oid) > 50 + greatest(c.reltuples, 0) / 2
  loop
    execute format('analyze %s', grown);
    analyzed := analyzed + 1;
  end loop;
  return analyzed;
end
$$;
revoke execute on function analyze_grown from public;
grant execute on function analyze_grown to hs_directory;

update schema_version set version = 5, compat_version = 1;

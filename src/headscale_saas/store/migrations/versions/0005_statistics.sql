-- Of a table that nobody has analysed the planner thinks that a tailnet has one row in it: then every index that
-- begins with the tailnet is as good as the primary key, and it may read a thousand nodes to find one. PostgreSQL
-- itself looks after a minute, and a tailnet fills in seconds. Only the owner may analyse, hence a function that
-- runs as its owner: it finds catalogs before tables of ours, and what a session has made for itself last. Large
-- tables change slowly, in proportion, and are left to PostgreSQL. One that is locked is passed over.
do $do$
begin
  execute format($create$
    create function analyze_grown() returns integer language plpgsql security definer
      set search_path = pg_catalog, %1$I, pg_temp
    as $body$
    declare
      grown regclass;
      analyzed integer := 0;
    begin
      for grown in
        select c.oid from pg_class c
        where c.relnamespace = %1$L::regnamespace and c.relkind = 'r' and c.reltuples < 100000
          and pg_stat_get_mod_since_analyze(c.oid) > 50 + greatest(c.reltuples, 0) / 2
      loop
        execute format('analyze (skip_locked) %%s', grown);
        analyzed := analyzed + 1;
      end loop;
      return analyzed;
    end
    $body$
  $create$, current_schema());
end
$do$;
revoke execute on function analyze_grown from public;
grant execute on function analyze_grown to hs_directory;

update schema_version set version = 5, compat_version = 1;

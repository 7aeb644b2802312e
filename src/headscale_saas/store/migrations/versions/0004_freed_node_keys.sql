-- The key of a deleted node rests for a day, as its addresses do: its former peers know it, and none of them shall
-- come with it before the device does. `freed_at` is null for a key in use.
alter table node_keys add column freed_at timestamptz;

-- Not concurrently: it is empty, and the rows it looks at are few bytes each.
create index node_keys_freed on node_keys (freed_at) where freed_at is not null;

grant update (freed_at) on node_keys to hs_app;
grant delete on node_keys to hs_directory;

update schema_version set version = 4, compat_version = 1;

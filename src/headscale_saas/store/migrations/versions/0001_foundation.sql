-- The first schema. Roles (hs_owner, hs_app, hs_feed, hs_directory) exist before this runs; see store/roles.py.
-- Every table of a tailnet begins its keys with tailnet_id, carries cluster_id, and has row-level security
-- FORCEd; the loop at the end of this file writes the policies, so that no table can be forgotten.

-- ── Directory: the few tables without a tailnet ─────────────────────────────────────────────────────────────

create table clusters (
  cluster_id  integer primary key,
  name        text not null unique,
  url         text not null default '',
  region      text not null default '',
  capacity    integer not null default 1000 check (capacity >= 0),
  state       text not null default 'active' check (state in ('active', 'draining', 'down')),
  created_at  timestamptz not null default now()
);

create table processes (
  number       bigint generated always as identity primary key,
  cluster_id   integer not null references clusters,
  name         text not null,
  started_at   timestamptz not null default now(),
  heartbeat_at timestamptz not null default now(),
  dead_at      timestamptz
);

create table tailnets (
  id          bigint generated always as identity primary key,
  name        text not null unique check (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
  cluster_id  integer not null references clusters,
  version     bigint not null default 0,
  created_at  timestamptz not null default now(),
  unique (id, cluster_id)
) with (fillfactor = 50);

-- Reserved here first, written in the tailnet's tables after: so that the directory can live elsewhere one day.
create table auth_key_prefixes (
  prefix     text primary key,
  tailnet_id bigint not null references tailnets on delete cascade
);

create table api_key_prefixes (
  prefix     text primary key,
  tailnet_id bigint not null references tailnets on delete cascade
);

-- A node key belongs to one node of one tailnet, for ever; during a rotation a node holds two.
create table node_keys (
  node_key    bytea primary key check (length(node_key) = 32),
  machine_key bytea not null check (length(machine_key) = 32),
  tailnet_id  bigint not null references tailnets on delete cascade,
  node_id     bigint not null
);
create index node_keys_by_node on node_keys (tailnet_id, node_id);

-- One machine may be a node of several tailnets, and of several users in one.
create table machine_keys (
  machine_key bytea not null check (length(machine_key) = 32),
  tailnet_id  bigint not null references tailnets on delete cascade,
  node_id     bigint not null,
  primary key (machine_key, tailnet_id, node_id)
);

-- A login that waits for a person. It has no tailnet until somebody approves it.
create table pending_logins (
  id_hash     bytea primary key check (length(id_hash) = 32),
  flow        text not null,
  machine_key bytea not null unique check (length(machine_key) = 32),
  node_key    bytea not null check (length(node_key) = 32),
  request     text not null,
  origin      text not null default '',
  created_at  timestamptz not null default now(),
  expires_at  timestamptz not null,
  verdict     text check (verdict in ('approved', 'rejected')),
  reason      text,
  tailnet_id  bigint references tailnets on delete cascade,
  node_id     bigint
);
create index pending_logins_by_expiry on pending_logins (expires_at);

-- The Noise keys of the service: one serves, the others are accepted until they are retired.
-- private_wrapped is null where the key lives in a file only.
create table noise_keys (
  public_key      bytea primary key check (length(public_key) = 32),
  private_wrapped bytea,
  state           text not null check (state in ('serving', 'accepted', 'retired')),
  created_at      timestamptz not null default now()
);
create unique index one_serving_noise_key on noise_keys (state) where state = 'serving';

create table leases (
  name       text primary key,
  process    bigint not null,
  fence      bigint not null default 0,
  held_until timestamptz not null
);

create sequence session_tokens;

-- ── Tailnet tables: state ───────────────────────────────────────────────────────────────────────────────────

create table tailnet_settings (
  tailnet_id    bigint primary key,
  cluster_id    integer not null,
  settings      text not null,
  policy        text,
  next_user_id  bigint not null default 1,
  next_node_id  bigint not null default 1,
  next_auth_key_id bigint not null default 1,
  next_api_key_id  bigint not null default 1,
  next_audit_id    bigint not null default 1
);

create table users (
  tailnet_id   bigint not null,
  id           bigint not null,
  cluster_id   integer not null,
  name         text not null,
  display_name text not null default '',
  email        text not null default '',
  provider     text not null default '',
  provider_id  text not null default '',
  role         text not null default 'member',
  groups       text[] not null default '{}',
  picture_url  text not null default '',
  created_at   timestamptz not null,
  primary key (tailnet_id, id)
);
create unique index users_name on users (tailnet_id, name) where provider = '';
create unique index users_provider on users (tailnet_id, provider, provider_id) where provider <> '';

create table auth_keys (
  tailnet_id  bigint not null,
  id          bigint not null,
  cluster_id  integer not null,
  prefix      text not null,
  secret_hash bytea not null,
  user_id     bigint,
  tags        text[] not null default '{}',
  reusable    boolean not null default false,
  ephemeral   boolean not null default false,
  created_at  timestamptz not null,
  expires_at  timestamptz,
  used_at     timestamptz,
  revoked_at  timestamptz,
  primary key (tailnet_id, id),
  constraint auth_keys_prefix unique (tailnet_id, prefix),
  constraint auth_keys_user foreign key (tailnet_id, user_id) references users (tailnet_id, id),
  constraint auth_keys_owner check (user_id is not null or tags <> '{}')
);

create table api_keys (
  tailnet_id   bigint not null,
  id           bigint not null,
  cluster_id   integer not null,
  prefix       text not null,
  secret_hash  bytea not null,
  created_at   timestamptz not null,
  expires_at   timestamptz,
  last_used_at timestamptz,
  primary key (tailnet_id, id),
  constraint api_keys_prefix unique (tailnet_id, prefix)
);

create table nodes (
  tailnet_id       bigint not null,
  id               bigint not null,
  cluster_id       integer not null,
  stable_id        text not null,
  machine_key      bytea not null check (length(machine_key) = 32),
  node_key         bytea not null check (length(node_key) = 32),
  disco_key        bytea not null check (length(disco_key) = 32),
  tailnet_lock_key bytea not null check (length(tailnet_lock_key) = 32),
  user_id          bigint,
  tags             text[] not null default '{}',
  hostname         text not null,
  name             text not null,
  name_is_fixed    boolean not null default false,
  ipv4             inet,
  ipv6             inet,
  created_at       timestamptz not null,
  expires_at       timestamptz,
  expired          boolean not null default false,
  authorized       boolean not null default true,
  ephemeral        boolean not null default false,
  auth_key_id      bigint,
  register_method  text not null,
  capver           integer not null default 0,
  hostinfo         text not null,
  endpoints        text[] not null default '{}',
  home_derp        integer not null default 0,
  approved_routes  text[] not null default '{}',
  online           boolean not null default false,
  last_seen        timestamptz,
  primary key (tailnet_id, id),
  constraint nodes_stable_id unique (tailnet_id, stable_id),
  constraint nodes_node_key unique (tailnet_id, node_key),
  constraint nodes_name unique (tailnet_id, name),
  constraint nodes_ipv4 unique (tailnet_id, ipv4),
  constraint nodes_ipv6 unique (tailnet_id, ipv6),
  constraint nodes_user foreign key (tailnet_id, user_id) references users (tailnet_id, id),
  constraint nodes_auth_key foreign key (tailnet_id, auth_key_id) references auth_keys (tailnet_id, id),
  constraint nodes_owner check ((user_id is null) = (tags <> '{}'))
) with (fillfactor = 80);
-- One node per machine and owner; a machine has at most one tagged node.
create unique index nodes_machine on nodes (tailnet_id, machine_key, coalesce(user_id, 0));
-- Where time is due. `online` is in no index, so that a flip of it touches none.
create index nodes_expiring on nodes (expires_at) where expires_at is not null and not expired;
create index nodes_ephemeral on nodes (tailnet_id) where ephemeral;

-- A freed address rests for a day, so that a stale netmap cannot point to its next holder.
create table freed_addresses (
  tailnet_id bigint not null,
  address    inet not null,
  cluster_id integer not null,
  freed_at   timestamptz not null,
  primary key (tailnet_id, address)
);
create index freed_addresses_by_time on freed_addresses (freed_at);

-- ── Tailnet tables: live sessions (unversioned) ─────────────────────────────────────────────────────────────

-- The newest map stream of each node: `token` grows with each stream, so a late disconnect cannot end a newer one.
-- `ended_at` is null while the stream lives.
create table sessions (
  tailnet_id bigint not null,
  node_id    bigint not null,
  cluster_id integer not null,
  token      bigint not null,
  process    bigint not null,
  started_at timestamptz not null,
  ended_at   timestamptz,
  primary key (tailnet_id, node_id),
  constraint sessions_node foreign key (tailnet_id, node_id) references nodes (tailnet_id, id) on delete cascade
) with (fillfactor = 50);
create index sessions_by_process on sessions (process) where ended_at is null;
create index sessions_ended on sessions (ended_at) where ended_at is not null;

-- ── Tailnet tables: append-only ─────────────────────────────────────────────────────────────────────────────

-- Exactly one row for each version: which rows it touched.
create table changes (
  tailnet_id bigint not null,
  version    bigint not null,
  cluster_id integer not null,
  process    bigint not null,
  at         timestamptz not null,
  nodes      bigint[] not null default '{}',
  users      bigint[] not null default '{}',
  settings   boolean not null default false,
  policy     boolean not null default false,
  primary key (tailnet_id, version)
);
create index changes_by_time on changes (at);

create table audit (
  tailnet_id bigint not null,
  id         bigint not null,
  cluster_id integer not null,
  process    bigint not null,
  at         timestamptz not null,
  actor_kind text not null,
  actor      text not null,
  origin     text not null,
  action     text not null,
  target     text not null,
  detail     text not null default '{}',
  primary key (tailnet_id, id)
);

-- ── Which schema this is ────────────────────────────────────────────────────────────────────────────────────

-- One row. Programs that know `compat_version` or a later schema may run on this one (see migrate.py).
create table schema_version (
  is_only        boolean primary key default true check (is_only),
  version        integer not null,
  compat_version integer not null
);
insert into schema_version (version, compat_version) values (1, 1);

-- ── Walls ───────────────────────────────────────────────────────────────────────────────────────────────────

-- `hs_app` sees the tailnet of its transaction, `hs_feed` those in its list, `hs_directory` all rows but few
-- columns. Each role's policy is written by a loop over the catalogue, so that no table can be forgotten.
-- The list is read in a sub-select: once for a query, not once for a row.

create function tailnet_tables() returns setof text stable language sql as $$
  select c.relname::text from pg_class c
  where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r'
    and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tailnet_id')
    and exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'cluster_id')
$$;

create procedure wall(t text, tailnet text) language plpgsql as $$
begin
  execute format('alter table %I enable row level security', t);
  execute format('alter table %I force row level security', t);
  execute format($p$create policy app on %I to hs_app
    using (%I = nullif(current_setting('app.tailnet', true), '')::bigint)$p$, t, tailnet);
  execute format($p$create policy feed on %I for select to hs_feed
    using (%I = any ((select nullif(current_setting('app.tailnets', true), '')::bigint[])::bigint[]))$p$, t, tailnet);
  execute format('create policy directory on %I to hs_directory using (true)', t);
end $$;

revoke execute on procedure wall from public;
revoke execute on function tailnet_tables from public;

do $$
declare
  t text;
  columns text;
begin
  call wall('tailnets', 'id');
  foreach t in array array['auth_key_prefixes', 'api_key_prefixes', 'node_keys', 'machine_keys'] loop
    call wall(t, 'tailnet_id');
    execute format('grant select, insert, delete on %I to hs_app', t);
    execute format('grant select on %I to hs_directory', t);
  end loop;
  for t in select tailnet_tables() loop
    call wall(t, 'tailnet_id');
    execute format('grant select, insert on %I to hs_app', t);
    continue when t in ('changes', 'audit');
    -- Equal to the tailnet's placement, and only a move changes it. Append-only rows keep what they were written with.
    execute format('alter table %I add constraint %I foreign key (tailnet_id, cluster_id)
      references tailnets (id, cluster_id) on delete cascade deferrable', t, t || '_placement');
    select string_agg(quote_ident(attname), ', ') into columns from pg_attribute
      where attrelid = t::regclass and attnum > 0 and attname not in ('tailnet_id', 'cluster_id');
    execute format('grant delete, update (%s) on %I to hs_app', columns, t);
    execute format('grant select (tailnet_id, cluster_id), update (cluster_id) on %I to hs_directory', t);
  end loop;
end $$;

-- hs_app
grant select, update (version) on tailnets to hs_app;
grant select (number, dead_at) on processes to hs_app;
grant usage on sequence session_tokens to hs_app;

-- hs_feed: what a tailnet's state is made of
grant select on tailnets, tailnet_settings, users, nodes, changes to hs_feed;

-- hs_directory: what all tailnets share, and the columns that say where work is due
grant select, insert, update, delete on clusters, processes, pending_logins, noise_keys, leases to hs_directory;
grant select, insert, delete, update (name, cluster_id, version) on tailnets to hs_directory;
grant insert on tailnet_settings to hs_directory;
grant select, insert, delete on changes to hs_directory;
grant select, delete, update (ended_at) on sessions to hs_directory;
grant select (id, expires_at, expired, ephemeral, online, last_seen) on nodes to hs_directory;
grant select (address, freed_at) on freed_addresses to hs_directory;

grant select on schema_version to hs_app, hs_feed, hs_directory;

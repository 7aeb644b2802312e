-- Every policy that a tailnet had, counted from 1; the newest is the one in force, whose text is also in
-- `tailnet_settings.policy` (null: there is none). The text is a tailnet's content, so the rows move and go with
-- it; only their cluster_id ever changes. An empty text is a version, too: from then on there was no policy.
create table policy_versions (
  tailnet_id       bigint not null,
  number           bigint not null,
  cluster_id       integer not null,
  text             text not null,
  size             integer not null check (size >= 0),
  etag             text not null check (etag ~ '^[0-9a-f]{64}$'),
  actor_kind       text not null,
  actor            text not null,
  origin           text not null,
  at               timestamptz not null,
  comment          text not null default '',
  rolled_back_from bigint,
  primary key (tailnet_id, number),
  constraint policy_versions_placement foreign key (tailnet_id, cluster_id)
    references tailnets (id, cluster_id) on delete cascade deferrable
);

call wall('policy_versions', 'tailnet_id');
grant select, insert, delete on policy_versions to hs_app;
grant select (tailnet_id, cluster_id), update (cluster_id) on policy_versions to hs_directory;

update schema_version set version = 3, compat_version = 1;

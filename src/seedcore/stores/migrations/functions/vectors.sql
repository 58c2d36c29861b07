-- Vectors, where the server has pgvector 0.8 or newer; tried again whenever the schema is brought up to date, because it
-- may be installed later. Without it memory is searched by text alone, and health says so.
do $$
declare
  size integer;
begin
  -- Functions are also replaced on the way to the migration that makes the memories.
  if to_regclass('seedcore.memories') is null then
    return;
  end if;
  if not exists (select 1 from pg_available_extensions where name = 'vector'
                  and string_to_array(coalesce(installed_version, default_version), '.')::int[] >= array[0, 8]) then
    return;
  end if;
  create extension if not exists vector with schema public;

  -- Vectors of memories, of each embedder that is in use; while another is being put in use, of both. What a search
  -- filters by stands here too, so that the scan of the index filters while it goes.
  create table if not exists seedcore.memory_vectors (
    memory_id uuid not null references seedcore.memories on delete cascade,
    model     text not null,
    dimension smallint not null,
    tenant    text not null,
    scope     text not null,
    tags      text[] not null,
    vector    public.vector not null,
    primary key (memory_id, model)
  );
  create index if not exists memory_vectors_scope on seedcore.memory_vectors (tenant, model, scope);
  -- With pgvector's defaults (16, 64) a search among 100,000 finds 0.90 of what an exact one does, with these 0.96.
  -- One index a dimension of the usual ones; vectors of other dimensions are compared one by one.
  foreach size in array array[256, 384, 512, 768, 1024, 1536] loop
    execute format('create index if not exists memory_vectors_%s on seedcore.memory_vectors using hnsw'
                   ' ((vector::public.vector(%s)) public.vector_cosine_ops) with (m = 24, ef_construction = 160) where dimension = %s',
                   size, size, size);
  end loop;

  create table if not exists seedcore.graph_vectors (
    node      text primary key,
    label     text not null,
    tenant    text,
    model     text not null,
    dimension smallint not null,
    vector    public.vector not null,
    at        timestamptz not null default now()
  );
exception when insufficient_privilege then
  raise notice 'pgvector is not installed in this database, and the role may not install it';
end $$;

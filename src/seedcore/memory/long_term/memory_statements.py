"""The SQL of long-term memory."""

HAS_VECTORS = "select to_regclass('seedcore.memory_vectors') is not null"

# A search's own plan: with the values at hand, whatever the session of the pool forbids.
SEARCH_SESSION = """
set local plan_cache_mode = force_custom_plan; set local jit = off; set local statement_timeout = '10s';
set local enable_bitmapscan = on; set local enable_sort = on; set local enable_hashjoin = on;
set local enable_seqscan = on;
"""
# Filtered search keeps its recall: the scan of the index goes on until enough rows pass the filter.
VECTOR_SESSION = """
set local hnsw.iterative_scan = relaxed_order; set local hnsw.ef_search = {ef}; set local hnsw.max_scan_tuples = 40000;
"""

# Unique key (tenant, scope, source, digest), in whose order rows are locked. The same text again is the same memory.
REMEMBER = """
with given as (
  select g.*, decode(g.hash, 'hex') as digest from jsonb_to_recordset($1::jsonb) as g(
    n integer, tenant text, scope text, source text, hash text, source_id text, text text, tags text[], metadata jsonb,
    salience real)
  order by g.tenant, g.scope, g.source, g.hash)
, kept as (
  insert into seedcore.memories as m (tenant, scope, source, digest, source_id, text, tags, metadata, salience)
  select tenant, scope, source, digest, source_id, text, tags, metadata, salience from given
  on conflict (tenant, scope, source, digest) do update set
    seen = m.seen + 1, used_at = now(), salience = greatest(m.salience, excluded.salience),
    metadata = case when excluded.metadata = '{{}}' then m.metadata else excluded.metadata end,
    tags = array(select distinct t from unnest(m.tags || excluded.tags) t order by t limit 64)
  returning id, tenant, scope, source, digest, tags)
, placed as (select k.id, k.tenant, k.scope, k.tags, g.n from kept k join given g using (tenant, scope, source, digest))
{vectors}
select n, id from placed
"""
_WITH_VECTORS = """
, vectors as (
  insert into seedcore.memory_vectors (memory_id, model, dimension, tenant, scope, tags, vector)
  select p.id, $2, $3, p.tenant, p.scope, p.tags, v.vector::public.vector
  from placed p join unnest($4::text[]) with ordinality v(vector, n) on v.n = p.n + 1
  on conflict (memory_id, model) do update set tags = excluded.tags)
"""
REMEMBER_TEXTS = REMEMBER.format(vectors="")
REMEMBER_WITH_VECTORS = REMEMBER.format(vectors=_WITH_VECTORS)

# Index memories_source. What the same thing said before.
FORGET_EARLIER = """
delete from seedcore.memories m
using unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) g(tenant, source, source_id, id)
where m.source = g.source and m.source_id = g.source_id and m.tenant = g.tenant and m.id <> g.id
"""
FORGET_SOURCE = "delete from seedcore.memories where source = $1 and source_id = any($2::text[])"

_FOUND = """
m.id, m.text, m.scope, m.source, m.source_id, m.tags, m.metadata::text as metadata, m.salience, m.created_at
"""
# Any of the words at the query's beginning: a question rarely has all of them in common with its answer. Words that
# many memories hold say little, and ranking these would take most of the time: the rarest are looked for, so many as
# some 2,000 memories hold by the planner's statistics, and at least one.
_WORDS = """
asked as materialized (
  select string_agg(quote_literal(w.lexeme), ' | ')::tsquery as query from (
    select l.lexeme, row_number() over rarest as n, sum(coalesce(c.freq, 0.0002)) over rarest * t.rows as held
    from unnest(to_tsvector('english', seedcore.words_of(left($2, 1000)))) l
    left join (
      select e.word, e.freq from pg_stats s
      cross join unnest(s.most_common_elems::text::text[], s.most_common_elem_freqs) as e(word, freq)
      where s.schemaname = 'seedcore' and s.tablename = 'memories' and s.attname = 'document') c on c.word = l.lexeme
    cross join (select greatest(reltuples, 0) as rows from pg_class where oid = 'seedcore.memories'::regclass) t
    window rarest as (order by coalesce(c.freq, 0.0002), l.lexeme)) w
  where w.n = 1 or w.held <= 2000),
words as (
  select w.id, w.fit, row_number() over (order by w.fit desc, w.id) as rank from (
    select m.id, ts_rank_cd(m.document, q.query, 1) as fit
    from seedcore.memories m, asked q
    where m.tenant = $1 and m.document @@ q.query
      and ($3::text[] is null or m.scope = any($3)) and m.tags @> $4::text[]
    order by fit desc, m.id limit $5) w)
"""
# HNSW index of the dimension, or all rows of the tenant where they are few.
_NEAR = """
{name} as (
  select n.memory_id as id, 1 - n.distance as fit, row_number() over (order by n.distance, n.memory_id) as rank from (
    select v.memory_id,
           v.vector::public.vector({dimension}) operator(public.<=>) {vector}::public.vector({dimension}) as distance
    from seedcore.memory_vectors v
    where v.dimension = {dimension} and v.model = {model} and v.tenant = $1
      and ($3::text[] is null or v.scope = any($3)) and v.tags @> $4::text[]
    order by distance limit $5) n)
"""
# While one embedder takes the place of another: near in the vectors of either.
_NEAR_IN_EITHER = """
near as (
  select e.id, max(e.fit) as fit, row_number() over (order by min(e.rank), e.id) as rank
  from (select * from newer union all select * from older) e group by e.id)
"""
_RECIPROCAL_RANK = """
select {found}, f.score, f.near, f.words from (
  select coalesce(n.id, w.id) as id, n.fit as near, w.fit as words,
         coalesce(1.0 / (60 + n.rank), 0)::float8 + coalesce(1.0 / (60 + w.rank), 0)::float8 as score
  from near n full join words w on w.id = n.id order by score desc, id limit $6) f
join seedcore.memories m on m.id = f.id order by f.score desc, m.id
"""
_TEXT_ALONE = """
select {found}, 1.0 / (60 + w.rank)::float8 as score, null::float8 as near, w.fit::float8 as words
from words w join seedcore.memories m on m.id = w.id order by w.rank limit $6
"""

SEARCH_TEXTS = f"with {_WORDS} {_TEXT_ALONE.format(found=_FOUND)}"


def search_statement(dimension: int, older: int | None = None) -> str:
    """The one statement that finds by meaning and by words, and fuses both by reciprocal rank (Cormack 2009).

    `older` is the dimension of the embedder that is being replaced, if there is one: its name is $9, its vector $10.
    """
    if older is None:
        near = _near("near", dimension, 7)
    else:
        near = f"{_near('newer', dimension, 7)}, {_near('older', older, 9)}, {_NEAR_IN_EITHER}"
    return f"with {near}, {_WORDS} {_RECIPROCAL_RANK.format(found=_FOUND)}"


def _near(name: str, dimension: int, at: int) -> str:
    return _NEAR.format(name=name, dimension=int(dimension), model=f"${at}", vector=f"${at + 1}")


# Primary key.
NOTE_USES = """
update seedcore.memories m set uses = m.uses + u.n, used_at = now()
from unnest($1::uuid[], $2::int[]) u(id, n) where m.id = u.id
"""

# Of `memory_jobs`, rows named `embed MODEL`. A complete one is looked through from the beginning.
_MODEL = "name, cursor, done::text as done, extract(epoch from now() - at)::float8 as age_s"
MODEL_STATES = f"select {_MODEL} from seedcore.memory_jobs where starts_with(name, $1)"  # noqa: S608 - constants
BEGIN_MODEL = f"""
insert into seedcore.memory_jobs as j (name, done) values ($1, jsonb_build_object('dimension', $2::int))
on conflict (name) do update set done = j.done || jsonb_build_object('dimension', $2::int)
returning {_MODEL}
"""  # noqa: S608 - constants
MODEL_PROGRESS = """
update seedcore.memory_jobs
set cursor = $2, at = now(), done = done || jsonb_build_object(
  'embedded', coalesce((done->>'embedded')::int, 0) + $3::int)
where name = $1
"""
MODEL_COMPLETE = """
update seedcore.memory_jobs set cursor = null, at = now(), done = done || '{"complete": true}' where name = $1
"""
FORGET_MODELS = "delete from seedcore.memory_jobs where starts_with(name, $1) and name <> $2"

# Primary keys of both, in their order.
WITHOUT_VECTOR = """
select m.id, m.text from seedcore.memories m
where ($1::uuid is null or m.id > $1)
  and not exists (select from seedcore.memory_vectors v where v.memory_id = m.id and v.model = $2)
order by m.id limit $3
"""
# A memory that is being forgotten gets none, and one that is being tagged gets its tags.
ADD_VECTORS = """
insert into seedcore.memory_vectors (memory_id, model, dimension, tenant, scope, tags, vector)
select m.id, $3, $4, m.tenant, m.scope, m.tags, g.vector::public.vector
from unnest($1::uuid[], $2::text[]) g(id, vector)
join (select * from seedcore.memories where id = any($1) order by id for share) m on m.id = g.id
on conflict (memory_id, model) do nothing
"""
DELETE_OTHERS = """
with gone as (
  delete from seedcore.memory_vectors v using (
    select memory_id, model from seedcore.memory_vectors where model <> $1 limit $2) o
  where v.memory_id = o.memory_id and v.model = o.model returning 1)
select count(*) from gone
"""

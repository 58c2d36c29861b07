"""The SQL of facts."""

MAX_CONTRADICTIONS = 100

_FACTS = f"""
select f.id, f.tenant, f.subject, f.predicate, f.object, f.text, f.tags, f.source, f.valid_from, f.valid_to,
       f.created_at, f.updated_at,
       array(select o.id from seedcore.facts o
              where o.tenant = f.tenant and o.subject = f.subject and o.predicate = f.predicate
                and o.object <> f.object
                and tstzrange(o.valid_from, o.valid_to) && tstzrange(f.valid_from, f.valid_to)
              limit {MAX_CONTRADICTIONS}) as contradicts
  from seedcore.facts f
"""  # noqa: S608 - of constants

INSERT = """
insert into seedcore.facts (tenant, subject, predicate, object, text, tags, source, valid_from, valid_to)
values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now()), $9) returning id
"""

GET = f"{_FACTS} where f.id = $1 and ($2::text is null or f.tenant = $2)"

GET_MANY = f"{_FACTS} where f.id = any($1::uuid[])"

LOCK = f"{GET} for update of f"

UPDATE = """
update seedcore.facts set subject = $2, predicate = $3, object = $4, text = $5, tags = $6, source = $7,
       valid_from = coalesce($8, valid_from), valid_to = $9, updated_at = now()
 where id = $1
"""

REMOVE = "delete from seedcore.facts where id = $1 and ($2::text is null or tenant = $2) returning id"


def find(where: str, limit: int) -> str:
    """Facts that meet `where` (of `p`), the newest first; `limit` is the number of its parameter.

    The page is found first: contradictions are looked for among its rows alone.
    """
    page = f"select p.id from seedcore.facts p {where} order by p.id desc limit ${limit}"  # noqa: S608 - conditions of this file
    return f"{_FACTS} where f.id = any(array({page})) order by f.id desc"


CONDITIONS = {
    "tenant": "p.tenant = ${}",
    "words": "p.document @@ websearch_to_tsquery('english', ${})",
    "subject": "p.subject = ${}",
    "predicate": "p.predicate = ${}",
    "tags": "p.tags @> ${}::text[]",
    "at": "tstzrange(p.valid_from, p.valid_to) @> ${}::timestamptz",
    "before": "p.id < ${}",
}
"""What each field of a filter demands."""

# A fact that shares one word with the text is a candidate; which come first says how many they share.
RELEVANT = f"""
with wanted as materialized (
  select string_agg(quote_literal(w.lexeme), ' | ')::tsquery as words from unnest(to_tsvector('english', $2)) w)
, best as materialized (
  select p.id, ts_rank_cd(p.document, wanted.words) as rank from seedcore.facts p, wanted
   where p.tenant = $1 and p.document @@ wanted.words
     and p.valid_from <= $3 and (p.valid_to is null or p.valid_to > $3)
   order by rank desc, p.id desc limit $4)
{_FACTS} join best on best.id = f.id
 order by best.rank desc, f.id desc
"""  # noqa: S608 - of constants

USE = """
insert into seedcore.fact_uses (fact_id, task_id)
select f.id, $2 from seedcore.facts f where f.id = any($1) and f.tenant = $3
on conflict do nothing
"""

USED_BY = f"{_FACTS} join seedcore.fact_uses u on u.fact_id = f.id where u.task_id = $1 order by f.id desc"

FORGET_USES = """
with gone as (delete from seedcore.fact_uses where at < now() - make_interval(secs => $1 * 86400) returning 1)
select count(*) from gone
"""

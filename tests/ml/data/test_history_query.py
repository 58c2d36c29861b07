import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from seedcore.errors import InvalidInputError
from seedcore.ml.data.history_query import checked_select

ALLOWED = [
    "select seconds, attempts, status = 'completed' as ok from seedcore.history",
    "SELECT H.Seconds, h.params ->> 'a' AS \"A b\" FROM SeedCore.History H WHERE h.type = 'x' ORDER BY 1 LIMIT 10",
    "with a as (select id, seconds from seedcore.history), b as (select * from a) select * from b join a using (id)",
    "select extract(hour from created_at) as hour, (params ->> 'n')::float8 as n, outcome from seedcore.history",
    "select type, count(*) filter (where status = 'failed') as bad, avg(seconds) as s from seedcore.history group by 1",
    "select lag(seconds) over (partition by type order by created_at) as before, id from seedcore.history -- the end",
    "select case when attempts > 1 then 'again' else 'once' end as x, seconds from seedcore.history",
    "select seconds, attempts from seedcore.history union all select priority, attempts from seedcore.history",
    "select x.s, x.t from (select seconds as s, type as t from seedcore.history) x where x.s > 1",
    "select params -> 'it''s' ->> 'b\"; drop' as k, seconds from seedcore.history where type like 'a%'",
    "select date_trunc('hour', created_at) as h, now() - interval '1 day' as y from seedcore.history",
    "select seconds from seedcore.history where id in (select id from seedcore.history where attempts > 1)",
    "select percentile_cont(0.5) within group (order by seconds) as median, type from seedcore.history group by type",
    "/* what */ select seconds, jsonb_typeof(params) as t from seedcore.history;",
]


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_select_over_the_history_is_written_again_from_its_tree(sql: str):
    written = checked_select(sql)
    assert '"seedcore"."history"' in written
    assert "--" not in written
    assert "/*" not in written
    # What was written is allowed again, and means the same.
    assert checked_select(written) == written


REFUSED = [
    # Other relations.
    "select * from seedcore.tasks",
    "select * from history",
    "select * from public.history",
    "select * from other.seedcore.history",
    'select * from "seedcore.history"',
    'select * from "SeedCore".history',
    "select * from pg_catalog.pg_authid",
    "select * from pg_shadow",
    "select * from seedcore.history, seedcore.api_keys",
    "select * from seedcore.history join information_schema.tables on true",
    "select seconds from seedcore.history where exists (select 1 from seedcore.tasks)",
    "select (select count(*) from seedcore.tasks) as n, seconds from seedcore.history",
    "table seedcore.tasks",
    "values (1, 2)",
    "select 1 as a, 2 as b",
    # A name that is visible only inside stands for a table outside.
    "select * from seedcore.history, (with pg_authid as (select 1 as id) select id from pg_authid) x, pg_authid",
    "with a as (select * from pg_authid), pg_authid as (select id from seedcore.history) select * from a",
    "with a as (select id from b), b as (select id from seedcore.history) select id from a",
    "with a as (select id from a) select id from a, seedcore.history",
    "with recursive a as (select id from seedcore.history union all select id from a) select id from a",
    # Functions, in any position.
    "select pg_read_file('/etc/passwd') as id, seconds from seedcore.history",
    "select seconds from seedcore.history where pg_sleep(10) is null",
    "select seconds from seedcore.history order by dblink('a', 'b')",
    "select seconds from seedcore.history limit (select length(pg_read_file('x')))",
    "select seconds from seedcore.history group by set_config('seedcore.tenant', 'other', true)",
    "select set_config('seedcore.tenant', 'other', false) as id from seedcore.history",
    "select current_setting('seedcore.tenant') as id from seedcore.history",
    "select pg_catalog.set_config('seedcore.tenant', 'x', true) as id from seedcore.history",
    "select count(*) filter (where lo_import('/x') > 0) as id from seedcore.history",
    "select sum(seconds) over (order by pg_notify('a', 'b')) as id from seedcore.history",
    "select case when query_to_xml('select 1', true, true, '') is null then 1 end as id from seedcore.history",
    "select * from seedcore.history, dblink('host=x', 'select 1') as t(id text)",
    "select * from seedcore.history, pg_ls_dir('.') as id",
    "select * from seedcore.history, lateral (select pg_sleep(1)) as id",
    "select * from seedcore.history, generate_series(1, 1000000000) as id",
    "select * from seedcore.history, unnest(array[1]) as id",
    "select nextval('seedcore.tokens') as id from seedcore.history",
    "select seedcore.enqueue('echo', '{}') as id from seedcore.history",
    "select repeat('x', 1000000000) as id from seedcore.history",
    "select string_agg(type, ',') as id from seedcore.history",
    "select type || type as id from seedcore.history",
    "select xmlparse(document '<a/>') as id from seedcore.history",
    "select current_user as id from seedcore.history",
    "select version() as id from seedcore.history",
    "select json_agg(h) as id from seedcore.history h",
    # A column of a function's name calls the function.
    "select h.pg_read_file from seedcore.history h",
    "select h.row_to_json from seedcore.history h",
    "select 1 as row_to_json, h.row_to_json from seedcore.history h",
    "select h from seedcore.history h",
    "select (h).id from seedcore.history h",
    "select h.ctid from seedcore.history h",
    "select tableoid from seedcore.history",
    # Casts that look things up.
    "select 'pg_authid'::regclass as id from seedcore.history",
    "select 'pg_read_file'::regproc as id from seedcore.history",
    "select type::seedcore.tasks as id from seedcore.history",
    "select type::xml as id from seedcore.history",
    # Other statements, and several.
    "select id from seedcore.history; select 1",
    "select id from seedcore.history; drop table seedcore.tasks",
    "drop table seedcore.tasks",
    "delete from seedcore.tasks",
    "update seedcore.tasks set type = 'x'",
    "insert into seedcore.tasks select * from seedcore.history",
    "with d as (delete from seedcore.tasks returning id) select id from d, seedcore.history",
    "copy seedcore.tasks to '/tmp/x'",
    "copy (select * from seedcore.history) to program 'sh'",
    "do $$ begin end $$",
    "explain analyze select * from seedcore.history",
    "set seedcore.tenant = 'other'",
    "begin",
    "call x()",
    "select id into other from seedcore.history",
    "select id from seedcore.history for update",
    "select id from only seedcore.history",
    "select id from seedcore.history tablesample system (1)",
    "",
    ";",
    "/*",
    "-- nothing",
    # Comments and quoting.
    "select id from seedcore.history /* */ ; /* */ select 1 --",
    "select id from seedcore.history where type = E'\\' or pg_sleep(1) is null --'",
    "select id from seedcore.history where type = $$x$$",
    "select id from seedcore.history where type = U&'\\0041'",
    "select id from seedcore.history where type = $1",
    "select id from seedcore.history where type = :tenant",
    "select id from seedcore.history where type = 'a\0b'",
    "select id from seedcore.history where type = 'open",
    'select "pg_sleep"(1) as id from seedcore.history',
    "select id from seedcore.history where operator(pg_catalog.-) 1 = 1",
    'select id collate "C" as id from seedcore.history',
    # Work without end.
    "select a.id from " + ", ".join(f"seedcore.history {name}" for name in "abcde"),
    "select id from seedcore.history where type like '%a%a%a%a%a%'",
    "select id from seedcore.history where type like type",
    "select id from seedcore.history where type ~ '(a+)+b'",
    "select id from seedcore.history where " + "(" * 2000 + "true" + ")" * 2000,
    "select id from seedcore.history where " + " or ".join(["true"] * 6000),
    "select " + "-" * 1 + " " + "not " * 3000 + "true as id from seedcore.history",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_all_else_is_refused(sql: str):
    with pytest.raises(InvalidInputError) as caught:
        checked_select(sql)
    assert [e.field for e in caught.value.errors] == ["data_source.sql"]


WORDS = """
    select from where with as ( ) , . ; * = 'a' "b" -- /* */ seedcore.history seedcore.tasks pg_authid pg_sleep(1)
    set_config('a','b',true) id type params -> ->> :: regclass text union all limit 1 over order by case when then end
    null not in exists h history E'x' $$ $1 lateral join on true into for update values"""
PIECES = st.sampled_from(WORDS.split())


@given(st.lists(PIECES, max_size=25))
def test_whatever_is_allowed_names_the_view_and_no_other_relation(pieces: list[str]):
    try:
        written = checked_select("select " + " ".join(pieces))
    except InvalidInputError:
        return
    (tree,) = sqlglot.parse(written, dialect="postgres")
    assert tree is not None
    common = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        assert (table.db, table.name) == ("seedcore", "history") or table.name in common
    assert not list(tree.find_all(exp.Anonymous))
    assert not list(tree.find_all(exp.Command))

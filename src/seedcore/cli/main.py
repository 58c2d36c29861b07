"""The `seedcore` command. Nothing here imports Ray: `seedcore --help` must be quick."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from seedcore import __version__
from seedcore.cli.key_commands import key_app
from seedcore.cli.tenant_commands import tenant_app
from seedcore.errors import InvalidInputError, SeedCoreError, SettingsError
from seedcore.settings import SECRET_FIELDS, Settings, env_names, load_settings

EXIT_BAD_INPUT = 2
"""A setting or the command line is wrong; nothing was started."""

app = typer.Typer(
    help="Fleets of skilled agents on Ray.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
TaskId = Annotated[str, typer.Argument(help="The task's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="The task as one JSON object.")]

config_app = typer.Typer(help="The settings: what exists, and what is set here.", no_args_is_help=True)
app.add_typer(config_app, name="config")
skill_app = typer.Typer(help="Skills of your own.", no_args_is_help=True)
app.add_typer(skill_app, name="skill")
policy_app = typer.Typer(help="The policy: try its rules.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(key_app, name="key", no_args_is_help=True)
app.add_typer(tenant_app, name="tenant", no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"seedcore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options that belong to every command."""


@app.command()
def run() -> None:
    """Start SeedCore on this machine and stay in the foreground; Ctrl-C stops everything it started.

    Exit status: 0 after Ctrl-C or SIGTERM, 1 when a part fails, 2 when a setting is wrong.
    """
    from seedcore.cli.launch.launcher import Launcher

    sys.exit(Launcher(load_settings()).run())


@app.command()
def migrate(
    after: Annotated[bool, typer.Option("--after", help="Also remove what only the previous release needed.")] = False,
) -> None:
    """Migrate the schema to this version, before a rollout; `run` and the bootstraps do it by themselves.

    That of PostgreSQL, and that of MySQL where SEEDCORE_MYSQL_DSN is set.

    The previous release keeps working. When none of it runs any more, `--after` completes the upgrade; it is
    refused, and the exit status is 1, while dispatchers of an older release are alive.
    """
    from seedcore.memory.flashbulbs.mysql_schema import migrate_mysql
    from seedcore.stores.migrate import migrate as run_migrations
    from seedcore.stores.migrate import newest

    settings = load_settings()
    version = run_migrations(settings, "after" if after else "before")
    print(f"schema {version}")
    if settings.mysql_dsn is not None:
        print(f"schema of MySQL {migrate_mysql(settings)}")
    if version < newest():
        print(f"when nothing of the previous release runs: seedcore migrate --after (to {newest()})")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="File to write, beside FILE.json and FILE.models.tar.")],
) -> None:
    """Back up the database and the models while everything runs; what another store keeps is not in it."""
    from seedcore.stores.backup import backup as write_backup

    done = write_backup(load_settings(), target)
    models = sum(1 for digest in done.models.values() if digest)
    print(f"{target}: schema {done.schema_version}, {done.total} rows of {len(done.rows)} tables, {models} models")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="What `seedcore backup` wrote.")],
    replace: Annotated[bool, typer.Option("--replace", help="Replace the SeedCore that is there.")] = False,
) -> None:
    """Restore a backup, all or nothing, and count its rows. SeedCore must not run on that database."""
    from seedcore.stores.backup import restore as restore_backup

    done = restore_backup(load_settings(), source, replace=replace)
    print(f"schema {done.schema_version}, {done.total} rows of {len(done.rows)} tables; next: seedcore migrate")


@app.command()
def approve(task_id: TaskId, as_json: AsJson = False) -> None:
    """Release a task that waits for a person. Exit status: 0 released, 1 refused or no answer, 2 a bad task id."""
    from seedcore.cli.approvals import decide

    print(decide(load_settings(), task_id, None, as_json=as_json))


@app.command()
def reject(
    task_id: TaskId,
    reason: Annotated[str, typer.Option("--reason", help="Why; it becomes the task's error.")],
    as_json: AsJson = False,
) -> None:
    """Refuse a task that waits for a person. Exit status: 0 refused, 1 not done or no answer, 2 a bad argument."""
    from seedcore.cli.approvals import decide

    print(decide(load_settings(), task_id, reason, as_json=as_json))


@app.command()
def audit(
    since: Annotated[str | None, typer.Option("--since", help="From when: 24h, 7d, or 2026-01-31T12:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Until when, as --since.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Whose deeds.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Method and route, as the log has it.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Of which tenant.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False,
    export: Annotated[bool, typer.Option("--export", help="JSON lines, one a row, as they come.")] = False,
) -> None:
    """Who did what from where, the newest first. Needs a key with the scope `admin`."""
    from seedcore.cli.audit_export import audit_line, audit_rows

    rows = audit_rows(load_settings(), since, until, actor=actor, action=action, tenant=tenant)
    if as_json and not export:
        print(json.dumps(list(rows), indent=2))
        return
    for row in rows:
        print(json.dumps(row) if export else audit_line(row))


@skill_app.command("new")
def skill_new(
    name: Annotated[str, typer.Argument(help="What tasks will name as their type, such as acme.greet.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where the package's folder is made.")] = Path(),
) -> None:
    """Write the start of a package with a skill, a test and a README. Exit status 2: the name is wrong or taken."""
    from seedcore.cli.skill_new import write_package

    package = write_package(name, folder)
    print(f"{package}: the README there says how to test, install and run it")


@policy_app.command("test")
def policy_test(
    file: Annotated[Path, typer.Argument(help="The policy, YAML.")],
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Newest ended tasks to try it on.")] = 1_000,
) -> None:
    """Check a policy and try it on recorded decisions, as JSON; nothing is changed. Exit status 2: it is wrong."""
    from seedcore.cli.policy_test import test_policy

    print(test_policy(load_settings(), file, limit))


@config_app.command("docs")
def config_docs() -> None:
    """Print docs/configuration.md, generated from the settings."""
    from seedcore.cli.config_docs import configuration_page

    print(configuration_page(), end="")


@config_app.command("errors")
def config_errors() -> None:
    """Print docs/errors.md, made from the error classes and the failure codes of tasks."""
    from seedcore.cli.errors_docs import errors_page

    print(errors_page(), end="")


@config_app.command("metrics")
def config_metrics() -> None:
    """Print docs/operations/metrics.md, made from the catalogue of metrics."""
    from seedcore.cli.metrics_docs import metrics_page

    print(metrics_page(), end="")


@config_app.command("check")
def config_check(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of lines.")] = False,
) -> None:
    """Validate the settings of this environment and show them, secrets masked. Exit status 2: one is wrong."""
    shown = _shown(load_settings())
    if as_json:
        print(json.dumps(shown, indent=2))
        return
    for name, value in shown.items():
        print(f"{name}={'' if value is None else value}")


def _shown(settings: Settings) -> dict[str, object]:
    values = settings.model_dump(mode="json")
    masked = {name: "***" for name in SECRET_FIELDS if values[name]}
    return {env_names(name)[0]: masked.get(name, value) for name, value in values.items()}


def main() -> None:
    """Run the command line. An error is one line that says how to fix it, never a traceback."""
    try:
        app()
    except (SettingsError, InvalidInputError) as error:
        _fail(error, EXIT_BAD_INPUT)
    except SeedCoreError as error:
        _fail(error, 1)


def _fail(error: SeedCoreError, status: int) -> None:
    print(f"seedcore: {' '.join(error.detail.split())}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()

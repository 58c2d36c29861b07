"""Runs one attempt of the skill `ml.tune` in a worker: its parts, its count, and one attempt at a time."""

from functools import partial

from seedcore.errors import SeedCoreError
from seedcore.ml.training.checkpoints import job_folder
from seedcore.ml.tuning.ray_trials import ray_search
from seedcore.ml.tuning.tune_extra import require_search
from seedcore.ml.tuning.tuning_job import TuningJob
from seedcore.schemas.ml.tuning import TuneRequest, TuneResult
from seedcore.settings import get_settings
from seedcore.skills.context import SkillContext
from seedcore.stores.postgres import Database
from seedcore.telemetry.metrics import counter


async def run_tuning(request: TuneRequest, context: SkillContext) -> TuneResult:
    """One attempt, counted by how it ends; see `TuningJob.run` for what it raises.

    Raises:
        NotConfiguredError: the extra `tune` is not installed here.
        UnavailableError: another attempt of the job still runs.
    """
    require_search()
    settings = get_settings()
    database = Database(settings, size=2, name="seedcore-ml-tune")
    counts = counter("seedcore_model_jobs_total")
    try:
        with job_folder(settings.models_dir, context.task_id):
            start = partial(ray_search, request, context.task_id, context.tenant)
            result = await TuningJob(request, context, settings, database, start).run()
    except SeedCoreError as error:
        counts.add(1, kind="tune", outcome="retried" if error.transient else "failed")
        raise
    except Exception:
        counts.add(1, kind="tune", outcome="failed")
        raise
    finally:
        await database.aclose()
    counts.add(1, kind="tune", outcome="completed")
    return result

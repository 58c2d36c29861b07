"""What a pod's or host's role means for its connection to Ray."""

from dataclasses import dataclass

from seedcore.settings import Settings, get_settings
from seedcore.telemetry.logs import get_logger
from seedcore.utils import ray_address, ray_utils


@dataclass(frozen=True, slots=True)
class RayDefaults:
    """What this process would use: its role, the Ray it means, and the namespace of SeedCore's actors."""

    role: ray_address.Role
    choice: ray_address.Resolution
    namespace: str


def smart_defaults(settings: Settings | None = None) -> RayDefaults:
    """Work out role, address and namespace from the settings and from what runs here; connects to nothing.

    Raises:
        RayConnectionError: the settings do not fit the role, or do not name one Ray.
    """
    settings = settings or get_settings()
    role = ray_address.detect_role(settings, ray_address.find_local_rays())
    choice = ray_utils.choose_ray(settings=settings)
    return RayDefaults(role, choice, ray_utils.get_ray_namespace(settings))


def init_ray_with_smart_defaults(*, settings: Settings | None = None) -> bool:
    """Connect the way this process's role wants it; `ensure_ray_initialized` with nothing to pass.

    A head and a worker use the Ray of their own host, a client RAY_ADDRESS or RAY_HOST and RAY_PORT.

    Returns:
        True when connected, now or already; False when there is no Ray to connect to.

    Raises:
        RayConnectionError: as `ensure_ray_initialized`.
    """
    settings = settings or get_settings()
    if ray_utils.current_connection() is None:
        defaults = smart_defaults(settings)
        get_logger(__name__).info("Ray by role", role=defaults.role, source=defaults.choice.source)
    return ray_utils.ensure_ray_initialized(settings=settings)

"""Writes a valve's state as bytes and reads it: arrays in a NumPy archive, the rest as JSON in it, no pickles."""

import json
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from seedcore.changepoint.arl_simulation import RunLengthSimulation
from seedcore.changepoint.calibration import Calibration
from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.projections import Whitened
from seedcore.changepoint.rank_scores import CHANNEL_ARRAYS, Channel
from seedcore.changepoint.whitening import AutoRegression, Floats, Space
from seedcore.errors import InvalidInputError

VERSION = 1

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class ValveState:
    """All parts of a valve; `level` is S / threshold by row, shape (r,)."""

    calibration: Calibration
    whitened: Whitened | None
    channels: list[Channel]
    cusums: Cusums
    level: Floats


def pack(
    calibration: Calibration, whitened: Whitened | None, channels: list[Channel], cusums: Cusums, level: Floats
) -> bytes:
    """The bytes of a valve's parts."""
    arrays: Arrays = {f"cusum_{name}": getattr(cusums, name) for name in ("channel", "slope", "threshold", "sums")}
    arrays["level"] = level
    generators = []
    for k, channel in enumerate(channels):
        generators.append(channel.generator_state())
        arrays |= {f"channel_{k}_{name}": values for name, values in channel.arrays().items()}
    if whitened is not None:
        space, past = whitened.space, whitened.past
        arrays |= {"mean": space.mean, "scale": space.scale, "matrix": space.matrix, "memory": whitened.memory}
        arrays |= {"past_coefficients": past.coefficients, "past_tail": past.tail}
    facts = asdict(calibration)
    meta = {"version": VERSION, "rehearsal": facts.pop("rehearsal"), "calibration": facts, "generators": generators}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(data: bytes) -> ValveState:
    """The parts that `pack` wrote.

    Raises:
        InvalidInputError: the bytes are not a valve's state, or are of another version.
    """
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        if meta["version"] != VERSION:
            raise InvalidInputError(f"This valve state has version {meta['version']}; this release reads {VERSION}.")
        return _state(arrays, meta)
    except (BadZipFile, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise InvalidInputError(f"These bytes are not a valve state: {error}") from error


def _state(arrays: Arrays, meta: dict[str, Any]) -> ValveState:
    channels = []
    for k, generator in enumerate(meta["generators"]):
        own = {name: arrays[f"channel_{k}_{name}"] for name in CHANNEL_ARRAYS}
        channels.append(Channel.restore(own, generator))
    whitened = None
    if "matrix" in arrays:
        space = Space(arrays["mean"], arrays["scale"], arrays["matrix"])
        past = AutoRegression(arrays["past_coefficients"], arrays["past_tail"])
        whitened = Whitened(space, past, arrays["memory"])
    simulation = None if meta["rehearsal"] is None else RunLengthSimulation(**meta["rehearsal"])
    return ValveState(
        Calibration(rehearsal=simulation, **meta["calibration"]),
        whitened,
        channels,
        Cusums(*(arrays[f"cusum_{name}"] for name in ("channel", "slope", "threshold", "sums"))),
        arrays["level"],
    )

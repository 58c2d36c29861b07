"""A valve as bytes: arrays in a NumPy archive, the rest as JSON in it. No pickle, in either direction."""

import json
from dataclasses import asdict
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from seedcore.changepoint.cusum import Cusums
from seedcore.changepoint.projections import Whitened
from seedcore.changepoint.rank_scores import Channel
from seedcore.changepoint.whitening import AutoRegression, Floats, Space
from seedcore.errors import InvalidInputError

if TYPE_CHECKING:
    from seedcore.changepoint.valve import Calibration

VERSION = 1


def pack(
    calibration: "Calibration", whitened: Whitened | None, channels: list[Channel], cusums: Cusums, level: Floats
) -> bytes:
    """All parts of a valve."""
    arrays: dict[str, Any] = {
        f"cusum_{name}": getattr(cusums, name) for name in ("channel", "slope", "threshold", "sums")
    }
    arrays["level"] = level
    generators = []
    for k, channel in enumerate(channels):
        parts = channel.state()
        generators.append(parts.pop("rng"))
        arrays |= {f"channel_{k}_{name}": value for name, value in parts.items()}
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


def unpack(data: bytes) -> dict[str, Any]:
    """Parts by name; see `pack`."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays.pop("meta").tobytes())
        if meta["version"] != VERSION:
            raise InvalidInputError(f"This state of a valve has version {meta['version']}; known is {VERSION}.")
        return _parts(arrays, meta)
    except (BadZipFile, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise InvalidInputError(f"This is no state of a valve: {error}") from error


def _parts(arrays: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    channels = [
        Channel.restore(
            {"rng": rng} | {name: arrays[f"channel_{k}_{name}"] for name in ("before", "coefficients", "tail", "after")}
        )
        for k, rng in enumerate(meta["generators"])
    ]
    whitened = None
    if "matrix" in arrays:
        space = Space(arrays["mean"], arrays["scale"], arrays["matrix"])
        past = AutoRegression(arrays["past_coefficients"], arrays["past_tail"])
        whitened = Whitened(space, past, arrays["memory"])
    cusums = Cusums(*(arrays[f"cusum_{name}"] for name in ("channel", "slope", "threshold", "sums")))
    return {
        "calibration": meta["calibration"],
        "rehearsal": meta["rehearsal"],
        "whitened": whitened,
        "channels": channels,
        "cusums": cusums,
        "level": arrays["level"],
    }

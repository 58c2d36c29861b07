"""States of monitors as bytes: arrays in a NumPy archive, the rest as JSON in it, no pickles."""

import json
from io import BytesIO
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from seedcore.errors import InvalidInputError

Arrays = dict[str, npt.NDArray[Any]]


def to_bytes_array(data: bytes) -> npt.NDArray[np.uint8]:
    """Bytes as an array."""
    return np.frombuffer(data, dtype=np.uint8)


def pack_arrays(arrays: Arrays) -> bytes:
    """The arrays as bytes; `meta` is JSON."""
    buffer = BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> tuple[Arrays, dict[str, Any]]:
    """(arrays, `meta`) that `pack_arrays` wrote.

    Raises:
        InvalidInputError: the bytes are something else.
    """
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return arrays, json.loads(arrays.pop("meta").tobytes())
    except (BadZipFile, KeyError, ValueError, TypeError, EOFError, OSError) as error:
        raise InvalidInputError(f"These bytes are not the state of a monitor: {error}") from error

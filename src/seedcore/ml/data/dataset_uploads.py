"""Files of training sets that clients upload: streamed to disk, bounded, and there as a whole or not at all."""

import errno
import os
import re
import time
import uuid
from asyncio import to_thread
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

from seedcore.errors import InvalidInputError, NotFoundError, TooLargeError, UnavailableError
from seedcore.schemas.ml.models import DatasetFile

FILE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\.(?:csv|parquet)"
MAX_FILES = 1000
_TEMPORARY = ".upload-"
_STALE_S = 6 * 3600
_BUFFER = 1 << 20


class DatasetUploads:
    """The files of one folder.

    Args:
        folder: is made when it is not there.
        max_bytes: of one file.
        max_total_bytes: of all files.
    """

    def __init__(self, folder: Path, max_bytes: int, max_total_bytes: int) -> None:
        self.folder, self.max_bytes, self.max_total_bytes = folder, max_bytes, max_total_bytes

    async def store(self, file: str, content: AsyncIterator[bytes]) -> tuple[DatasetFile, bool]:
        """(the file as it is stored now, whether its name is new); another of the same name is replaced at once.

        Raises:
            InvalidInputError: the name is not allowed.
            TooLargeError: it is too large, or too much is stored already.
            UnavailableError: the disk cannot be written.
        """
        path = self._path(file)
        try:
            temporary = await to_thread(self._prepare, file)
            try:
                await self._write(temporary, content)
                return await to_thread(self._finish, temporary, path)
            finally:
                await to_thread(temporary.unlink, missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    async def _write(self, temporary: Path, content: AsyncIterator[bytes]) -> None:
        size, waiting = 0, bytearray()
        with temporary.open("wb") as target:
            async for part in content:
                size += len(part)
                if size > self.max_bytes:
                    raise TooLargeError(
                        f"The file has more than {self.max_bytes} bytes (SEEDCORE_MAX_DATASET_BYTES).",
                        limit=self.max_bytes,
                    )
                waiting += part
                if len(waiting) >= _BUFFER:
                    await to_thread(target.write, bytes(waiting))
                    waiting.clear()
            await to_thread(target.write, bytes(waiting))
            await to_thread(_sync, target.fileno())

    def _prepare(self, file: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(f"{_TEMPORARY}*"):
            if time.time() - leftover.stat().st_mtime > _STALE_S:
                leftover.unlink(missing_ok=True)
        others = [found for found in self.list_files() if found.file != file]
        if len(others) >= MAX_FILES:
            raise TooLargeError(f"There are {MAX_FILES} files already: delete some.", limit=MAX_FILES)
        return self.folder / f"{_TEMPORARY}{uuid.uuid4().hex}"

    def _finish(self, temporary: Path, path: Path) -> tuple[DatasetFile, bool]:
        size = temporary.stat().st_size
        total = size + sum(found.bytes for found in self.list_files() if found.file != path.name)
        if total > self.max_total_bytes:
            raise TooLargeError(
                f"All files together would have {total} bytes, at most {self.max_total_bytes} are allowed "
                "(SEEDCORE_MAX_DATASETS_BYTES): delete some.",
                limit=self.max_total_bytes,
            )
        new = not path.exists()
        temporary.rename(path)
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return _describe(path), new

    def list_files(self) -> list[DatasetFile]:
        """The files that can be named as a `data_source`, those in subfolders too, by name."""
        return [
            _describe(path, path.relative_to(self.folder).as_posix())
            for path in sorted(self.folder.rglob("*"))
            if path.suffix.lower() in (".csv", ".parquet") and path.is_file() and not path.is_symlink()
        ]

    def delete(self, file: str) -> None:
        """Delete a file.

        Raises:
            InvalidInputError: the name is not allowed.
            NotFoundError: there is no such file.
        """
        try:
            self._path(file).unlink()
        except FileNotFoundError:
            raise NotFoundError(f"There is no file {file!r} in {self.folder}.") from None
        except OSError as error:
            raise self._unusable(error) from error

    def _path(self, file: str) -> Path:
        if re.fullmatch(FILE_PATTERN, file) is None:
            message = "must be letters, digits, dots, dashes and underscores, and end in .csv or .parquet"
            raise InvalidInputError.for_field("file", message)
        return self.folder / file

    def _unusable(self, error: OSError) -> UnavailableError:
        code = errno.errorcode.get(error.errno or 0, "?")
        return UnavailableError(f"The folder {self.folder} cannot be used: {code} {error.strerror}.")


def _sync(handle: int) -> None:
    os.fsync(handle)


def _describe(path: Path, name: str | None = None) -> DatasetFile:
    facts = path.stat()
    return DatasetFile(
        file=name or path.name, bytes=facts.st_size, stored_at=datetime.fromtimestamp(facts.st_mtime, UTC)
    )

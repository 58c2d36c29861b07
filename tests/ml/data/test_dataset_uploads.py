from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from seedcore.errors import InvalidInputError, NotFoundError, TooLargeError, UnavailableError
from seedcore.ml.data.dataset_uploads import DatasetUploads


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for part in content:
        yield part


@pytest.fixture
def uploads(tmp_path: Path) -> DatasetUploads:
    return DatasetUploads(tmp_path / "datasets", 1000, 1500)


async def test_a_file_is_stored_listed_replaced_and_deleted(uploads: DatasetUploads):
    stored, new = await uploads.store("a.csv", parts(b"x,y\n", b"1,2\n"))
    assert (stored.file, stored.bytes, new) == ("a.csv", 8, True)
    assert (uploads.folder / "a.csv").read_bytes() == b"x,y\n1,2\n"
    stored, new = await uploads.store("a.csv", parts(b"x\n"))
    assert (stored.bytes, new) == (2, False)
    assert [found.file for found in uploads.list_files()] == ["a.csv"]
    uploads.delete("a.csv")
    assert uploads.list_files() == []
    with pytest.raises(NotFoundError):
        uploads.delete("a.csv")


async def test_a_file_is_there_as_a_whole_or_not_at_all(uploads: DatasetUploads):
    await uploads.store("a.csv", parts(b"old"))

    async def broken() -> AsyncIterator[bytes]:
        yield b"new"
        raise ConnectionError("the client went away")

    with pytest.raises((ConnectionError, UnavailableError)):
        await uploads.store("a.csv", broken())
    assert [path.name for path in uploads.folder.iterdir()] == ["a.csv"]
    assert (uploads.folder / "a.csv").read_bytes() == b"old"


async def test_sizes_are_bounded_while_they_stream(uploads: DatasetUploads):
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 300

    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_DATASET_BYTES"):
        await uploads.store("a.csv", endless())
    assert taken == 4
    await uploads.store("a.csv", parts(b"x" * 900))
    with pytest.raises(TooLargeError, match="SEEDCORE_MAX_DATASETS_BYTES"):
        await uploads.store("b.csv", parts(b"x" * 900))
    # One that takes the place of another does not count twice.
    await uploads.store("a.csv", parts(b"x" * 1000))
    assert [path.name for path in uploads.folder.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    "file",
    ["../a.csv", "a/b.csv", ".csv", ".upload-1.csv", "a.txt", "a.csv\n", "a" * 200 + ".csv", "ü.csv", "a b.csv", ""],
)
async def test_names_that_lead_elsewhere_are_refused(uploads: DatasetUploads, file: str):
    with pytest.raises(InvalidInputError) as caught:
        await uploads.store(file, parts(b""))
    assert [e.field for e in caught.value.errors] == ["file"]
    with pytest.raises(InvalidInputError):
        uploads.delete(file)

"""The background loop: work goes on in a thread of its own."""

import asyncio
import threading

import pytest

from seedcore.utils.background_loop import BackgroundLoop


@pytest.fixture(scope="module")
def background() -> BackgroundLoop:
    return BackgroundLoop("test-loop")


def test_work_runs_in_a_thread_of_its_own(background: BackgroundLoop):
    async def where() -> str:
        return threading.current_thread().name

    assert background.call(where(), 5) == "test-loop"


def test_what_the_work_raises_reaches_the_caller(background: BackgroundLoop):
    async def fail() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        background.call(fail(), 5)


def test_the_caller_waits_no_longer_than_it_says(background: BackgroundLoop):
    ended = threading.Event()

    async def slow() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    with pytest.raises(TimeoutError):
        background.call(slow(), 0.05)
    assert ended.wait(5), "work that nobody waits for any more goes on"


def test_started_work_goes_on_while_the_caller_is_busy(background: BackgroundLoop):
    begun = threading.Event()

    async def begin() -> int:
        begun.set()
        return 7

    future = background.start(begin())
    assert begun.wait(5)
    assert future.result(5) == 7


def test_the_thread_does_not_keep_a_process_alive(background: BackgroundLoop):
    (thread,) = [t for t in threading.enumerate() if t.name == "test-loop"]
    assert thread.daemon


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["SystemExit", "KeyboardInterrupt"])
def test_an_exit_reaches_the_caller_and_the_loop_goes_on(background: BackgroundLoop, error: BaseException):
    async def leave() -> None:
        raise error

    async def answer() -> int:
        await asyncio.sleep(0.01)
        return 7

    before = background.start(answer())
    with pytest.raises(type(error)):
        background.call(leave(), 5)
    assert (before.result(5), background.call(answer(), 5)) == (7, 7)
    assert background.thread.is_alive()


def test_a_loop_that_is_stopped_goes_on(background: BackgroundLoop):
    background.loop.call_soon_threadsafe(background.loop.stop)
    assert background.call(asyncio.sleep(0.01, 7), 5) == 7

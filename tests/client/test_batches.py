"""Submitting many: how tasks are split, and what is known when a batch fails."""

import itertools
import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedcore import errors
from seedcore.client import operations
from seedcore.client.errors import SubmitManyError
from seedcore.client.http_protocol import Reply, Request
from seedcore.client.models import NewTask
from tests.client.scripted_network import GONE, LOST, Network, network, ok, problem


def tasks_of(request: Request) -> list[dict[str, Any]]:
    return json.loads(request.body or b"")["tasks"]


def echo(n: Any, **options: Any) -> NewTask:
    return NewTask(type="echo", params={"value": n}, **options)


class Store:
    """Keeps tasks as SeedCore does: by their keys."""

    def __init__(self) -> None:
        self.ids: dict[str, UUID] = {}
        self.params: list[Any] = []

    def __call__(self, request: Request) -> Reply:
        for task in tasks_of(request):
            if task["idempotency_key"] not in self.ids:
                self.ids[task["idempotency_key"]] = uuid4()
                self.params.append(task["params"]["value"])
        return ok({"ids": [str(self.ids[task["idempotency_key"]]) for task in tasks_of(request)]}, 201)


def submit(
    net: Network, tasks: Any, max_tasks: int = operations.MAX_BATCH_TASKS, max_bytes: int = operations.MAX_BATCH_BYTES
) -> Any:
    return net.run(operations.submit_many(net.policy(), tasks, max_tasks, max_bytes))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 400), max_size=40), max_tasks=st.integers(1, 12), max_bytes=st.integers(550, 3000))
def test_batches_keep_order_and_bounds_and_are_as_full_as_they_can_be(sizes: list[int], max_tasks: int, max_bytes: int):
    store = Store()
    net = Network(store)
    ids = submit(net, [echo(f"{n:04}" + "x" * size) for n, size in enumerate(sizes)], max_tasks, max_bytes)
    assert ids == list(store.ids.values())
    assert [int(value[:4]) for value in store.params] == list(range(len(sizes)))
    bodies = [request.body or b"" for request in net.requests]
    assert all(len(body) <= max_bytes and len(json.loads(body)["tasks"]) <= max_tasks for body in bodies)
    for body, following in itertools.pairwise(bodies):
        first = json.dumps(json.loads(following)["tasks"][0], separators=(",", ":"))
        assert len(json.loads(body)["tasks"]) == max_tasks or len(body) + 1 + len(first) > max_bytes


def test_25_000_tasks_are_three_batches():
    net = Network(Store())
    ids = submit(net, (task for task in [echo(1)] * 25_000))
    assert len(set(ids)) == 25_000
    assert [len(tasks_of(request)) for request in net.requests] == [10_000, 10_000, 5_000]


def test_tasks_are_taken_as_they_are_sent():
    taken = 0

    def source() -> Iterator[NewTask]:
        nonlocal taken
        for n in range(1000):
            taken = n + 1
            yield echo(n)

    ahead = []
    store = Store()

    def answer(request: Request) -> Reply:
        ahead.append(taken - len(store.params) - len(tasks_of(request)))
        return store(request)

    submit(Network(answer), source(), max_tasks=100)
    assert max(ahead) <= 1, "more than a batch is held"


def test_a_batch_whose_answer_got_lost_makes_no_second_tasks():
    store = Store()
    answers = iter([True, False, True])

    def answer(request: Request) -> Any:
        kept = store(request)
        return kept if next(answers) else LOST

    assert submit(Network(answer), [echo(n) for n in range(15)], max_tasks=10) == list(store.ids.values())
    assert store.params == list(range(15))


def test_keys_of_the_caller_are_kept_and_all_others_differ():
    net = Network(Store())
    submit(net, [echo(1), echo(2, idempotency_key="mine"), echo(3)])
    submit(net, [echo(1)])
    keys = [task["idempotency_key"] for request in net.requests for task in tasks_of(request)]
    assert keys[1] == "mine"
    assert len(set(keys)) == 4


def test_a_failed_batch_says_what_was_accepted_and_which_field_of_all_was_wrong():
    store = Store()
    wrong = problem(422, "invalid_input", errors=[{"field": "tasks.3.params.value", "message": "too loud"}])
    net = Network(lambda request: store(request) if len(store.ids) < 20 else wrong)
    tasks = [echo(n) for n in range(50)]
    with pytest.raises(SubmitManyError, match="20 tasks were accepted, then a batch of 10 failed: it is inv") as raised:
        submit(net, tasks, max_tasks=10)
    assert raised.value.accepted == list(store.ids.values())
    assert raised.value.errors == (errors.FieldError("tasks.23.params.value", "too loud"),)
    assert isinstance(raised.value.cause, errors.InvalidInputError)
    assert not raised.value.transient
    assert pickle.loads(pickle.dumps(raised.value)).accepted == raised.value.accepted


def test_what_is_unsure_can_be_submitted_again():
    store = Store()
    sent = 0

    def answer(request: Request) -> Any:
        nonlocal sent
        sent += 1
        kept = store(request)
        return kept if sent == 1 else LOST

    tasks = [echo(n) for n in range(30)]
    with pytest.raises(SubmitManyError) as raised:
        submit(Network(answer), tasks, max_tasks=10)
    failed = raised.value
    assert failed.transient
    rest = [*failed.unsure, *tasks[len(failed.accepted) + len(failed.unsure) :]]
    assert [*failed.accepted, *submit(Network(store), rest)] == list(store.ids.values())
    assert store.params == list(range(30))


@pytest.mark.parametrize(
    ("bad", "cause"), [(float("nan"), errors.InvalidInputError), ("x" * 5000, errors.TooLargeError)]
)
def test_a_task_that_cannot_be_sent_ends_it_after_the_batches_before(bad: Any, cause: type[Exception]):
    store = Store()
    with pytest.raises(SubmitManyError) as raised:
        submit(Network(store), [echo(1), echo(2), echo(3), echo(bad)], max_tasks=2, max_bytes=4096)
    assert (store.params, len(raised.value.accepted), raised.value.unsure) == ([1, 2], 2, [])
    assert isinstance(raised.value.cause, cause)


def test_no_tasks_are_no_request():
    assert submit(network(), []) == []


def test_too_few_ids_are_no_good_answer():
    with pytest.raises(SubmitManyError, match="gave 1 ids for 2 tasks"):
        submit(network(ok({"ids": [str(uuid4())]}, 201)), [echo(1), echo(2)])


@pytest.mark.parametrize("bounds", [(0, 1000), (10, 0)])
def test_bounds_must_leave_room(bounds: tuple[int, int]):
    with pytest.raises(errors.InvalidInputError):
        submit(network(GONE), [echo(1)], *bounds)

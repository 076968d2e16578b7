"""Reading ahead: whole objects in their order, a bounded number of parts at a time, and none that nobody wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import count

import pytest

from flows import read_ahead
from flows.domain import StoredObject
from flows.read_ahead import Readable, ReadAhead

PART = 10
CONTENTS = {"a": b"0123456789" * 5 + b"rest", "b": b"", "c": b"c", "d": b"d" * PART, "e": b"e" * 95}


class Storage:
    """Gives parts at once, and notes which ones, and how many were on the way together."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.broken: set[tuple[str, int]] = set()
        self.told = count()
        self.futures: list[Future[bytes]] = []

    def fetch(self, stored: StoredObject, start: int, end: int) -> Future[bytes]:
        self.asked.append((stored.key, start))
        part: Future[bytes] = Future()
        if (stored.key, start) in self.broken:
            part.set_exception(OSError("broken"))
        elif start < 90:  # what is later never comes
            part.set_result(CONTENTS[stored.key][start:end])
        self.futures.append(part)
        return part

    def reading(self, objects: Sequence[StoredObject], parts_ahead: int) -> ReadAhead:
        def explain(error: Exception) -> Exception:
            return OSError(f"explained: {error}")

        return ReadAhead(objects, self.fetch, explain, lambda: None, parts_ahead=parts_ahead)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(read_ahead, "PART_BYTES", PART)
    return Storage()


OBJECTS = {name: StoredObject("bucket", name, len(content), "etag") for name, content in CONTENTS.items()}


def whole(file: Readable, size: int) -> bytes:
    return b"".join(iter(lambda: file.read(size), b""))


@pytest.mark.parametrize("size", [1, 3, PART, PART + 1, 1000])
@pytest.mark.parametrize("parts_ahead", [1, 2, 100])
def test_every_object_comes_whole_and_in_order(storage: Storage, size: int, parts_ahead: int) -> None:
    names = ("a", "a", "b", "b", "c", "d", "c")  # one that is loaded for two attempts is asked for twice
    ahead = storage.reading([OBJECTS[name] for name in names], parts_ahead)
    for name in names:
        with ahead.open(OBJECTS[name]) as file:
            assert whole(file, size) == CONTENTS[name]
    assert len(storage.asked) == 6 + 6 + 1 + 1 + 1 + 1 + 1


def test_only_so_many_parts_are_asked_for_before_they_are_used(storage: Storage) -> None:
    ahead = storage.reading([OBJECTS["a"], OBJECTS["d"]], 3)
    with ahead.open(OBJECTS["a"]) as file:
        assert len(storage.asked) == 3
        for used in range(1, 4):
            file.read(PART)
            assert len(storage.asked) == 3 + used


def test_what_is_left_of_an_object_is_not_asked_for(storage: Storage) -> None:
    ahead = storage.reading([OBJECTS["a"], OBJECTS["c"]], 2)
    with ahead.open(OBJECTS["a"]) as file:
        file.read(1)
    with ahead.open(OBJECTS["c"]) as file:
        assert whole(file, 1) == b"c"
    assert storage.asked == [("a", 0), ("a", 10), ("a", 20), ("c", 0)]


def test_an_error_is_that_of_its_object_alone(storage: Storage) -> None:
    storage.broken.add(("a", 20))
    ahead = storage.reading([OBJECTS["a"], OBJECTS["d"]], 2)
    with ahead.open(OBJECTS["a"]) as file, pytest.raises(OSError, match="explained: broken"):
        whole(file, PART)
    with ahead.open(OBJECTS["d"]) as file:
        assert whole(file, PART) == CONTENTS["d"]


def test_closing_stops_what_is_on_the_way(storage: Storage) -> None:
    ahead = storage.reading([OBJECTS["e"]], 100)
    with ahead.open(OBJECTS["e"]) as file:
        file.read(1)
        ahead.close()
    assert storage.futures[-1].cancelled()


@pytest.mark.parametrize("wrong", ["c", "e"])
def test_another_order_than_was_given_is_an_error(storage: Storage, wrong: str) -> None:
    ahead = storage.reading([OBJECTS["a"], OBJECTS["c"]], 2)
    opening: Callable[[], object] = ahead.open(OBJECTS[wrong]).__enter__
    with pytest.raises(ValueError, match="not the next"):
        opening()

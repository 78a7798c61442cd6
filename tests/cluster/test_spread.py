"""Items over real Dask workers: each comes back once, whatever dies on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.cluster.doubling import N_IN_FLIGHT, POISON, Doubling
from trimix_cpp.cluster import Address, Spread, connected
from trimix_cpp.errors import TrimixError

pytest.importorskip("distributed")
TWO = Address.parse("local:2")


@pytest.fixture
def opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doubling:
    monkeypatch.chdir(tmp_path)  # workers import nothing from the current folder
    (tmp_path / "log").touch()
    return Doubling(tmp_path / "log")


def children() -> list[psutil.Process]:
    own = psutil.Process().children()
    return [child for child in own if child.status() != psutil.STATUS_ZOMBIE]


def test_every_item_comes_back_once_and_the_feed_is_taken_as_workers_have_places(
    opening: Doubling,
) -> None:
    taken = 0

    def took(item: int) -> int:
        nonlocal taken
        taken = item
        return item

    with connected(TWO, opening) as spread:
        for came, (item, result) in enumerate(spread.run(map(took, range(1, 301)))):
            assert result == 2 * item
            # Places and what waits beside them, of both, and a task's items of rounding.
            assert taken - came <= 2 * 2 * (N_IN_FLIGHT + 1) + 8
        assert spread.made_by == [{"cpu": "an abacus"}]
        assert sorted(opening.done()) == list(range(1, 301))
        assert list(spread.run([])) == []
        # The same workers serve another run.
        assert sorted(spread.run([5, 7])) == [(5, 10), (7, 14)]
    assert not children()


def test_a_worker_that_dies_is_replaced_and_only_what_was_in_flight_is_done_twice(
    opening: Doubling,
) -> None:
    killed, found = 0, []
    with connected(TWO, opening) as spread:
        for item, result in spread.run(range(600)):
            assert result == 2 * item
            found.append(item)
            if len(found) in (50, 51, 250, 400):  # both, one, one
                for victim in children()[:1]:
                    victim.kill()
                    victim.wait()
                    killed += 1
    assert sorted(found) == list(range(600))
    assert killed >= 3
    twice = sum(count - 1 for count in Counter(opening.done()).values())
    # What a worker had finished and not handed over, at most all that it was given.
    assert twice <= killed * (N_IN_FLIGHT + 1)


def test_what_is_wrong_with_an_item_is_raised(opening: Doubling) -> None:
    with connected(TWO, opening) as spread, pytest.raises(TrimixError, match="-5 cannot be"):
        list(spread.run([1, 2, -5, 3]))
    assert not children()


@pytest.mark.slow
def test_an_item_that_ends_its_workers_is_left_and_the_others_are_done(
    opening: Doubling,
) -> None:
    items = [*range(40), POISON, *range(40, 80)]
    found = []
    with (
        connected(Address.parse("local:1"), opening) as spread,
        pytest.raises(TrimixError, match="1 part of the work went to four workers"),
    ):
        for item, _ in spread.run(items):
            found.append(item)
    assert sorted(found) == list(range(80))


def test_workers_that_refuse_say_why(opening: Doubling) -> None:
    opening.log.with_name("refuse").write_text("its large is another file")
    refused = pytest.raises(TrimixError, match="takes no part: its large is another file")
    with refused, connected(TWO, opening):
        pass
    assert not children()


def test_whoever_stops_taking_leaves_nothing(opening: Doubling) -> None:
    with connected(TWO, opening) as spread:
        run = spread.run(range(10_000))
        next(run)
        run.close()  # type: ignore[attr-defined]
        time.sleep(0.2)
        before = len(opening.done())
        time.sleep(0.3)
        assert len(opening.done()) <= before + 2 * (N_IN_FLIGHT + 1)
    assert not children()


def test_feeds_may_fail(opening: Doubling) -> None:
    def feed() -> Iterator[int]:
        yield 1
        raise OSError("the folder is gone")

    spread: Spread[int, int]
    with connected(TWO, opening) as spread, pytest.raises(OSError, match="folder is gone"):
        list(spread.run(feed()))
    assert not children()


def test_a_run_with_other_models_takes_no_worker_from_one_that_is_there(opening: Doubling) -> None:
    from distributed import LocalCluster

    other = replace(opening, key="other")
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://",
            host="127.0.0.1", dashboard_address="127.0.0.1:0",
        ) as cluster,
        connected(Address.parse(cluster.scheduler_address), opening) as first,
    ):  # fmt: skip
        # It has asked for nothing yet; still, its models stay.
        with (
            pytest.raises(TrimixError, match="it works for another run"),
            connected(Address.parse(cluster.scheduler_address), other),
        ):
            pass
        with connected(Address.parse(cluster.scheduler_address), opening) as second:
            assert sorted(second.run([1, 2])) == [(1, 2), (2, 4)]
        assert sorted(first.run([3, 4])) == [(3, 6), (4, 8)]

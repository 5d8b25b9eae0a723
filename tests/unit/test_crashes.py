"""Which crashes are evidence against a document, and the odds that an innocent one is blamed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import pytest

from pipeline.db.crashes import MAX_CRASHES, MAX_REPEATS, Crashes

STORM_SECONDS = 120.0
LEASE_SECONDS = 2.0
WORKERS = 2
DOCUMENTS = 5_000


def crash(*steps: int) -> Crashes:
    crashes = Crashes()
    for step in steps:
        crashes = crashes.add(step)
    return crashes


def test_document_is_blamed_after_four_crashes_alone_at_the_same_step() -> None:
    steps = [9, *[5] * MAX_REPEATS]
    assert [crash(*steps[:number]).is_given_up for number in range(1, 6)] == [False, False, False, False, True]


def test_first_crash_happens_beside_other_jobs_and_is_no_evidence() -> None:
    assert not Crashes().is_suspect
    assert crash(5).is_suspect
    assert crash(5).repeats == 0


def test_crash_at_a_later_step_refutes_the_evidence() -> None:
    assert crash(5, 5, 5, 5, 6).repeats == 1
    assert not crash(5, 5, 5, 5, 6, 6, 7).is_given_up


def test_crash_at_an_earlier_step_proves_nothing() -> None:
    assert crash(5, 5, 5, 3, 5, 1).repeats == 3
    assert crash(5, 5, 5, 3, 5, 1, 5).is_given_up


def test_number_of_crashes_has_a_bound() -> None:
    assert not crash(*range(MAX_CRASHES - 1)).is_given_up
    assert crash(*range(MAX_CRASHES)).is_given_up


@dataclass(frozen=True)
class Innocent:
    """A document that kills nobody, and how many of DOCUMENTS may be blamed."""

    steps: int
    step_seconds: float
    blamed: int


@pytest.mark.parametrize(
    "document",
    [
        Innocent(steps=4, step_seconds=0.25, blamed=1),
        Innocent(steps=40, step_seconds=0.25, blamed=2),
        Innocent(steps=400, step_seconds=0.25, blamed=5),
        Innocent(steps=40, step_seconds=1.0, blamed=75),
    ],
    ids=str,
)
def test_innocent_documents_survive_random_kills(document: Innocent) -> None:
    """Of two workers, a random one is killed every 3 to 7 s for two minutes, as in row 52 of the fault matrix."""
    dice = random.Random(52)
    blamed = sum(is_blamed(document, dice) for _ in range(DOCUMENTS))
    print(f"{document}: {blamed} of {DOCUMENTS} blamed")
    assert blamed <= document.blamed


def is_blamed(document: Innocent, dice: random.Random) -> bool:
    """Return whether it is given up before it is ready. A worker takes it again at once, which is the worst case."""
    crashes, now = Crashes(), 0.0
    kills = list(make_kills(dice))
    while True:
        worker = dice.randrange(WORKERS)
        death = next((at for at, killed in kills if at > now and killed == worker), inf)
        if death - now > document.steps * document.step_seconds:
            return False
        crashes = crashes.add(1 + int((death - now) / document.step_seconds))
        if crashes.is_given_up:
            return True
        now = death + LEASE_SECONDS


def make_kills(dice: random.Random) -> Iterator[tuple[float, int]]:
    at = dice.uniform(3, 7)
    while at < STORM_SECONDS:
        yield at, dice.randrange(WORKERS)
        at += dice.uniform(3, 7)

"""Who waits for spawn requests, and who leaves them to a freer supervisor."""

import dataclasses

import pytest
from htagweb_broker import Beat, BrokerUnavailable, Supervisors

from htagweb.supervisor.standing import BACK, MARGIN, Standing, excess, gives_way
from tests.support.fakes import FakeBroker

ME = "me-1-aa"


def beat(load: int, capacity: int = 100, host: str = "h", cpu: float = 0.0, draining: bool = False) -> Beat:
    return Beat(host, host, 1, "v", capacity, load, draining, cpu)


# The rule


def test_who_is_alone_waits_however_full_it_is() -> None:
    assert not gives_way(beat(99), [], False)


def test_equal_ones_all_wait() -> None:
    assert not gives_way(beat(50), [beat(50), beat(50)], False)


@pytest.mark.parametrize(("load", "gave_way"), [(54, False), (56, True)])
def test_who_is_clearly_fuller_gives_way(load: int, gave_way: bool) -> None:
    assert gives_way(beat(load), [beat(50)], False) is gave_way


@pytest.mark.parametrize(("load", "still"), [(54, True), (53, True), (51, False), (50, False)])
def test_who_gave_way_waits_again_only_when_it_is_hardly_fuller(load: int, still: bool) -> None:
    assert gives_way(beat(load), [beat(50)], True) is still


def test_apps_count_by_the_capacity_and_not_by_their_number() -> None:
    small, large = beat(4, 10), beat(10, 30)
    assert gives_way(small, [large], False)
    assert not gives_way(large, [small], False)


def test_a_busy_host_gives_way_to_an_idle_one() -> None:
    busy, idle = beat(0, host="busy", cpu=0.9), beat(10, host="idle", cpu=0.1)
    assert gives_way(busy, [idle], False)
    assert not gives_way(idle, [busy], False)


def test_a_host_that_is_more_than_busy_is_busy() -> None:
    assert excess(beat(0, host="a", cpu=17.0), beat(0, host="b", cpu=1.0)) == 0


def test_on_one_host_the_processors_are_as_busy_for_both() -> None:
    # Their beats were made a moment apart, and say different things of the same processors.
    assert excess(beat(10, cpu=0.9), beat(10, cpu=0.1)) == 0


@pytest.mark.parametrize("other", [beat(0, draining=True), beat(0, capacity=0), beat(1, capacity=1)])
def test_nobody_gives_way_to_who_takes_no_apps(other: Beat) -> None:
    assert not gives_way(beat(99), [other], False)


def test_a_beat_of_an_older_version_counts_by_its_apps() -> None:
    older = Beat("old", "old", 1, "1.0", 100, 10, draining=False)
    assert gives_way(beat(20), [older], False)
    assert not gives_way(beat(12), [older], False)


def test_of_any_three_somebody_waits() -> None:
    for loads in [(0, 4, 8), (4, 8, 0), (10, 50, 99), (7, 7, 7)]:
        for cpu in (0.0, 0.4, 2.0):
            hosts = [beat(loads[0], host="a", cpu=cpu), beat(loads[1], host="a", cpu=cpu)]
            hosts.append(beat(loads[2], host="b", cpu=0.4))
            waiting = [not gives_way(each, [o for o in hosts if o is not each], False) for each in hosts]
            assert any(waiting)


# What it is used with


class Site:
    """One supervisor and what it knows of another."""

    def __init__(self) -> None:
        self.broker = FakeBroker()
        self.mine = beat(0)
        self.beats = 0
        presence = self.broker.supervisor_side.presence
        self.standing = Standing(presence, ME, lambda: self.mine, self._beat)

    async def _beat(self) -> None:
        self.beats += 1

    def sees(self, other: Beat) -> None:
        """Have it know of the other since its last heartbeat."""
        self.standing.note(Supervisors({ME: self.mine, "other-1-bb": other}, frozenset()))

    def says(self, other: Beat) -> None:
        """Have the other say something that it has not heard yet."""
        self.broker.living = {ME: self.mine, "other-1-bb": other}

    async def begin_to_give_way(self) -> None:
        """Have it half full, beside an empty one."""
        self.sees(beat(0))
        self.says(beat(0))
        self.fill(50)
        await self.standing.gives_way()
        assert await self.standing.gives_way()

    def fill(self, load: int) -> None:
        self.mine = dataclasses.replace(self.mine, load=load)


async def test_before_it_gives_way_it_asks_anew_how_full_the_others_are() -> None:
    site = Site()
    site.sees(beat(0))
    site.says(beat(20))
    site.fill(20)
    assert not await site.standing.gives_way()
    assert len(site.broker.of("supervisors")) == 1


async def test_who_begins_to_give_way_says_so_and_waits_once_more() -> None:
    site = Site()
    site.says(beat(0))
    site.sees(beat(0))
    site.fill(20)
    assert not await site.standing.gives_way()
    assert site.beats == 1
    for _ in range(5):
        assert await site.standing.gives_way()
    assert site.beats == 1


async def test_who_gives_way_hears_at_once_that_the_other_is_fuller() -> None:
    site = Site()
    await site.begin_to_give_way()
    site.says(beat(60))
    assert not await site.standing.gives_way()


async def test_between_the_two_margins_nothing_changes() -> None:
    site = Site()
    between = int(100 * (MARGIN + BACK) / 2)
    site.sees(beat(0))
    site.says(beat(0))
    site.fill(between)
    assert not await site.standing.gives_way()
    await site.begin_to_give_way()
    site.fill(between)
    assert await site.standing.gives_way()


async def test_it_does_not_compare_itself_with_itself() -> None:
    site = Site()
    site.standing.note(Supervisors({ME: beat(0)}, frozenset()))
    site.fill(100)
    assert not await site.standing.gives_way()


async def test_a_broker_that_cannot_be_asked_is_an_error() -> None:
    site = Site()
    site.sees(beat(0))
    site.fill(50)
    site.broker.away = True
    with pytest.raises(BrokerUnavailable):
        await site.standing.gives_way()


@pytest.mark.parametrize(("capacity", "most"), [(10, 1), (100, 5), (1000, 16)])
def test_beside_others_no_more_is_taken_at_once_than_keeps_it_even(capacity: int, most: int) -> None:
    site = Site()
    site.mine = beat(0, capacity)
    assert site.standing.most(16) == 16
    site.sees(beat(0))
    assert site.standing.most(16) == most


async def test_others_are_told_at_once_of_a_clear_change_and_of_no_other() -> None:
    site = Site()
    site.fill(4)
    await site.standing.tell()
    assert site.beats == 0
    site.fill(5)
    await site.standing.tell()
    site.fill(9)
    await site.standing.tell()
    assert site.beats == 1
    site.fill(0)
    await site.standing.tell()
    assert site.beats == 2

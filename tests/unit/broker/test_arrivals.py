"""New sessions are counted by address, for a second."""

from htagweb_broker import limits
from htagweb_broker.arrivals import Arrivals
from htagweb_broker.keys import Keys

from tests.unit.broker.fakes import FakeServerClient


async def test_each_address_is_counted_by_itself(memory: FakeServerClient) -> None:
    arrivals = Arrivals(memory, Keys())
    assert [await arrivals.count(each) for each in ("a", "a", "b", "a")] == [1, 2, 1, 3]


async def test_the_count_begins_anew_a_second_after_its_first(memory: FakeServerClient) -> None:
    arrivals = Arrivals(memory, Keys())
    await arrivals.count("a")
    await memory.call("PEXPIRE", Keys().arrivals("a"), limits.ARRIVALS_TTL_MS - 400)
    await arrivals.count("a")
    # Later ones do not prolong it, or a steady stream would be refused for ever.
    assert 0 < await memory.call("PTTL", Keys().arrivals("a")) <= limits.ARRIVALS_TTL_MS - 400

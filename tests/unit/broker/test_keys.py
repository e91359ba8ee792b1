"""Keys: one slot a session, names that cannot be mistaken for each other."""

import pytest
from htagweb_broker.keys import PARTITIONS, InstanceId, Keys, partition

from tests.unit.broker.fakes import CART, SESSION


def tag_of(key: str) -> str:
    return key[key.index("{") + 1 : key.index("}")]


def keys_of_one_session(keys: Keys) -> list[str]:
    return [
        keys.session(SESSION),
        keys.moved(SESSION),
        keys.pages(SESSION),
        keys.instance(CART),
        keys.inbox(CART),
        keys.outbox(CART),
        keys.actions(CART),
        keys.reply(SESSION, "r1"),
        keys.seal(SESSION, 7),
    ]


def test_all_keys_of_a_session_carry_the_same_hash_tag() -> None:
    assert {tag_of(key) for key in keys_of_one_session(Keys())} == {f"p{partition(SESSION)}"}


def test_all_keys_of_all_supervisors_carry_the_same_hash_tag() -> None:
    keys = Keys()
    made = [keys.known_supervisors, keys.beat("s1"), keys.owned("s1"), keys.beat("s2")]
    assert {tag_of(key) for key in made} == {"supervisors"}


def test_the_keys_are_the_ones_of_the_data_model() -> None:
    keys, tag = Keys("ns"), f"{{p{partition(SESSION)}}}"
    assert keys_of_one_session(keys) == [
        f"ns:{tag}:session:{SESSION}",
        f"ns:{tag}:moved:{SESSION}",
        f"ns:{tag}:pages:{SESSION}",
        f"ns:{tag}:instance:{SESSION}:shop.Cart",
        f"ns:{tag}:inbox:{SESSION}:shop.Cart",
        f"ns:{tag}:outbox:{SESSION}:shop.Cart",
        f"ns:{tag}:actions:{SESSION}:shop.Cart",
        f"ns:{tag}:reply:r1",
        f"ns:{tag}:seal:{SESSION}:7",
    ]
    assert (keys.web("w"), keys.spawn, keys.secret) == ("ns:web:w", "ns:spawn", "ns:secret")
    assert keys.arrivals("d") == "ns:arrivals:d"
    assert keys.beat("s") == "ns:{supervisors}:beat:s"
    assert keys.owned("s") == "ns:{supervisors}:owned:s"


def test_no_two_kinds_of_key_are_the_same() -> None:
    made = keys_of_one_session(Keys())
    assert len(set(made)) == len(made)


def test_two_namespaces_share_no_key() -> None:
    assert not set(keys_of_one_session(Keys("one"))) & set(keys_of_one_session(Keys("two")))


def test_a_partition_is_one_of_a_fixed_set() -> None:
    found = {partition(f"{number:08x}{'0' * 56}") for number in range(1000)}
    assert found == set(range(PARTITIONS))


@pytest.mark.parametrize("namespace", ["", "a:b", "{a}", "a}", "a b", "a*"])
def test_a_namespace_that_would_break_the_keys_is_refused(namespace: str) -> None:
    with pytest.raises(ValueError, match="expected a namespace"):
        Keys(namespace)


def test_an_instance_survives_its_text() -> None:
    assert InstanceId.load(CART.dump()) == CART


@pytest.mark.parametrize("text", ["", ":", "abc", "abc:", ":m.A"])
def test_a_text_that_names_no_instance_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 'session:app'"):
        InstanceId.load(text)


def test_an_instance_is_shown_with_the_start_of_its_session_only() -> None:
    assert str(CART) == "01234567:shop.Cart"

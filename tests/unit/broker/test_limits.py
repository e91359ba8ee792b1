"""The limits hold each other up."""

from htagweb_broker import inboxes, limits, spawns
from htagweb_broker.connection import MAX_WAITING
from htagweb_broker.messages import MAX_INBOX_BYTES, MAX_OUTBOX_BYTES

from htagweb.settings import Settings
from htagweb.web.submitting import PATIENCE_S


def test_a_supervisor_may_miss_two_beats_and_lives() -> None:
    assert 3 * Settings().beat_interval_s <= limits.DEAD_AFTER_S


def test_an_instance_survives_a_failed_renewal() -> None:
    assert limits.INSTANCE_TTL_MS >= 2 * limits.INSTANCE_RENEW_S * limits.SECOND_MS


def test_a_request_is_called_abandoned_only_when_its_reader_would_be_called_dead() -> None:
    assert spawns.ABANDONED_MS >= limits.DEAD_AFTER_S * limits.SECOND_MS


def test_the_registry_outlives_the_heartbeats_it_lists() -> None:
    assert limits.REGISTRY_TTL_MS > limits.DEAD_AFTER_S * limits.SECOND_MS


def test_a_session_outlives_its_instances_and_their_messages() -> None:
    assert limits.SESSION_TTL_S * limits.SECOND_MS >= limits.INSTANCE_TTL_MS >= limits.INBOX_TTL_MS


def test_all_inboxes_are_read_with_fewer_commands_than_a_connection_takes() -> None:
    assert inboxes.READ_AT_ONCE < MAX_WAITING


def test_one_read_brings_a_part_of_the_fullest_inbox_and_there_is_always_another() -> None:
    assert 0 < inboxes.READ_COUNT <= limits.INBOX_MAX_ENTRIES


def test_what_was_not_published_is_found_long_before_its_page_gives_up() -> None:
    assert inboxes.LOOK_S < PATIENCE_S


def test_an_action_can_hold_what_a_message_can_bring() -> None:
    assert MAX_OUTBOX_BYTES >= MAX_INBOX_BYTES


def test_every_limit_is_positive() -> None:
    numbers = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert numbers
    assert all(value > 0 for value in numbers.values())

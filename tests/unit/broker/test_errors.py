"""What an error says: the server's words, and what an operator can do where that is known."""

import pytest
from htagweb_broker.errors import REMEDIES, BrokerRefused, BrokerUnavailable, ScriptUnknown

WORDS = {
    "OOM command not allowed when used memory > 'maxmemory'. script: on @user_script:1.": "maxmemory",
    "MISCONF Errors writing to the AOF file: No space left on device": "disk",
    "NOAUTH Authentication required.": "HTAGWEB_REDIS_URL",
    "Authentication required.": "HTAGWEB_REDIS_URL",
    "WRONGPASS invalid username-password pair or user is disabled.": "user or password",
    "invalid username-password pair or user is disabled.": "user or password",
    "NOPERM User web has no permissions to run the 'keys' command": "users.acl",
}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("kind", [BrokerRefused, BrokerUnavailable])
def test_what_an_operator_can_heal_says_how_after_the_servers_words(
    words: str, kind: type[BrokerRefused | BrokerUnavailable]
) -> None:
    error = kind(words)
    assert error.remedy in REMEDIES.values()
    assert str(error) == f"{words} ({error.remedy})"
    assert WORDS[words] in error.remedy
    assert str(kind(str(error))) == str(error), "said once"


@pytest.mark.parametrize("words", ["WRONGTYPE Operation against a key", "ERR unknown command", ""])
def test_any_other_refusal_is_the_servers_words(words: str) -> None:
    assert str(BrokerRefused(words)) == str(ScriptUnknown(words)) == words
    assert BrokerRefused(words).remedy == ""

"""Only pages of our own address, and programs, may open sockets."""

import pytest
from starlette.requests import HTTPConnection

from htagweb.web.origin import is_same_origin


def connection(**headers: str) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("site.org", "https://site.org"),
        ("site.org", "http://SITE.org"),
        ("Site.org:8000", "http://site.org:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_page_of_the_same_host_is_taken(host: str, origin: str) -> None:
    assert is_same_origin(connection(host=host, origin=origin))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("site.org", "https://evil.org"),
        ("site.org", "https://site.org.evil.org"),
        ("site.org", "https://evil.org/site.org"),
        ("site.org", "https://site.org@evil.org"),
        ("site.org:8000", "http://site.org:9000"),
        ("site.org", "null"),
        ("site.org", ""),
        ("site.org", "site.org"),
    ],
)
def test_a_page_of_another_address_is_not(host: str, origin: str) -> None:
    assert not is_same_origin(connection(host=host, origin=origin))


def test_a_program_sends_no_origin_and_is_taken() -> None:
    assert is_same_origin(connection(host="site.org"))

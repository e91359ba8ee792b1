"""No query of an address gets into a web server's log."""

import logging
import logging.config
from collections.abc import Iterator

import pytest
from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import AccessFormatter

from htagweb.logs import QueryFilter, hide_queries

LOGGERS = ("uvicorn.access", "uvicorn.error")


@pytest.fixture
def clean_loggers() -> Iterator[None]:
    """Leave uvicorn's loggers as they were."""
    yield
    for name in ("uvicorn", *LOGGERS):
        logger = logging.getLogger(name)
        logger.filters.clear()
        logger.handlers.clear()
        logger.propagate = True


def record(text: str, *args: object) -> logging.LogRecord:
    made = logging.LogRecord("uvicorn.access", logging.INFO, "", 0, text, args, None)
    assert QueryFilter().filter(made)
    return made


def test_uvicorns_access_line_has_the_path_and_no_query() -> None:
    line = record('%s - "%s %s HTTP/%s" %d', "127.0.0.1:5", "GET", "/a/b?token=word&x=1?2", "1.1", 200)
    formatter = AccessFormatter('%(client_addr)s "%(request_line)s" %(status_code)s', use_colors=False)
    assert formatter.format(line) == '127.0.0.1:5 "GET /a/b?... HTTP/1.1" 200 OK'


def test_uvicorns_line_of_a_socket_has_no_query_either() -> None:
    line = record('%s - "WebSocket %s" [accepted]', "127.0.0.1:5", "/_/m.App?page=word")
    assert line.getMessage() == '127.0.0.1:5 - "WebSocket /_/m.App?..." [accepted]'


@pytest.mark.parametrize("args", [(), (1, 2.5, None), ("what?",), ("/path",), ("http://h/?",)])
def test_what_is_no_address_with_a_query_stays(args: tuple[object, ...]) -> None:
    assert record("text", *args).args == args


def test_a_record_with_named_arguments_passes() -> None:
    assert record("%(a)s", {"a": "/x?y"}).getMessage() == "/x?y"


@pytest.mark.parametrize("name", LOGGERS)
def test_the_filter_is_there_once_and_outlives_uvicorns_own_configuration(
    name: str, clean_loggers: None
) -> None:
    hide_queries()
    hide_queries()
    logging.config.dictConfig(LOGGING_CONFIG)
    assert [type(each) for each in logging.getLogger(name).filters] == [QueryFilter]

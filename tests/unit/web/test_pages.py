"""The documents: where the client goes in, and that nothing in them can break out."""

import json
import re
from html import unescape

import pytest
from htagweb_broker import EndReason
from starlette.responses import Response

from htagweb.web import pages
from htagweb.web.script import CLIENT_JS, CLIENT_VERSION


def text(response: Response) -> str:
    return bytes(response.body).decode()


@pytest.mark.parametrize(
    ("document", "before"),
    [
        ("<html><head><title>x</title></head>", "<html><head>"),
        ("<!DOCTYPE html><HTML><HEAD lang='x'><b>", "<!DOCTYPE html><HTML><HEAD lang='x'>"),
        ("<html><head\n a='1'><meta>", "<html><head\n a='1'>"),
        ("<head></head><head>", "<head>"),
    ],
)
def test_the_client_is_the_first_of_the_head(document: str, before: str) -> None:
    page = text(pages.app_page(document, "", {}))
    assert page.startswith(before + '<script id="htagweb-config"')
    assert page.endswith("</script>" + document[len(before) :])


@pytest.mark.parametrize("document", ["<p>no head", ""])
def test_a_document_without_a_head_begins_with_the_client(document: str) -> None:
    page = text(pages.app_page(document, "", {}))
    assert page.startswith('<script id="htagweb-config"')
    assert page.endswith(f"</script>{document}")


def test_no_value_can_end_the_configurations_element() -> None:
    config: dict[str, object] = {"url": "</script><script>alert(1)</script><!--", "last": 3}
    page = text(pages.app_page("<head>", "", config))
    found = re.search(r'type="application/json">(.*?)</script>', page)
    assert found
    assert "<" not in found[1]
    assert json.loads(found[1]) == config


def test_the_scripts_address_is_below_the_mount_and_changes_with_its_text() -> None:
    page = text(pages.app_page("<head>", '/a"b', {}))
    assert f'src="/a&quot;b/_/client.js?v={CLIENT_VERSION}"' in page


def test_a_page_is_not_stored() -> None:
    assert pages.app_page("", "", {}).headers["cache-control"] == "no-store"


def test_the_client_script_is_kept_for_ever() -> None:
    response = pages.client_script()
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert response.headers["content-type"].startswith("text/javascript")
    assert text(response) == CLIENT_JS


def test_a_problem_page_escapes_title_and_detail() -> None:
    page = text(pages.problem(500, "<t>", "as it is: <code>x</code>", detail="</pre><script>"))
    assert "<h1>&lt;t&gt;</h1>" in page
    assert "<title>&lt;t&gt;</title>" in page
    assert "<pre>&lt;/pre&gt;&lt;script&gt;</pre>" in page
    assert "<code>x</code>" in page


def test_a_problem_page_tries_again_only_when_that_helps() -> None:
    again, final = pages.problem(503, "t", "x", retry_s=3), pages.problem(500, "t", "x")
    assert 'http-equiv="refresh"' in text(again)
    assert again.headers["retry-after"] == str(pages.RETRY_S)
    assert 'http-equiv="refresh"' not in text(final)
    assert "retry-after" not in final.headers


@pytest.mark.parametrize(
    ("page", "status"),
    [
        (pages.no_supervisor(), 503),
        (pages.no_room(), 503),
        (pages.broker_away(), 503),
        (pages.too_late(), 504),
    ],
)
def test_what_passes_by_itself_is_tried_again(page: Response, status: int) -> None:
    assert page.status_code == status
    assert 'http-equiv="refresh"' in text(page)
    assert page.headers["cache-control"] == "no-store"


def test_without_a_supervisor_the_page_says_the_command() -> None:
    assert pages.SUPERVISOR_COMMAND in unescape(text(pages.no_supervisor()))


@pytest.mark.parametrize(
    ("reason", "status", "again"),
    [
        ("refused", 500, False),
        ("crashed", 500, True),
        ("exit", 500, False),
        ("inactivity", 500, False),
        ("interaction_timeout", 504, False),
        ("drained", 503, True),
        ("lost", 503, True),
        ("never_connected", 503, True),
        ("replaced", 503, True),
    ],
)
def test_an_app_that_did_not_start_is_told_by_its_reason(reason: EndReason, status: int, again: bool) -> None:
    page = pages.not_started(reason, "no <luck>", "")
    assert page.status_code == status
    assert ("refresh" in text(page)) is again
    assert "o &lt;luck&gt;" in text(page)


@pytest.mark.parametrize("reason", ["refused", "crashed", "interaction_timeout", "changed"])
def test_in_debug_a_page_that_did_not_start_asks_again_soon_without_a_reload(reason: EndReason) -> None:
    page = pages.not_started(reason, "no", "", debug=True)
    assert "setTimeout(tryAgain, 1 * " in text(page)
    assert page.headers["retry-after"] == "1"
    # Without scripts it is loaded again.
    assert re.findall("<noscript><meta|<meta http-equiv", text(page)) == ["<noscript><meta"]


def test_without_debug_a_page_that_only_its_developer_can_mend_does_not_ask_again() -> None:
    assert "tryAgain" not in text(pages.not_started("refused", "no", ""))


def test_an_app_that_crashed_at_its_start_is_asked_for_again_but_seldom() -> None:
    page = pages.not_started("crashed", "no", "")
    assert page.headers["retry-after"] == str(pages.CRASHED_RETRY_S)
    assert f"setTimeout(tryAgain, {pages.CRASHED_RETRY_S} * " in text(page)


def test_a_problem_is_named_in_a_header_for_the_page_that_waits_for_another() -> None:
    assert pages.no_room().headers["x-htagweb-problem"] == "All places are taken"
    assert "x-htagweb-problem" not in pages.app_page("<html></html>", "", {}).headers


def test_a_traceback_is_shown_escaped() -> None:
    assert "<pre>File &lt;x&gt;</pre>" in text(pages.not_started("refused", "no", "File <x>"))


def test_every_reason_has_its_text() -> None:
    assert set(pages.END_TEXTS) == set(EndReason.__args__)  # type: ignore[attr-defined]
    assert set(pages.END_TEXTS) > pages.RETURNS_BY_ITSELF

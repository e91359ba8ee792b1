"""The example of a login, with a provider that runs here, in a real browser."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from tests.support.processes import ROOT, Process, python
from tests.support.servers import WebServer, free_port

if TYPE_CHECKING:
    from tests.browser.conftest import NewUser

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHOTS = os.environ.get("HTAGWEB_SHOTS")
"""A directory for screenshots, for people who want to look."""
EXAMPLE = ["-m", "uvicorn", "--app-dir", str(ROOT / "examples"), "oauth:app", "--port", "{port}"]
JO = '{"sub": "jo@example.org", "name": "Jo Doe", "address": {"locality": "Nowhere"}}'


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a provider that knows Jo, and give its address."""
    port = free_port()
    log = tmp_path_factory.mktemp("provider") / "provider.log"
    provider = Process(
        "provider", python("-m", "oidc_provider_mock", "--port", str(port), "--user-claims", JO), log
    )
    try:
        provider.wait_for("Application startup complete")
        yield f"http://localhost:{port}"
    finally:
        provider.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Run the example, and give its address."""
    server = WebServer(EXAMPLE, tmp_path_factory.mktemp("site"), {"OIDC_ISSUER": issuer})
    try:
        await server.wait_until_it_serves()
        yield server.base
        await server.interrupt()
    finally:
        server.close()


async def at_the_provider(new_user: NewUser, site: str) -> Page:
    """Return a user's page after the click on "Sign in"."""
    page = await new_user()
    await page.route("https://**", lambda route: route.abort())  # the provider's looks come from elsewhere
    await page.goto(site)
    await page.click("text=Sign in")
    await expect(page.get_by_role("heading", name="Authorize Client")).to_be_visible()
    return page


async def signed_in(new_user: NewUser, site: str) -> Page:
    """Return a page of Jo's."""
    page = await at_the_provider(new_user, site)
    await page.get_by_role("button", name="jo@example.org").click()
    await expect(page.locator(".who")).to_have_text("Jo Doe")
    return page


async def session_cookie(page: Page) -> str:
    """Return the cookie that carries the session's id."""
    cookies = {item["name"]: item["value"] for item in await page.context.cookies()}
    return cookies["htagweb_session"]


async def shoot(page: Page, name: str) -> None:
    """Take a screenshot where one is wanted."""
    if SHOTS:
        await page.screenshot(path=f"{SHOTS}/oauth-{name}.png")


async def test_who_signed_in_is_shown_also_after_a_reload_and_in_another_app(
    new_user: NewUser, site: str
) -> None:
    page = await signed_in(new_user, site)
    await shoot(page, "signed-in")
    await page.reload()
    await expect(page.locator(".who")).to_have_text("Jo Doe")
    await page.click("text=What members see")
    await expect(page.locator("h1")).to_have_text("Good to see you, Jo Doe")
    await shoot(page, "members")
    assert page.url == f"{site}/members"


async def test_nobody_else_is_signed_in_by_that(new_user: NewUser, site: str) -> None:
    await signed_in(new_user, site)
    other = await new_user()
    await other.goto(site)
    await expect(other.locator(".who")).to_have_text("not signed in")
    await shoot(other, "nobody")


async def test_signing_in_changes_the_sessions_id(new_user: NewUser, site: str) -> None:
    page = await at_the_provider(new_user, site)
    before = await session_cookie(page)
    await page.get_by_role("button", name="jo@example.org").click()
    await expect(page.locator(".who")).to_have_text("Jo Doe")
    assert await session_cookie(page) != before


async def test_signing_out_is_seen_everywhere_and_changes_the_sessions_id(
    new_user: NewUser, site: str
) -> None:
    page = await signed_in(new_user, site)
    before = await session_cookie(page)
    other_tab = await page.context.new_page()
    await other_tab.goto(site)
    await expect(other_tab.locator(".who")).to_have_text("Jo Doe")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.locator(".who")).to_have_text("not signed in")
    await expect(other_tab.locator(".who")).to_have_text("not signed in")
    assert await session_cookie(page) != before
    await page.goto(f"{site}/members")
    await expect(page.get_by_role("heading", name="Authorize Client")).to_be_visible()


async def test_a_sign_in_that_was_cancelled_is_told_and_can_be_tried_again(
    new_user: NewUser, site: str
) -> None:
    page = await at_the_provider(new_user, site)
    await page.get_by_role("button", name="Deny").click()
    await expect(page.locator("body")).to_contain_text("It was cancelled.")
    await shoot(page, "cancelled")
    await page.click("text=Try again")
    await page.get_by_role("button", name="jo@example.org").click()
    await expect(page.locator(".who")).to_have_text("Jo Doe")


async def test_a_sign_in_whose_state_is_lost_is_told_and_leads_back(new_user: NewUser, site: str) -> None:
    page = await at_the_provider(new_user, site)
    await page.context.clear_cookies()
    await page.get_by_role("button", name="jo@example.org").click()
    await expect(page.locator("body")).to_contain_text("This attempt is too old")
    await shoot(page, "lost-state")
    await page.click("text=go back")
    await expect(page.locator(".who")).to_have_text("not signed in")


async def test_what_a_link_says_is_not_shown_by_the_page_that_refuses(new_user: NewUser, site: str) -> None:
    page = await new_user()
    await page.goto(f"{site}/auth?error=hello&error_description=call%20this%20number")
    await expect(page.locator("body")).to_contain_text("The provider refused it.")
    await expect(page.locator("body")).not_to_contain_text("call this number")

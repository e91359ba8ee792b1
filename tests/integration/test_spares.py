"""The process that a template has forked ahead; the test is the supervisor, with its real templates."""

from __future__ import annotations

import asyncio
import os
import resource
import select
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from htagweb.host import frames, process
from htagweb.supervisor.allowance import Allowance
from htagweb.supervisor.templates import Child, Template, Templates
from tests.support.waiting import until

APPS = Path(__file__).parents[1] / "apps"
APP = "samples.Counter"
LIMITED = Allowance(memory_bytes=100 << 20, open_files=50)


class Forks:
    """The templates, and the app processes that they gave."""

    def __init__(self) -> None:
        self.templates = Templates([str(APPS)], LIMITED)
        self.children: list[Child] = []
        self._others = {child.pid for child in psutil.Process().children()}
        """What other tests of this process have started, or share."""

    async def template(self) -> Template:
        return await self.templates.get(APP)

    async def fork(self) -> Child:
        self.children.append(await (await self.template()).fork("an instance"))
        return self.children[-1]

    async def fork_and_spare(self) -> tuple[Child, psutil.Process]:
        """Have one forked, and return it with the spare that follows."""
        return await self.fork(), await self.spare()

    async def spare(self) -> psutil.Process:
        template = await self.template()
        await until(lambda: template._spare and template._spare.process.done(), "one is forked ahead")
        assert template._spare is not None
        spare = psutil.Process(template._spare.process.result()[0])
        await until(lambda: spare.name() == "htagweb-spare", "it is seen as one")
        return spare

    def left(self) -> list[psutil.Process]:
        """Return the processes that came of it, dead ones too until they are reaped."""
        return [child for child in psutil.Process().children() if child.pid not in self._others]

    def living(self) -> set[int]:
        return {child.pid for child in self.left() if child.status() != psutil.STATUS_ZOMBIE}

    def reap(self) -> bool:
        """Reap like a supervisor what is nobody's; return whether nothing is left."""
        for child in self.left():
            with suppress(ChildProcessError):  # who started it was told
                os.waitpid(child.pid, os.WNOHANG)
        return not self.left()

    def close(self) -> None:
        for child in self.children:
            child.ends.socket.close()
            os.close(child.ends.output_fd)
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
            os.close(child.pidfd)
        self.templates.stop()


async def opened(child: Child) -> str:
    """Start the app in this process; return its page."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(child.ends.socket, frames.encode(frames.Start(APP, [], {}, {}, False, "r")))
    splitter = frames.FrameSplitter()
    while data := await loop.sock_recv(child.ends.socket, 65536):
        for body in splitter.feed(data):
            page = frames.decode_from_app(body)
            assert isinstance(page, frames.Page)
            return page.html
    raise AssertionError("the app process closed its socket")


def is_dead(pidfd: int) -> bool:
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return bool(watch.poll(0))


@pytest_asyncio.fixture
async def forks() -> AsyncIterator[Forks]:
    """Give templates to fork from."""
    process.become_subreaper()
    try:
        made = Forks()
        yield made
        made.close()
        await until(made.reap, "nothing of it is left")
    finally:
        process.become_subreaper(False)


async def test_the_next_app_is_the_process_that_waits(forks: Forks) -> None:
    first, spare = await forks.fork_and_spare()
    second = await forks.fork()
    assert second.pid == spare.pid != first.pid
    assert "more" in await opened(second)
    assert spare.name() == "htagweb-app"
    assert os.getsid(second.pid) == second.pid


async def test_another_one_takes_its_place(forks: Forks) -> None:
    _, spare = await forks.fork_and_spare()
    second, other = await forks.fork_and_spare()
    assert second.pid == spare.pid != other.pid


async def test_one_that_died_is_not_given(forks: Forks, caplog: pytest.LogCaptureFixture) -> None:
    _, spare = await forks.fork_and_spare()
    dead = os.pidfd_open(spare.pid)
    spare.kill()
    await until(lambda: is_dead(dead), "it has died")
    os.close(dead)
    second, other = await forks.fork_and_spare()
    assert len({spare.pid, second.pid, other.pid}) == 3
    assert "more" in await opened(second)
    assert "ended while it waited" in caplog.text


async def test_it_ends_with_its_template_and_the_apps_live_on(forks: Forks) -> None:
    first, spare = await forks.fork_and_spare()
    end = os.pidfd_open(spare.pid)
    forks.templates.discard(await forks.template())
    await until(lambda: is_dead(end), "it has ended")
    os.close(end)
    assert "more" in await opened(first)


async def test_it_ends_with_a_template_that_is_killed(forks: Forks) -> None:
    _, spare = await forks.fork_and_spare()
    end = os.pidfd_open(spare.pid)
    os.kill((await forks.template()).pid, signal.SIGKILL)
    await until(lambda: is_dead(end), "it has ended")
    os.close(end)
    assert "more" in await opened(await forks.fork())


async def test_one_that_is_on_its_way_ends_with_its_template_too(forks: Forks) -> None:
    first = await forks.fork()
    template = await forks.template()
    os.kill(template.pid, signal.SIGSTOP)
    await until(lambda: template._spare, "one was asked for")
    forks.templates.discard(template)
    await until(lambda: forks.living() == {first.pid}, "all but the app is gone")


async def test_a_crowd_gets_a_process_each(forks: Forks) -> None:
    await forks.fork_and_spare()
    template = await forks.template()
    crowd = await asyncio.gather(*(template.fork("one of many") for _ in range(12)))
    forks.children += crowd
    assert len({child.pid for child in crowd}) == 12
    for child in crowd:
        assert "more" in await opened(child)


async def test_one_that_was_given_to_who_gave_up_is_ended(forks: Forks) -> None:
    await forks.fork()
    template = await forks.template()
    os.kill(template.pid, signal.SIGSTOP)
    await until(lambda: template._spare, "one was asked for")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await template.fork("an instance")
    os.kill(template.pid, signal.SIGCONT)
    second = await forks.fork()
    assert "more" in await opened(second)
    spare = await forks.spare()
    known = {template.pid, spare.pid, *(child.pid for child in forks.children)}
    await until(lambda: forks.living() == known, "the one that nobody wanted is gone")


async def test_it_is_within_the_limits_of_an_app(forks: Forks) -> None:
    _, spare = await forks.fork_and_spare()
    await until(lambda: spare.rlimit(psutil.RLIMIT_NOFILE) == (50, 50), "files are limited")
    data = await until(lambda: limited(spare), "memory is limited")
    assert 200 << 20 < data[0] == data[1] < 300 << 20
    assert _oom_score(spare.pid) == min(_oom_score(os.getpid()) + 500, 1000)


def limited(app: psutil.Process) -> tuple[int, int] | None:
    """Return the limits of its data, soft and hard, if there are any."""
    soft, hard = app.rlimit(psutil.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else (soft, hard)


def _oom_score(pid: int) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

"""Template processes: one per app module, started when the app is first wanted, asked to fork."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from htagweb.host import SECRET_VARIABLES
from htagweb.host.frames import (
    MAX_PACKET_BYTES,
    Fork,
    Forked,
    ForkFailed,
    FrameError,
    ImportFailed,
    Ready,
    decode_from_template,
    encode_packet,
)
from htagweb.logs import ContextLog, log_event
from htagweb.supervisor.allowance import Allowance, User
from htagweb.supervisor.output import Lines
from htagweb.supervisor.process import Ends
from htagweb.supervisor.sources import Watch

logger = logging.getLogger(__name__)
output_logger = logging.getLogger("htagweb.app")

FORK_TIMEOUT_S = 10.0
FORKS_AT_ONCE = 8
"""The kernel queues some hundred requests for a template; a crowd must not find that queue full."""
SPARE_S = 0.005
"""Time between a fork and the next one, ahead: it does not compete with the first page of a small app."""
_ONE_LOOKUP = "UV_THREADPOOL_SIZE", "1"
"""How many threads uvloop starts in an app when it first looks a name up, unless the operator says more.
They start at once, and where the app's limit leaves no memory for four stacks, libuv aborts."""
END_TIMEOUT_S = 2.0
IMPORT_TIMEOUT_S = 120.0
"""Apart from the app's own limit: an import that outlasts one page's patience is there for the next."""


class LaunchError(Exception):
    """Raised when an app cannot be started: the message is for the person, ``detail`` a traceback or ""."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Child:
    """A forked app process."""

    pid: int
    pidfd: int
    ends: Ends


class _Asked:
    """A fork that a template was asked for: our ends, and pid and pidfd once it is there."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.process: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()

    @property
    def is_usable(self) -> bool:
        """Whether its process lives, or may still come."""
        if not self.process.done():
            return True
        if self.process.exception() is not None:
            return False
        watch = select.poll()
        watch.register(self.process.result()[1], select.POLLIN)
        return not watch.poll(0)

    def drop(self) -> None:
        """Let go of it; its process ends, and is reaped like everything that was left behind."""
        self.ends.socket.close()
        os.close(self.ends.output_fd)
        if self.process.cancel() or self.process.cancelled() or self.process.exception() is not None:
            return
        _kill(self.process.result()[1])


class Template:
    """One template process.

    From its first fork on it keeps a *spare*: an app process that was forked ahead, and waits at its
    socket for the start of whichever instance comes next.
    """

    def __init__(self, app: str, app_dirs: Sequence[str], allowance: Allowance) -> None:
        """Start it; it imports the app in its own time (``ready``)."""
        self.app = app
        self._allowance = allowance
        self.watch: Watch | None = None
        """Its sources, when it serves an app that is being developed."""
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self.ready: asyncio.Future[Ready] = loop.create_future()
        self._asked: dict[int, _Asked] = {}
        """By token, until they are answered."""
        self._spare: _Asked | None = None
        self._refilling: asyncio.TimerHandle | None = None
        self._next_token = 0
        self._places = asyncio.Semaphore(FORKS_AT_ONCE)
        self._lines: Lines | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output_read, output_write = os.pipe()
        self._pipe = os.fdopen(output_read, "rb", 0)
        with theirs, os.fdopen(output_write, "wb", 0) as output:
            options = [part for directory in app_dirs for part in ("--app-dir", directory)]
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "htagweb.host.template", "--fd", str(theirs.fileno())),
                    *("--app", app, "--supervisor-pid", str(os.getpid()), *options),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(allowance.user),
                **_identity(allowance.user),
            )
        ours.setblocking(False)
        self._socket = ours
        loop.add_reader(ours, self._handle_packet)

    async def listen(self) -> None:
        """Have logged what the import prints."""
        log = ContextLog(output_logger, {"app": self.app})
        _, self._lines = await asyncio.get_running_loop().connect_read_pipe(
            lambda: Lines(self._pipe, lambda line: log.info("%s", line)), self._pipe
        )

    @property
    def pid(self) -> int:
        """The template's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked to fork."""
        return self._socket.fileno() >= 0

    async def fork(self, instance: str) -> Child:
        """Give the spare, or fork an app process; LaunchError when that fails."""
        async with self._places:
            asked = self._take_spare() or self._ask(instance)
            try:
                async with asyncio.timeout(FORK_TIMEOUT_S):
                    pid, pidfd = await asked.process
            except TimeoutError as exc:
                asked.drop()
                self.stop()
                raise LaunchError("the app's template process does not answer") from exc
            except BaseException:
                asked.drop()
                raise
        if self._refilling is None:
            self._refilling = asyncio.get_running_loop().call_later(SPARE_S, self._refill)
        return Child(pid, pidfd, asked.ends)

    def _take_spare(self) -> _Asked | None:
        spare, self._spare = self._spare, None
        if spare is not None and not spare.is_usable:
            failure = spare.process.exception()
            why = failure or "it ended while it waited"
            logger.warning("a spare process of %s is not there, another is forked: %s", self.app, why)
            spare.drop()
            return None
        return spare

    def _refill(self) -> None:
        self._refilling = None
        if self.is_alive and self._spare is None:
            with suppress(LaunchError):  # the next fork tells, if it still is so
                self._spare = self._ask("")

    def _ask(self, instance: str) -> _Asked:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            output_read, output_write = os.pipe()
        except OSError as exc:
            raise LaunchError(f"the app's process cannot be forked: {exc}") from exc
        ours.setblocking(False)
        asked = _Asked(Ends(ours, output_read))
        token = self._next_token = self._next_token + 1
        request = Fork(instance, token, self._allowance.memory_bytes, self._allowance.open_files)
        try:
            socket.send_fds(self._socket, [encode_packet(request)], [theirs.fileno(), output_write])
        except OSError as exc:
            asked.drop()
            self.stop()
            raise LaunchError("the app's template process does not answer") from exc
        finally:
            theirs.close()
            os.close(output_write)
        self._asked[token] = asked
        return asked

    def _handle_packet(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._socket, MAX_PACKET_BYTES + 1, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        if not data:
            self._close("the app's template process ended")
            return
        try:
            self._handle(decode_from_template(data), fds)
        except FrameError as exc:
            logger.error("template of %s: %s", self.app, exc)
            self.stop()

    def _handle(self, packet: Ready | ImportFailed | Forked | ForkFailed, fds: list[int]) -> None:
        match packet:
            case Ready() if not self.ready.done():
                self.ready.set_result(packet)
                text = "template of %(app)s is ready, imported in %(import_ms).0f ms"
                import_ms = packet.import_s * 1000
                log_event(logger, "template_ready", text, app=self.app, import_ms=import_ms)
                if packet.threads > 1:
                    text = "%s has %d threads after its import: app processes will have one"
                    logger.warning(text, self.app, packet.threads)
            case ImportFailed(error, traceback) if not self.ready.done():
                self._fail(LaunchError(error, traceback))
            case Forked(token, pid) if fds:
                asked = self._asked.pop(token, None)
                if asked is not None and not asked.process.done():
                    asked.process.set_result((pid, fds[0]))
                else:  # whoever asked gave up
                    _kill(fds[0])
            case ForkFailed(token, error):
                asked = self._asked.pop(token, None)
                if asked is not None and not asked.process.done():
                    asked.process.set_exception(LaunchError(f"the app's process cannot be forked: {error}"))
            case _:
                raise FrameError(f"an unexpected packet: {packet!r}")

    def _fail(self, error: LaunchError) -> None:
        text = "template of %(app)s failed: %(reason)s"
        log_event(logger, "template_failed", text, logging.WARNING, app=self.app, reason=str(error))
        self.ready.set_exception(error)

    def _close(self, why: str) -> None:
        loop = asyncio.get_running_loop()
        if self._socket.fileno() >= 0:
            loop.remove_reader(self._socket)
            self._socket.close()
            text, age_s = "%(reason)s, after %(age_s).1f s", loop.time() - self._began
            log_event(logger, "template_ended", text, app=self.app, reason=why, age_s=age_s)
        if not self.ready.done():
            self._fail(LaunchError(why))
        self.ready.exception()  # retrieved: nobody may be waiting
        for asked in self._asked.values():
            if not asked.process.done():
                asked.process.set_exception(LaunchError(why))
        self._asked.clear()
        if self._spare is not None:
            self._spare.drop()
            self._spare = None

    def reap(self) -> bool:
        """Reap the process if it died; return whether it did."""
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> None:
        """Wait until the process is gone; not for ever, it may be in the kernel's hands."""
        with suppress(ProcessLookupError):
            pidfd = os.pidfd_open(self.pid)
            try:
                watch = select.poll()  # not select(): that one knows no number past 1023
                watch.register(pidfd, select.POLLIN)
                watch.poll(timeout_s * 1000)
            finally:
                os.close(pidfd)
        self.reap()
        if self._lines is not None:
            self._lines.finish(lambda: None)

    def stop(self) -> None:
        """End the template and its spare; the apps that it forked live on."""
        if self._process.poll() is None:
            self._process.kill()  # reaped later: it may be in the kernel's hands for a while
        self._close("the app's template process was stopped")


class Templates:
    """The templates of all apps."""

    def __init__(self, app_dirs: Sequence[str], allowance: Allowance) -> None:
        self._app_dirs = app_dirs
        self._allowance = allowance
        self._templates: dict[str, Template] = {}
        self._stopped: list[Template] = []

    async def get(self, app: str, *, debug: bool = False) -> Template:
        """Return the app's template, ready to fork; LaunchError when the app cannot be imported in time.

        A template whose import failed is not kept: the next call imports anew.
        One that was wanted with ``debug`` has a ``watch`` from then on.
        """
        template = self._templates.get(app)
        if template is None or not template.is_alive:
            if template is not None:
                self.discard(template)
            try:
                template = self._templates[app] = Template(app, self._app_dirs, self._allowance)
            except OSError as exc:
                raise LaunchError(f"the app's template process cannot be started: {exc}") from exc
            text = "template of %(app)s started, pid %(pid)d"
            log_event(logger, "template_started", text, app=app, pid=template.pid)
            await template.listen()
        try:
            async with asyncio.timeout(IMPORT_TIMEOUT_S):
                ready = await asyncio.shield(template.ready)
        except (TimeoutError, LaunchError) as exc:
            self.discard(template)
            if isinstance(exc, LaunchError):
                raise
            raise LaunchError(f"the app's import took longer than {IMPORT_TIMEOUT_S:g} s") from exc
        if debug and template.watch is None:
            template.watch = Watch(ready.sources)  # before a fork: what its apps import later, is known too
        return template

    def watched(self) -> list[tuple[Template, Watch]]:
        """Return the templates of apps that are being developed, with their sources."""
        return [(one, one.watch) for one in self._templates.values() if one.watch is not None]

    def discard(self, template: Template) -> None:
        """End the template, its apps live on; the next one that is wanted imports anew."""
        if self._templates.get(template.app) is template:
            del self._templates[template.app]
            template.stop()
            self._stopped.append(template)

    @property
    def pids(self) -> set[int]:
        """The process ids of all templates."""
        return {template.pid for template in (*self._templates.values(), *self._stopped)}

    def reap(self) -> None:
        """Reap the templates that died."""
        self._stopped = [template for template in self._stopped if not template.reap()]
        for template in self._templates.values():
            template.reap()

    def discard_all(self) -> None:
        """End all templates, their apps live on."""
        for template in list(self._templates.values()):
            self.discard(template)

    def stop(self) -> None:
        """End all templates, and wait until they are gone: the last thing that a supervisor does."""
        self.discard_all()
        for template in self._stopped:
            template.wait(END_TIMEOUT_S)


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.close(pidfd)


def _environment(user: User | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in SECRET_VARIABLES}
    inherited.setdefault(*_ONE_LOOKUP)
    return inherited if user is None else inherited | user.environment


def _identity(user: User | None) -> dict[str, Any]:
    """Return whom the process is to be from its start, so that the import too is without our rights."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": user.groups}

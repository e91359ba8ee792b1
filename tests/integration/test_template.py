"""Real templates and app processes; the test is their supervisor, and the child subreaper."""

import os
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import psutil
import pytest

from htagweb.host import frames, process
from htagweb.host.process import (
    EXIT_BAD_FRAME,
    EXIT_IMPORT_FAILED,
    EXIT_OK,
    EXIT_SUPERVISOR_GONE,
    EXIT_UNEXPECTED,
)

ROOT = Path(__file__).parents[2]
APPS = ROOT / "tests" / "apps"
DEADLINE_S = 20
F = TypeVar("F", bound=frames.FromApp)


def ends(pidfd: int) -> bool:
    """Wait until the process has ended; False when it has not in time."""
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return bool(watch.poll(DEADLINE_S * 1000))


def lives(pidfd: int) -> bool:
    watch = select.poll()
    watch.register(pidfd, select.POLLIN)
    return not watch.poll(0)


@dataclass
class AppHandle:
    """An app process, seen from its supervisor."""

    pid: int
    pidfd: int
    sock: socket.socket
    output: int
    _splitter: frames.FrameSplitter = field(default_factory=frames.FrameSplitter)
    _received: list[frames.FromApp] = field(default_factory=list)
    _printed: str = ""

    def send(self, *sent: frames.Frame) -> None:
        self.sock.sendall(b"".join(map(frames.encode, sent)))

    def expect(self, kind: type[F]) -> F:
        while not self._received:
            data = self.sock.recv(1 << 20)
            assert data, f"the app has closed its socket; it printed {self.rest_of_output()!r}"
            self._received += map(frames.decode_from_app, self._splitter.feed(data))
        frame = self._received.pop(0)
        assert isinstance(frame, kind), frame
        return frame

    def open(self, app: str = "samples.Counter") -> frames.Page:
        self.send(frames.Start(app, [], {}, {}, False, "r"))
        return self.expect(frames.Page)

    def call(self, tag_id: int, method: str) -> None:
        call = msgspec.json.encode(frames.Call(tag_id, method))
        self.send(frames.Interact("p", 1, msgspec.Raw(call)))

    def printed(self, pattern: str) -> re.Match[str]:
        """Wait until the process has printed it."""
        watch = select.poll()
        watch.register(self.output, select.POLLIN)
        while (found := re.search(pattern, self._printed)) is None:
            assert watch.poll(DEADLINE_S * 1000), f"expected {pattern!r} in {self._printed!r}"
            data = os.read(self.output, 65536)
            assert data, f"expected {pattern!r} in {self._printed!r}, and the output is closed"
            self._printed += data.decode()
        return found

    def rest_of_output(self) -> str:
        while data := os.read(self.output, 65536):
            self._printed += data.decode()
        return self._printed

    def exit_code(self) -> int:
        """Reap it, as its parent; negative when a signal ended it."""
        assert ends(self.pidfd)
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        assert result is not None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def close(self) -> None:
        self.sock.close()
        os.close(self.output)
        if lives(self.pidfd):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        try:
            self.exit_code()
        except ChildProcessError:
            pass  # the test has reaped it
        finally:
            os.close(self.pidfd)


class TemplateHandle:
    """A template process, seen from its supervisor."""

    def __init__(self, app: str, *app_dirs: Path, supervisor_pid: int | None = None) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(DEADLINE_S)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HTAGWEB_REDIS_URL": "redis://secret",
            "HTAGWEB_SECRET": "secret",
        }
        with theirs:
            command = [
                sys.executable,
                "-m",
                "htagweb.host.template",
                "--fd",
                str(theirs.fileno()),
                "--app",
                app,
            ]
            for path in app_dirs:
                command += ["--app-dir", str(path)]
            command += ["--supervisor-pid", str(supervisor_pid or os.getpid())]
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment, cwd="/")
        self.apps: list[AppHandle] = []

    def receive(self) -> tuple[frames.FromTemplate, list[int]]:
        packet, descriptors, _, _ = socket.recv_fds(self.sock, frames.MAX_PACKET_BYTES, 1)
        assert packet, "the template has closed its socket"
        return frames.decode_from_template(packet), descriptors

    def ready(self) -> frames.Ready:
        frame, _ = self.receive()
        assert isinstance(frame, frames.Ready), frame
        return frame

    def ask_for_fork(self, token: int, *before: frames.Frame) -> tuple[socket.socket, int]:
        mine, theirs = socket.socketpair()
        mine.settimeout(DEADLINE_S)
        output, output_end = os.pipe()
        mine.sendall(b"".join(map(frames.encode, before)))
        packet = frames.encode_packet(frames.Fork(f"instance-{token}", token))
        with theirs:
            socket.send_fds(self.sock, [packet], [theirs.fileno(), output_end])
        os.close(output_end)
        return mine, output

    def fork(self, *before: frames.Frame) -> AppHandle:
        token = len(self.apps)
        mine, output = self.ask_for_fork(token, *before)
        frame, descriptors = self.receive()
        assert isinstance(frame, frames.Forked), frame
        assert frame.token == token
        app = AppHandle(frame.pid, descriptors[0], mine, output)
        self.apps.append(app)
        return app

    def close(self) -> None:
        self.sock.close()
        self.process.kill()
        self.process.wait(DEADLINE_S)
        for app in self.apps:
            app.close()


Launch = Callable[..., TemplateHandle]


@pytest.fixture
def launch() -> Iterator[Launch]:
    process.become_subreaper()
    launched: list[TemplateHandle] = []

    def start(
        app: str = "samples.Counter", *app_dirs: Path, supervisor_pid: int | None = None
    ) -> TemplateHandle:
        launched.append(TemplateHandle(app, *(app_dirs or (APPS,)), supervisor_pid=supervisor_pid))
        return launched[-1]

    yield start
    for template in launched:
        template.close()
    process.become_subreaper(False)


@pytest.fixture
def template(launch: Launch) -> TemplateHandle:
    started = launch()
    started.ready()
    return started


@pytest.fixture
def troubled(launch: Launch) -> tuple[AppHandle, int]:
    """An open app of ``samples.Troubled``, and the id of its tag."""
    started = launch("samples.Troubled")
    started.ready()
    app = started.fork()
    found = re.search(r'<body id="(\d+)"', app.open("samples.Troubled").html)
    assert found
    return app, int(found[1])


def test_forked_apps_are_the_supervisors_children_in_sessions_of_their_own(template: TemplateHandle) -> None:
    first, second = template.fork(), template.fork()
    pids = {template.process.pid, first.pid, second.pid}
    assert len(pids) == 3
    for app in (first, second):
        app.open()
        known = psutil.Process(app.pid)
        assert known.ppid() == os.getpid()
        assert known.name() == "htagweb-app"
        assert os.getsid(app.pid) == app.pid


def test_a_template_that_is_killed_leaves_its_apps_alive(template: TemplateHandle) -> None:
    apps = [template.fork(), template.fork()]
    for app in apps:
        app.open()
    template.process.kill()
    assert template.process.wait(DEADLINE_S) == -signal.SIGKILL
    for app in apps:
        app.send(frames.Render("again"))
        assert app.expect(frames.Page).request == "again"


def test_a_closed_socket_ends_the_template_and_each_app(template: TemplateHandle) -> None:
    app = template.fork()
    app.open()
    template.sock.close()
    assert template.process.wait(DEADLINE_S) == EXIT_OK
    assert lives(app.pidfd)
    app.sock.close()
    assert app.exit_code() == EXIT_SUPERVISOR_GONE


def test_an_app_that_is_ended_exits_with_zero(template: TemplateHandle) -> None:
    app = template.fork()
    app.open()
    app.send(frames.End())
    app.expect(frames.Save)
    assert app.exit_code() == EXIT_OK


def test_a_killed_supervisor_takes_its_template_and_spinning_apps_with_it() -> None:
    process.become_subreaper()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stand_in = subprocess.Popen(
        [sys.executable, str(APPS / "stand_in.py")], stdout=subprocess.PIPE, text=True, env=environment
    )
    with stand_in:
        assert stand_in.stdout is not None
        pids = [int(pid) for pid in stand_in.stdout.readline().split()]
        pidfds = [os.pidfd_open(pid) for pid in pids]
        assert all(map(lives, pidfds))
        stand_in.kill()
    try:
        assert all(map(ends, pidfds))
    finally:
        process.become_subreaper(False)
        for pidfd in pidfds:
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
            os.close(pidfd)


def test_sigusr1_writes_the_stack_of_a_spinning_app_and_sigterm_ends_it(
    troubled: tuple[AppHandle, int],
) -> None:
    app, tag_id = troubled
    app.call(tag_id, "spin")
    app.printed("spinning\n")
    signal.pidfd_send_signal(app.pidfd, signal.SIGUSR1)
    app.printed(r'samples\.py", line \d+ in spin\n(.*\n)+.*in serve\n')
    assert lives(app.pidfd)
    signal.pidfd_send_signal(app.pidfd, signal.SIGTERM)
    assert app.exit_code() == -signal.SIGTERM


def test_a_handler_that_calls_sys_exit_ends_its_app_as_a_crash(troubled: tuple[AppHandle, int]) -> None:
    app, tag_id = troubled
    app.call(tag_id, "quit")
    assert app.exit_code() == EXIT_UNEXPECTED
    app.printed(r"Traceback(.*\n)+SystemExit: 0\n")


def kinds_of_a_loop() -> list[str]:
    """Return what a process has open that reads nothing, writes into a pipe, and listens to a socket."""
    code = (
        "import asyncio, os, socket; from htagweb.host.loops import new_event_loop\n"
        "async def look():\n"
        "  mine, theirs = socket.socketpair()\n"
        "  await loop.connect_accepted_socket(asyncio.Protocol, theirs)\n"
        "  for fd in os.listdir('/proc/self/fd')[:-1]:\n"
        "    if int(fd) != mine.fileno(): print(os.readlink(f'/proc/self/fd/{fd}'))\n"
        "loop = new_event_loop(); loop.run_until_complete(look())\n"
    )
    command = [sys.executable, "-c", code]
    null, both = subprocess.DEVNULL, subprocess.STDOUT
    told = subprocess.run(
        command, cwd=ROOT, stdin=null, stdout=subprocess.PIPE, stderr=both, text=True, check=True
    )
    return [path.partition(":")[0] for path in sorted(told.stdout.split())]


def test_an_app_knows_where_it_runs_and_has_no_secret_and_no_foreign_descriptor(
    troubled: tuple[AppHandle, int],
) -> None:
    app, tag_id = troubled
    app.call(tag_id, "about")
    state = app.expect(frames.Answer).changed["samples.Troubled"]
    facts = msgspec.json.decode(state)["about"]
    descriptors = facts.pop("descriptors")
    assert facts == {"in_template": True, "secrets": [], "session_leader": True, "stdin": ""}
    assert [path.partition(":")[0] for path in descriptors] == kinds_of_a_loop()
    app.printed(r"(?s)seed.*on stderr\n")


def test_sisters_have_different_random_numbers(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(
        "import random\nfrom htag import Tag\nrandom.seed(1)\n"
        "class App(Tag.div):\n  def init(self): self.add(f'dice={random.random()}')\n"
    )
    template = launch("dice.App", tmp_path)
    template.ready()
    thrown = {re.findall("dice=[0-9.e-]+", template.fork().open("dice.App").html)[0] for _ in range(3)}
    assert len(thrown) == 3


def test_the_directories_are_searched_in_their_order(launch: Launch, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        text = f"from htag import Tag\nclass App(Tag.div):\n  def init(self): self.add('from {name}')\n"
        (tmp_path / name / "twice.py").write_text(text)
    template = launch("twice.App", tmp_path / "first", tmp_path / "second")
    template.ready()
    assert "from first" in template.fork().open("twice.App").html


def test_threads_that_the_import_starts_are_counted(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading\nfrom htag import Tag\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\nclass App(Tag.div): pass\n"
    )
    assert launch("threaded.App", tmp_path).ready().threads == 1


@pytest.mark.parametrize(
    ("text", "error", "in_traceback"),
    [
        (
            "class 3",
            "SyntaxError: invalid syntax (failing.py, line 1) (raised by importing 'failing')",
            "class 3",
        ),
        ("raise OSError('é' * 60)", f"OSError: {'é' * 60} (raised by importing 'failing')", "in <module>"),
        ("raise ValueError('x' * 10**6)", "ValueError: xxxx", "xxxx"),
    ],
    ids=["syntax", "exception", "huge"],
)
def test_an_app_that_cannot_be_imported_is_told_and_the_template_exits(
    launch: Launch, tmp_path: Path, text: str, error: str, in_traceback: str
) -> None:
    (tmp_path / "failing.py").write_text(text)
    template = launch("failing.App", tmp_path)
    frame, _ = template.receive()
    assert isinstance(frame, frames.ImportFailed)
    assert frame.error.startswith(error)
    assert in_traceback in frame.traceback
    assert template.process.wait(DEADLINE_S) == EXIT_IMPORT_FAILED


def test_a_module_that_is_not_there_is_told(launch: Launch) -> None:
    frame, _ = launch("nowhere.App").receive()
    assert isinstance(frame, frames.ImportFailed)
    assert frame.error == "there is no module 'nowhere'"
    assert f"looked in {APPS}, " in frame.traceback


def test_a_fork_without_its_descriptors_fails_and_the_next_works(template: TemplateHandle) -> None:
    template.sock.send(frames.encode_packet(frames.Fork("i", 7)))
    frame, _ = template.receive()
    assert frame == frames.ForkFailed(7, "expected 2 descriptors, got 0")
    template.fork().open()


def test_a_bad_packet_ends_the_template(template: TemplateHandle) -> None:
    template.sock.send(b"nonsense")
    assert template.process.wait(DEADLINE_S) == EXIT_BAD_FRAME


def test_a_template_whose_parent_is_not_the_supervisor_exits(launch: Launch) -> None:
    assert launch(supervisor_pid=1).process.wait(DEADLINE_S) == EXIT_SUPERVISOR_GONE


def test_ctrl_c_in_the_terminal_does_not_reach_the_template(template: TemplateHandle) -> None:
    template.process.send_signal(signal.SIGINT)
    template.fork().open()


def test_the_latency_of_a_fork_and_the_memory_of_an_app_are_printed(
    template: TemplateHandle, capsys: pytest.CaptureFixture[str]
) -> None:
    latencies_ms, private_mb = [], []
    for _ in range(20):
        started = time.perf_counter()
        app = template.fork(frames.Start("samples.Counter", [], {}, {}, False, "r"))
        app.expect(frames.Page)
        latencies_ms.append((time.perf_counter() - started) * 1000)
        private_mb.append(psutil.Process(app.pid).memory_full_info().uss / 1e6)
    with capsys.disabled():
        print(
            f"\nfork to first page: p50 {statistics.median(latencies_ms):.1f} ms, "
            f"best {min(latencies_ms):.1f} ms; private memory: {statistics.median(private_mb):.2f} MB"
        )

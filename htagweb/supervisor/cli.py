"""``htagweb-supervisor``: the command line of the daemon; ``commands`` has those of operators."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from dataclasses import fields

from htagweb_broker import BrokerError, SystemClock

from htagweb import logs
from htagweb.host.loops import new_event_loop
from htagweb.logs import log_event
from htagweb.settings import SettingError, Settings, type_of, variable
from htagweb.supervisor import commands, handover
from htagweb.supervisor.daemon import Supervisor
from htagweb.supervisor.exit_codes import ExitCode
from htagweb.supervisor.handover import Handover, HandoverError
from htagweb.supervisor.notify import READY, STOPPING, Notifier
from htagweb.version import __version__

__all__ = ["WEB_ONLY", "ExitCode", "main", "parser"]

logger = logging.getLogger(__name__)

WEB_ONLY = {
    "secret",
    "max_message_bytes",
    "max_pages_per_session",
    "max_apps_per_session",
    "max_apps_in_total",
    "max_new_sessions_per_s",
    "allowed_origins",
    "trusted_proxies",
    "ready_grace_s",
    "open_timeout_s",
}


EPILOG = """
Every option can be set by the environment variable in brackets instead.

signals: TERM or INT drains: no new apps, running interactions finish, apps end,
pages go to another supervisor. A second one ends all now. HUP restarts in place:
the installed version takes over, apps and their pages go on.

exit codes: """ + ", ".join(f"{int(code)} {code.name.lower().replace('_', ' ')}" for code in ExitCode)


def parser() -> argparse.ArgumentParser:
    """Return the command's parser; its options are made of the settings."""
    result = argparse.ArgumentParser(
        prog="htagweb-supervisor",
        description="Owns the app processes of htagweb on this host: starts, watches and ends them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--version", action="version", version=f"htagweb-supervisor {__version__}")
    for item in fields(Settings):
        if item.name in WEB_ONLY:
            continue
        kind = type_of(item.name)
        choices = getattr(kind, "__args__", None)
        default = f", default {item.default}" if item.default not in ("", None) else ""
        result.add_argument(
            f"--{item.name.replace('_', '-')}",
            type=str if choices else kind,
            choices=choices,
            metavar=None if choices else kind.__name__.upper(),
            help=f"{item.metadata['help']} [{variable(item.name)}{default}]",
        )
    result.add_argument(
        "--app-dir",
        action="append",
        metavar="DIR",
        help="where app modules are imported from; may be given again [default: the working directory]",
    )
    result.add_argument(
        "--ready-fd", type=int, metavar="FD", help="a descriptor that gets 'ready' when apps can be served"
    )
    # How a program that takes this one's place is started; nobody else gives these.
    result.add_argument("--handover-fd", type=int, help=argparse.SUPPRESS)
    result.add_argument("--handover-check", action="store_true", help=argparse.SUPPRESS)
    commands.add_commands(result)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parsed = parser().parse_args(arguments)
    if parsed.command is not None:
        return commands.run(parsed)
    options = vars(parsed)
    del options["command"]
    app_dirs = [os.path.abspath(directory) for directory in options.pop("app_dir") or ["."]]
    ready_fd, handover_fd = options.pop("ready_fd"), options.pop("handover_fd")
    is_check = options.pop("handover_check")
    try:
        handed = None if handover_fd is None else handover.read(handover_fd)
        settings = Settings.load(**options)
        if not settings.redis_url:
            raise SettingError("no broker: give --redis-url or set HTAGWEB_REDIS_URL")
        supervisor = Supervisor(settings, app_dirs, SystemClock(), handed)
    except (ValueError, HandoverError) as exc:  # SettingError, or a URL or namespace that is none
        print(f"htagweb-supervisor: {exc}", file=sys.stderr)
        return ExitCode.USAGE
    if is_check:
        return ExitCode.OK
    logs.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    supervisor.divide()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_serve(supervisor, settings.max_apps, ready_fd, handed))


async def _serve(supervisor: Supervisor, max_apps: int, ready_fd: int | None, handed: Handover | None) -> int:
    clock = SystemClock()
    began = clock.now()
    notifier = Notifier(os.environ, clock)
    _handle_signals(supervisor, notifier)
    handover.let_signals_come()
    if handed is None:
        text = "supervisor %(supervisor)s starts, version %(version)s, pid %(pid)d"
        facts = {"supervisor": supervisor.id, "version": __version__, "pid": os.getpid()}
        log_event(logger, "supervisor_started", text, **facts)  # type: ignore[arg-type]

    def handle_ready() -> None:
        if handed is None:
            _log_ready(supervisor.id, (clock.now() - began) * 1000, max_apps)
        else:
            _log_restarted(supervisor.id, (clock.now() - handed.began) * 1000, len(handed.instances))
        notifier.tell(READY)
        if ready_fd is not None:
            os.write(ready_fd, b"ready\n")
            os.close(ready_fd)

    reason, code = "drained", ExitCode.OK
    async with asyncio.TaskGroup() as tasks:
        living = tasks.create_task(notifier.keep_alive())
        try:
            await supervisor.run(handle_ready)
        except BrokerError as exc:
            logger.error("the broker cannot be used: %s", exc)
            reason, code = "no_broker", ExitCode.NO_BROKER
        finally:
            living.cancel()
    text, age_s = "supervisor %(supervisor)s ended: %(reason)s, after %(age_s).1f s", clock.now() - began
    log_event(logger, "supervisor_ended", text, supervisor=supervisor.id, reason=reason, age_s=age_s)
    return code


def _log_ready(supervisor: str, ready_ms: float, max_apps: int) -> None:
    text = "supervisor %(supervisor)s is ready after %(ready_ms).1f ms, room for %(max_apps)d apps"
    log_event(logger, "supervisor_ready", text, supervisor=supervisor, ready_ms=ready_ms, max_apps=max_apps)


def _log_restarted(supervisor: str, paused_ms: float, apps: int) -> None:
    text = "restarted in place as version %(version)s: %(apps)d apps go on, clicks waited %(paused_ms).0f ms"
    facts = {"supervisor": supervisor, "version": __version__, "apps": apps, "paused_ms": paused_ms}
    log_event(logger, "supervisor_restarted", text, **facts)  # type: ignore[arg-type]


def _handle_signals(supervisor: Supervisor, notifier: Notifier) -> None:
    loop = asyncio.get_running_loop()
    ends = 0

    def handle_end(name: str) -> None:
        nonlocal ends
        ends += 1
        if ends == 1:
            logger.info("%s: told to drain, once more ends all now", name)
            notifier.tell(STOPPING)
            supervisor.stop()
        else:
            logger.warning("%s again: ends now; its apps die with it", name)
            os._exit(ExitCode.STOPPED_NOW)

    def handle_restart() -> None:
        logger.info("SIGHUP: told to restart in place")
        supervisor.restart()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle_end, number.name)
    loop.add_signal_handler(signal.SIGHUP, handle_restart)


def raise_file_limit() -> None:
    """Allow as many open files as the system lets us: an app needs three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())

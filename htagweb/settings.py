"""All settings: the only place that reads the environment. ``--help`` is made of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from htagweb_broker import MAX_INBOX_BYTES, limits


class SettingError(ValueError):
    """Raised when a setting is not what it should be; the message says which and what is expected."""


def _setting(default: Any, help_text: str, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"help": help_text, "least": least, "most": most})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One frozen object for web workers and supervisors.

    The environment variable of a setting is ``HTAGWEB_`` and its name in upper
    case, e.g. ``HTAGWEB_REDIS_URL``. A text may be in a file that
    ``HTAGWEB_REDIS_URL_FILE`` names: so a secret needs no environment.
    """

    redis_url: str = _setting(
        "", "the broker: redis://, rediss://, redis+sentinel:// or unix://; none: a private one"
    )
    namespace: str = _setting(
        "htagweb", "first part of every key; projects on one server take different ones"
    )
    secret: str = _setting(
        "", "signs the session cookie; several, separated by commas: the first signs, all are taken"
    )
    session_ttl_s: int = _setting(limits.SESSION_TTL_S, "how long a session lives after its last use", 60)
    max_message_bytes: int = _setting(
        MAX_INBOX_BYTES, "largest message that a page may send", 1024, limits.INBOX_MAX_BYTES // 2
    )
    max_pages_per_session: int = _setting(64, "most pages of one session that are connected at once", 1)
    max_apps_per_session: int = _setting(
        limits.SESSION_MAX_APPS, "most apps that one session runs at once", 1
    )
    max_apps_in_total: int = _setting(10_000, "most app processes of all supervisors together", 1)
    max_new_sessions_per_s: int = _setting(100, "new sessions per second from one address; 0: no limit", 0)
    allowed_origins: str = _setting(
        "", "pages of these origins, separated by commas, may also talk to our apps, e.g. https://a.example"
    )
    trusted_proxies: str = _setting(
        "127.0.0.1,::1", "addresses or networks, separated by commas, whose X-Forwarded- headers count"
    )
    ready_grace_s: float = _setting(30.0, "how long /readyz stays ready without broker or supervisor", 0)
    open_timeout_s: float = _setting(30.0, "longest wait for a page beyond the app's own time to start", 1)
    name: str = _setting("", "the supervisor's name in logs and listings; none: the host's name")
    max_apps: int = _setting(1000, "most app processes of one supervisor", 1)
    # More than a page keeps while it is cut off (a test compares them): it sends them all when it is back.
    max_in_flight: int = _setting(128, "most interactions that one page may have unanswered", 1)
    never_connected_s: float = _setting(60.0, "an app that no browser connected to ends after this", 1)
    dead_after_s: float = _setting(
        limits.DEAD_AFTER_S,
        "others take a supervisor's apps over when it was not heard of for so long",
        2,
        60,
    )
    drain_s: float = _setting(10.0, "longest wait for running interactions when the supervisor stops", 0)
    app_memory_mb: int = _setting(1024, "most memory of one app, in MiB; 0: no limit", 0)
    app_cpu_s: int = _setting(240, "most CPU seconds of one app in any five minutes; 0: no limit", 0)
    app_processes: int = _setting(512, "most processes and threads of one app; 0: no limit", 0)
    app_open_files: int = _setting(1024, "most files that one app has open; 0: as many as the supervisor", 0)
    app_user: str = _setting(
        "", "whom apps run as, by name or number; none: as the supervisor, which has to be root to change it"
    )
    log_format: Literal["text", "json"] = _setting("text", "log lines: text for people, json for programs")
    log_level: Literal["debug", "info", "warning", "error"] = _setting("info", "least level that is logged")

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
        """Read the environment; an override that is not None wins. SettingError on a bad value."""
        environ = os.environ if environ is None else environ
        found = [(item, _read(item, environ)) for item in fields(cls)]
        values = {item.name: _parse(item, text) for item, text in found if text}
        values |= {name: value for name, value in overrides.items() if value is not None}
        settings = cls(**values)
        for item in fields(cls):
            _check(item, getattr(settings, item.name))
        return settings if settings.name else replace(settings, name=socket.gethostname())

    @property
    def beat_interval_s(self) -> float:
        """Time between two heartbeats of a supervisor: some may be late before it is called dead."""
        return min(self.dead_after_s / limits.BEATS_PER_LIFE, limits.BEAT_INTERVAL_S)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"HTAGWEB_{name.upper()}"


def type_of(name: str) -> Any:
    """Return a setting's type."""
    return get_type_hints(Settings)[name]


def _read(item: Field[Any], environ: Mapping[str, str]) -> str:
    """Return a setting's text, of its variable or the file that ``<variable>_FILE`` names; "" for none."""
    name = variable(item.name)
    text, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if not path or type_of(item.name) is not str:
        return text
    if text:
        raise SettingError(f"expected {name} or {name}_FILE, both are set: remove one of them")
    try:
        content = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingError(
            f"{name}_FILE: expected a text file that can be read, got {path!r}: {exc}"
        ) from exc
    if not content:
        raise SettingError(f"{name}_FILE: expected the setting in {path!r}, the file is empty")
    return content


def _parse(item: Field[Any], text: str) -> Any:
    kind = type_of(item.name)
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError as exc:
        raise SettingError(f"{variable(item.name)} is a number, not {text!r}") from exc


def _check(item: Field[Any], value: Any) -> None:
    least = item.metadata["least"]
    if least is not None and not value >= least:
        raise SettingError(f"{item.name} ({variable(item.name)}) must be at least {least}, not {value!r}")
    most = item.metadata["most"]
    if most is not None and not value <= most:
        raise SettingError(f"{item.name} ({variable(item.name)}) must be at most {most}, not {value!r}")
    choices = getattr(type_of(item.name), "__args__", None)
    if choices and value not in choices:
        raise SettingError(
            f"{item.name} ({variable(item.name)}) is one of {', '.join(choices)}, not {value!r}"
        )

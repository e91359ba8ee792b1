"""Hosts htag apps on the web: a living process per user, behind web workers that hold no state.

The names are loaded when first asked for: an app process imports
``htagweb.host`` alone and should not pay for the web server's modules.
"""

from typing import TYPE_CHECKING, Any

from htagweb.version import __version__

if TYPE_CHECKING:
    from htagweb.runner import AppServer, Runner

__all__ = ["AppServer", "Runner", "__version__"]


def __getattr__(name: str) -> Any:
    if name in {"AppServer", "Runner"}:
        from htagweb import runner  # noqa: PLC0415 - see the module's docstring

        return getattr(runner, name)
    raise AttributeError(f"module 'htagweb' has no attribute {name!r}")

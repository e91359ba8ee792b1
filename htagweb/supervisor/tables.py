"""How commands show what they found: columns for people, one JSON array for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | bool

GAP = "  "


@dataclass(frozen=True, slots=True)
class Listing:
    """What a command found."""

    rows: list[dict[str, Cell]]
    """For programs: everything, in full."""
    heads: tuple[str, ...]
    cells: list[tuple[Cell, ...]]
    """For people: the same rows, cut to what fits a terminal."""


def as_json(listing: Listing) -> str:
    """Return the rows as one JSON array."""
    return json.dumps(listing.rows, indent=2, ensure_ascii=False)


def as_table(listing: Listing) -> str:
    """Return aligned columns under their heads, numbers to the right."""
    columns = [
        _column(head, [row[number] for row in listing.cells]) for number, head in enumerate(listing.heads)
    ]
    return "\n".join(GAP.join(line).rstrip() for line in zip(*columns, strict=True))


def _column(head: str, cells: Sequence[Cell]) -> list[str]:
    texts = [head, *(str(cell) for cell in cells)]
    width = max(map(len, texts))
    is_number = all(isinstance(cell, int) for cell in cells)
    return [text.rjust(width) if is_number else text.ljust(width) for text in texts]


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: ``5s``, ``3m 20s``, ``4h 0m``, ``13d 23h``."""
    minutes, whole_s = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole_s}s" if minutes else f"{whole_s}s"

"""The documents say what is there: paths, tables, numbers and examples are compared with the source."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from htagweb_broker import keys, limits, messages

from htagweb import Runner
from htagweb.settings import Settings, variable
from htagweb.supervisor.cli import WEB_ONLY, ExitCode, parser

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "broker/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
README, PROTOCOL = ROOT / "README.md", ROOT / "broker/README.md"
FOLDERS = ("htagweb", "broker", "tests", "examples", "docs", "benchmarks")
NOTHING = "\N{EN DASH}"
"""A default that is no value, as tables show it."""
SUFFIXES = (".py", ".md", ".lua", ".js", ".toml")
NOT_OURS = {"__pycache__", "dist", "build", "node_modules", "test-results"}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
SCRIPTS = sorted(Path(str(files("htagweb_broker"))).joinpath("lua").glob("*.lua"))
UNITS = {"": 1, "s": 1, "hour": 3600, "day": 86400, "KiB": 1024, "MiB": 1024**2}
MACHINE = re.compile("/wo" + "rk/|/tmp/" + "ref|/ro" + "ot/|/ho" + "me/")
REGISTRY = re.compile(
    r"https?://[^/\s]*(pythonhos" + "ted|artifac" + r"tory|nexus|npmjs|pypi\.|mirror)", re.I
)

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def source_files() -> Iterator[Path]:
    """Give every file of the repository, as a reader of it would see them."""
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
        if path.is_file() and not hidden and not NOT_OURS & set(parts) and ".egg-info" not in str(path):
            yield path


def blocks(document: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [text for kind, text in FENCED.findall(document.read_text()) if kind == language]


def spans(document: Path) -> list[str]:
    """Return what stands in backticks."""
    text = FENCED.sub("", document.read_text())
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def section(document: Path, title: str) -> str:
    """Return the text under a heading, up to the next one of its level or above."""
    level = re.escape(title.split(maxsplit=1)[0])
    found = re.search(
        rf"^{re.escape(title)}\n(.*?)(?=^#{{1,{len(level) // 2}}} |\Z)", document.read_text(), re.M | re.S
    )
    assert found, f"{document} has no section {title!r}"
    return found[1]


def table(document: Path, *columns: str) -> list[list[str]]:
    """Return the rows of the table with these first columns."""
    head = "| " + " | ".join(columns)
    text = document.read_text()
    assert head in text, f"{document} has no table with the columns {columns}"
    lines = text[text.index(head) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def plain(cell: str) -> str:
    """Return a cell without its backticks."""
    return cell.strip().strip("`")


# Paths and links


def named_paths(document: Path) -> set[str]:
    """Return what looks like a path of the repository, in backticks or in an example."""
    anywhere = re.findall(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*/]", document.read_text())
    quoted = [
        s for s in spans(document) if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", s) and s.endswith(SUFFIXES)
    ]
    return {*anywhere, *quoted}


@every_document
def test_every_path_that_a_document_names_is_there(document: Path) -> None:
    names = {path.name for path in source_files()}
    missing = {
        path
        for path in named_paths(document)
        if not (any(ROOT.glob(path)) or any(document.parent.glob(path)) or path in names)
    }
    assert not missing


@every_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    text = FENCED.sub("", document.read_text())
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    for target in relative:
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, target


@every_document
def test_every_make_target_that_a_document_names_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    code = [*spans(document), *FENCED.sub(r"\2", "\n".join(blocks(document, "bash"))).splitlines()]
    named = {match[1] for line in code if (match := re.match(r"make ([a-z]+)", line))}
    assert named <= targets


def test_no_file_names_a_machines_path_or_a_registry() -> None:
    found = []
    for path in source_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for p in (MACHINE, REGISTRY) for m in p.finditer(text)]
    assert not found


# Examples


@every_document
def test_every_python_example_is_python(document: Path) -> None:
    for block in blocks(document, "python"):
        ast.parse(block)


def app_class(source: str) -> str:
    """Return the class App of a source, without its layout."""
    (found,) = [
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "App"
    ]
    return ast.dump(found)


def test_the_readmes_hello_world_is_the_examples() -> None:
    hello = next(block for block in blocks(README, "python") if "Runner(App).run()" in block)
    assert app_class(hello) == app_class((ROOT / "examples/hello.py").read_text())
    assert "from htagweb import Runner\nRunner(App).run()\n" in hello


def test_the_readmes_server_serves_the_same_app() -> None:
    server = next(block for block in blocks(README, "python") if block.endswith("app = Runner(App)\n"))
    assert app_class(server) == app_class((ROOT / "examples/hello.py").read_text())


def test_every_server_command_of_the_readme_is_tested() -> None:
    commands = [
        line for block in blocks(README, "bash") for line in block.splitlines() if "gunicorn -w" in line
    ]
    tested = (ROOT / "tests/support/servers.py").read_text()
    assert len(commands) == 3
    for command in commands:
        worker = re.search(r"-k (\S+)", command)
        assert worker and f'"{worker[1]}"' in tested, command


# The Runner, settings and options


def test_the_runners_parameters_are_those_of_the_readme() -> None:
    rows = {plain(row[0]): plain(row[1]) for row in table(README, "parameter", "default")}
    parameters = dict(inspect.signature(Runner.__init__).parameters)
    del parameters["self"]
    shown = {
        name: json.dumps(item.default) if isinstance(item.default, str) else repr(item.default)
        for name, item in parameters.items()
    }
    assert list(rows.items()) == list(shown.items())


def setting_rows() -> dict[str, list[str]]:
    """Return the README's settings by name."""
    return {plain(row[0]): [plain(cell) for cell in row[1:]] for row in table(README, "setting", "variable")}


def test_the_settings_of_the_readme_are_the_settings() -> None:
    assert sorted(setting_rows()) == sorted(item.name for item in fields(Settings))


@pytest.mark.parametrize("item", fields(Settings), ids=lambda item: item.name)
def test_a_settings_row_has_its_variable_and_default(item: Any) -> None:
    shown_variable, default, reader, _ = setting_rows()[item.name]
    expected = f"{item.default:g}" if isinstance(item.default, float) else str(item.default)
    assert (shown_variable, default) == (variable(item.name), expected or NOTHING)
    assert (reader == "web") == (item.name in WEB_ONLY)


@pytest.mark.parametrize("name", [item.name for item in fields(Settings) if item.name not in WEB_ONLY])
def test_the_commands_help_tells_of_every_setting_that_the_readme_gives_it(name: str) -> None:
    text = parser().format_help()
    assert f"--{name.replace('_', '-')} " in text
    assert variable(name) in text


@every_document
def test_every_option_of_the_supervisor_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    options = {
        o for line in re.findall(r"htagweb-supervisor( --.*)", text) for o in re.findall(r"--[a-z-]+", line)
    }
    assert all(f"{option} " in f"{parser().format_help()} " for option in options - {"--help"})


def test_the_readmes_exit_codes_are_the_commands() -> None:
    found = re.search(r"^Exit codes: (.*?)\.$", README.read_text(), re.M | re.S)
    assert found
    assert [int(number) for number in re.findall(r"\d+", found[1])] == [int(code) for code in ExitCode]


# Limits


def limit_rows() -> list[tuple[Path, str, str, str]]:
    """Return document, limit, default and what sets it."""
    return [
        (path, limit, default, source)
        for path in (README, PROTOCOL)
        for limit, default, source, *_ in table(path, "limit", "default", "set by")
    ]


def quantity(text: str) -> float:
    """Return a default in bytes, seconds or pieces."""
    found = re.fullmatch(r"([\d,]+) ?(\w*?)s?", text) or re.fullmatch(r"([\d,]+) ?(s)", text)
    assert found, text
    unit = "s" if text.endswith(" s") else found[2]
    return float(found[1].replace(",", "")) * UNITS[unit]


def value_of(source: str) -> float:
    """Return the value that a row's third cell names."""
    first, *more = re.findall(r"`([^`]+)`", source)
    if first.startswith("HTAGWEB_"):
        return float(getattr(Settings(), first.removeprefix("HTAGWEB_").lower()))
    if first.endswith(".js"):
        found = re.search(rf"const {more[0]} = (\d+);", (ROOT / first).read_text())
        assert found, source
        return float(found[1])
    if "." not in first:
        return float(inspect.signature(Runner.__init__).parameters[first].default)
    module, _, name = first.rpartition(".")
    value = float(getattr(importlib.import_module(module), name))
    return value / 1000 if name.endswith("_MS") else value


@pytest.mark.parametrize(
    ("document", "limit", "default", "source"),
    [pytest.param(*row, id=f"{row[0].relative_to(ROOT)}: {row[1]}") for row in limit_rows()],
)
def test_a_limits_number_is_the_sources(document: Path, limit: str, default: str, source: str) -> None:
    assert quantity(default) == value_of(source)


def test_every_limit_of_the_broker_is_in_its_table() -> None:
    units = {"SECOND_MS", "MINUTE_MS", "HOUR_MS", "DAY_MS"}
    named = {name for name in vars(limits) if name.isupper()} - units
    listed = {plain(source).rpartition(".")[2] for path, _, _, source in limit_rows() if path == PROTOCOL}
    assert named <= listed


# The protocol


def keys_of_the_source() -> list[list[str]]:
    """Return the table in the docstring of keys.py, its head first."""
    _, _, rest = (keys.__doc__ or "").partition("\n====")
    lines = [line for line in rest.splitlines()[1:] if line]
    end = next(number for number, line in enumerate(lines[1:], 1) if line.startswith("==") and number > 1)
    rule = next(line for line in lines if line.startswith("=="))
    starts = [match.start() for match in re.finditer(r"=+", rule)]
    cuts = list(zip(starts, [*starts[1:], None], strict=True))
    return [
        [line[a:b].strip().strip("`") for a, b in cuts] for line in lines[:end] if not line.startswith("==")
    ]


def test_the_protocols_keys_are_those_of_the_source() -> None:
    head, *rows = keys_of_the_source()
    assert len(rows) >= 12
    assert [[plain(cell) for cell in row] for row in table(PROTOCOL, *head)] == rows


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_scripts_keys_arguments_and_return_are_those_of_its_file(path: Path) -> None:
    comment = []
    for line in path.read_text().splitlines():
        if not line.startswith("--"):
            break
        comment.append(line[2:].strip())
    found = re.fullmatch(r"(.*) KEYS: (.*) ARGV: (.*) Returns (.*)", " ".join(comment))
    assert found, "a header has KEYS, ARGV and Returns, in this order"
    text = " ".join(section(PROTOCOL, f"### `{path.name}`").split())
    assert f"- KEYS: {found[2]} - ARGV: {found[3]} - Returns {found[4]} - Repeated: " in text


def test_the_protocol_describes_no_script_that_is_not_there() -> None:
    described = re.findall(r"^### `(\w+\.lua)`", PROTOCOL.read_text(), re.M)
    assert sorted(described) == [path.name for path in SCRIPTS]


MESSAGES: list[type[msgspec.Struct]] = [
    *(messages.Open, messages.Interact, messages.Connect, messages.Launch, messages.SpawnRequest),
    *(messages.PageReply, messages.FailureReply),
    *(messages.Answered, messages.UpdatedByApp, messages.Ended),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_a_message_is_in_the_protocol_with_all_its_fields(message: type[msgspec.Struct]) -> None:
    named = set(re.findall(r"`([^`]+)`", section(PROTOCOL, "## Messages")))
    tag = message.__struct_config__.tag
    assert {*message.__struct_fields__, *([tag] if isinstance(tag, str) else [])} <= named


def test_every_reason_of_an_end_is_in_the_protocol() -> None:
    named = set(re.findall(r"`([^`]+)`", section(PROTOCOL, "## Messages")))
    assert set(get_args(messages.EndReason)) <= named


# Contributing


def project() -> dict[str, Any]:
    """Return the project's description."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_dependency_has_a_reason_and_every_reason_a_dependency() -> None:
    metadata = project()["project"]
    wanted = [
        *metadata["dependencies"],
        *(d for extra in metadata["optional-dependencies"].values() for d in extra),
    ]
    names = {re.split(r"[<>=; ]", item)[0] for item in wanted} - {"htagweb[embedded]"}
    assert {plain(row[0]) for row in table(ROOT / "CONTRIBUTING.md", "package", "why")} == names


def test_the_layers_are_the_contracts_that_are_checked() -> None:
    listed = re.findall(r"^- (.*)$", section(ROOT / "CONTRIBUTING.md", "## Layers"), re.M)
    assert listed == [contract["name"] for contract in project()["tool"]["importlinter"]["contracts"]]

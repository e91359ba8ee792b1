"""The scripts' text: each names all its keys, as a cluster needs it."""

import re
from importlib.resources import files

import pytest

SCRIPTS = {
    path.name: path.read_text()
    for path in files("htagweb_broker").joinpath("lua").iterdir()
    if path.name.endswith(".lua")
}
CALL = re.compile(r"redis\.p?call\('(\w+)'(?:, ([^,()]+))?(?:, ([^,()]+))?")
KEYLESS = {"INFO"}
MANY_KEYS = {"DEL", "EXISTS", "UNLINK"}

pytestmark = pytest.mark.parametrize("name", sorted(SCRIPTS))


def code(name: str) -> str:
    """Return the script without its comments."""
    return "\n".join(line for line in SCRIPTS[name].splitlines() if not line.lstrip().startswith("--"))


def calls(name: str) -> list[tuple[str, list[str]]]:
    """Return each command of the script, with its first two arguments."""
    text = code(name)
    found = [(command, [a for a in rest if a]) for command, *rest in CALL.findall(text)]
    assert len(found) == len(re.findall(r"redis\.", text)), "a call that this test does not understand"
    return found


def test_a_script_touches_no_key_that_it_does_not_name(name: str) -> None:
    for command, arguments in calls(name):
        if command in KEYLESS or command == "PUBLISH":  # a channel is no key
            continue
        count = 2 if command in MANY_KEYS | {"RENAME"} else 1
        for key in arguments[:count]:
            assert re.fullmatch(r"KEYS\[\d\]", key), f"{command} {key}"


def test_a_script_uses_each_key_that_its_header_names(name: str) -> None:
    header = re.search(r"^-- KEYS: (.*?)\n(?:-- ARGV|(?!--))", SCRIPTS[name], re.M | re.S)
    assert header
    keys = re.sub(r", and, where [^,]+, ", ", ", header[1]).split(", ")
    used = {int(number) for number in re.findall(r"KEYS\[(\d)\]", code(name))}
    assert used == set(range(1, len(keys) + 1))

"""Settings from files: secrets that are in no environment."""

from pathlib import Path

import pytest

from htagweb.settings import SettingError, Settings


def test_a_text_is_read_from_the_file_that_its_variable_names(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://web:pw@h\n")
    assert Settings.load({"HTAGWEB_REDIS_URL_FILE": str(tmp_path / "url")}).redis_url == "redis://web:pw@h"


def test_an_override_wins_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    environ = {"HTAGWEB_SECRET_FILE": str(tmp_path / "secret")}
    assert Settings.load(environ, secret="b").secret == "b"


def test_a_setting_and_its_file_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a")
    environ = {"HTAGWEB_SECRET": "b", "HTAGWEB_SECRET_FILE": str(tmp_path / "secret")}
    with pytest.raises(SettingError, match="HTAGWEB_SECRET or HTAGWEB_SECRET_FILE, both are set"):
        Settings.load(environ)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"HTAGWEB_SECRET_FILE: .*nothing-here"):
        Settings.load({"HTAGWEB_SECRET_FILE": str(tmp_path / "nothing-here")})


@pytest.mark.parametrize("content", [b"", b" \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(SettingError, match=r"HTAGWEB_SECRET_FILE: .*the file is empty"):
        Settings.load({"HTAGWEB_SECRET_FILE": str(tmp_path / "secret")})


def test_a_file_that_is_no_text_is_refused_without_its_content(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"HTAGWEB_SECRET_FILE: expected a text file"):
        Settings.load({"HTAGWEB_SECRET_FILE": str(tmp_path / "secret")})


def test_no_file_is_read_for_a_number(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("7")
    assert Settings.load({"HTAGWEB_MAX_APPS_FILE": str(tmp_path / "n")}).max_apps == Settings().max_apps

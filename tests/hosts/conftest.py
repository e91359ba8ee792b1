"""The images and the running project that the tests of this folder share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.hosts.compose import Project
from tests.hosts.dockerfile import Build
from tests.hosts.network import leftovers, require_hosts
from tests.hosts.roots import Image, Roots
from tests.support.processes import APPS, ROOT
from tests.support.requirements import missing, server_binary
from tests.support.waiting import until_sync

OWN_APP = """FROM htagweb
COPY . /app
ENV UVICORN_APP=site_for_tests:app
"""
"""As docs/deploy.md says."""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Fail a test that leaves a child that is no container of a running project; those come and go."""

    def children() -> set[int]:
        found = psutil.Process().children()
        return {child.pid for child in found if child.is_running() and child.status() != psutil.STATUS_ZOMBIE}

    before = children()
    yield
    until_sync(lambda: children() <= before | Project.pids(), "no process is left", 10)


def program(name: str) -> str:
    """Return a program's path."""
    return shutil.which(name) or missing(name)


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roots]:
    """Give a place for file systems."""
    require_hosts()
    made = Roots(tmp_path_factory.mktemp("roots") / "layers")
    yield made
    made.remove()


@pytest.fixture(scope="session")
def image(roots: Roots) -> Image:
    """Give the image that the Dockerfile makes."""
    return Build(ROOT, roots, lambda name: roots.python()).run()


@pytest.fixture(scope="session")
def own_image(roots: Roots, image: Image, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Give an image with an app of one's own."""
    context = tmp_path_factory.mktemp("own")
    (context / "Dockerfile").write_text(OWN_APP)
    shutil.copy(APPS / "site_for_tests.py", context)
    return Build(context, roots, lambda name: image).run()


@pytest.fixture(scope="session")
def images(roots: Roots, own_image: Image) -> dict[str, Image]:
    """Give what stands for each image of the compose file."""
    caddy = ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
    servers = {"valkey-server": server_binary("valkey"), "valkey-cli": program("redis-cli")}
    return {
        "own": own_image,
        "valkey/valkey": roots.base(servers, {}),
        "caddy": roots.base(
            {"caddy": program("caddy")}, {"XDG_CONFIG_HOME": "/config", "XDG_DATA_HOME": "/data"}, caddy
        ),
    }


@pytest.fixture(scope="session")
def compose_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the compose file and what it mounts, with secrets made."""
    directory = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "docker-compose.yml", directory)
    for name in ("broker", "deploy"):
        skip = shutil.ignore_patterns("secrets", "__pycache__")
        shutil.copytree(ROOT / name, directory / name, ignore=skip)
    subprocess.run([directory / "deploy/make-secrets"], check=True, capture_output=True)
    return directory / "docker-compose.yml"


@pytest.fixture(scope="module")
def project(
    roots: Roots, images: dict[str, Image], compose_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """Give the README's line, running: three web workers' containers, two supervisors'."""
    made = Project(
        compose_file,
        tmp_path_factory.mktemp("project"),
        roots,
        images,
        HTAGWEB_IMAGE="own",
        HTAGWEB_SITE=":80",
    )
    try:
        made.up(web=3, supervisor=2)
        yield made
    except BaseException:
        print(made.logs())
        raise
    finally:
        made.remove()
        assert not leftovers()

"""The files of the deployment hold what they promise, and fit the source."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from htagweb_broker import keys

from htagweb.settings import Settings, type_of, variable
from htagweb.supervisor.cli import ExitCode
from htagweb.supervisor.daemon import ENDING_S
from tests.hosts.compose import load, seconds
from tests.hosts.dockerfile import is_in_context, steps

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
SERVICES: dict[str, dict[str, Any]] = load(COMPOSE, {})["services"]
BIN = Path(sys.executable).parent
DEPLOY = ROOT / "docs/deploy.md"
BASH = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)

every_service = pytest.mark.parametrize("name", SERVICES)


# Compose


def test_the_compose_file_keeps_to_its_schema() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@every_service
def test_a_service_has_a_limit_and_no_right_to_more(name: str) -> None:
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "proxy"])
def test_only_the_proxy_is_root_or_reached_from_outside(name: str) -> None:
    uid = SERVICES[name]["user"].partition(":")[0]
    assert int(uid) > 0
    assert "ports" not in SERVICES[name]


def test_the_proxy_does_not_reach_the_broker() -> None:
    assert not set(SERVICES["proxy"]["networks"]) & set(SERVICES["valkey"]["networks"])


def test_the_images_user_is_the_services() -> None:
    found = re.search(r"--uid (\d+)", (ROOT / "Dockerfile").read_text())
    assert found
    assert {SERVICES[name]["user"] for name in ("web", "supervisor")} == {f"{found[1]}:{found[1]}"}


def test_no_service_has_a_secret_in_its_environment() -> None:
    for service in SERVICES.values():
        assert not {"HTAGWEB_REDIS_URL", "HTAGWEB_SECRET"} & set(service.get("environment", {}))


# A supervisor has the time to drain

LEAST_GRACE_S = Settings().drain_s + ENDING_S


def test_compose_gives_a_supervisor_the_time_to_drain() -> None:
    service = SERVICES["supervisor"]
    drain_s = float(service["environment"]["HTAGWEB_DRAIN_S"])
    assert seconds(service["stop_grace_period"]) > drain_s + ENDING_S


def test_systemd_gives_a_supervisor_the_time_to_drain() -> None:
    assert float(unit(UNITS[0])["Service"]["TimeoutStopSec"]) > LEAST_GRACE_S


def test_kubernetes_gives_a_supervisor_the_time_to_drain() -> None:
    (deployment,) = [
        d for d in documents(ROOT / "deploy/kubernetes/supervisor.yaml") if d["kind"] == "Deployment"
    ]
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > LEAST_GRACE_S


# Settings


def named_variables() -> Iterator[tuple[str, str]]:
    """Give every variable that a file of the deployment sets, with the file's name."""
    for service, spec in SERVICES.items():
        yield from ((f"compose: {service}", name) for name in spec.get("environment", {}))
    for path in [*MANIFESTS, *UNITS]:
        found = re.findall(r"\b(HTAGWEB_\w+)(?==|, value)", path.read_text())
        yield from ((path.name, name) for name in found)


def test_every_setting_that_is_set_exists() -> None:
    known = {variable(item.name) for item in fields(Settings)}
    known |= {f"{variable(item.name)}_FILE" for item in fields(Settings) if type_of(item.name) is str}
    used = {(where, name) for where, name in named_variables() if name.startswith("HTAGWEB_")}
    assert len(used) >= 10
    assert {(where, name) for where, name in used if name not in known} <= {
        ("compose: proxy", "HTAGWEB_SITE")
    }


# The steps of docs/deploy.md


def commands(title: str) -> list[str]:
    """Return the lines of the bash blocks under a heading of docs/deploy.md."""
    found = re.search(rf"^{title}\n(.*?)(?=^## |\Z)", DEPLOY.read_text(), re.M | re.S)
    assert found
    return [line for block in BASH.findall(found[1]) for line in block.splitlines()]


def test_no_step_gives_this_repositorys_image_the_name_of_the_users() -> None:
    # Compose would: with HTAGWEB_IMAGE in .env, that is the name of what it builds.
    for title in ("## Docker Compose", "## Upgrade"):
        steps = commands(title)
        assert not [line for line in steps if re.search(r"compose build|up .*--build", line)]
        built = [line.split()[3] for line in steps if line.startswith("docker build -t ")]
        assert built == ["htagweb", "shop"]


def test_the_steps_for_systemd_make_what_the_units_name_before_it_is_used() -> None:
    steps = commands("## systemd")
    made = steps.index("deploy/make-secrets")
    used = [number for number, line in enumerate(steps) if "deploy/secrets/" in line]
    assert used and made < min(used)
    for path in UNITS:
        service = unit(path)["Service"]
        assert f"mkdir -p {service['WorkingDirectory']}" in steps
        assert any(f"--user-group --home-dir /srv/htagweb {service['User']}" in line for line in steps)
        secrets = re.findall(r"^LoadCredential=\w+:(\S+)/(\w+)$", path.read_text(), re.M)
        assert {folder for folder, _ in secrets} == {"/etc/htagweb"}
        assert {name for _, name in secrets} <= {"web_redis_url", "supervisor_redis_url", "cookie_secret"}
    assert "systemctl" in steps[-1]


# Dockerfile


def test_the_dockerfile_copies_only_what_the_build_is_given() -> None:
    ignore_file = (ROOT / ".dockerignore").read_text()
    for name, rest in steps((ROOT / "Dockerfile").read_text()):
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert is_in_context(source, ignore_file), source
                assert (ROOT / source).exists(), source


def test_secrets_get_into_no_image_and_no_commit() -> None:
    assert not is_in_context("deploy/secrets/web_redis_url", (ROOT / ".dockerignore").read_text())
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_secrets_are_made_once_and_only_their_owner_finds_them(tmp_path: Path) -> None:
    shutil.copy(ROOT / "deploy/make-secrets", tmp_path)

    def make() -> dict[str, str]:
        subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
        return {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}

    made = make()
    assert make() == made
    assert len(set(made.values())) == 4
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    assert re.fullmatch(r"redis://web:[0-9a-f]{64}@valkey:6379\n", made["web_redis_url"])
    assert re.fullmatch(r"[0-9a-f]{64}", made["cookie_secret"])


# systemd


def unit(path: Path) -> configparser.RawConfigParser:
    """Return a unit's settings; of one that stands twice, the last."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_one_that_systemd_takes(path: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here: no test machine needs systemd")
    # It looks whether the programs are there: here they are in another place.
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/htagweb/bin", str(BIN)))
    command = ["systemd-analyze", "verify", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert path.name not in done.stderr, done.stderr


def test_the_supervisors_unit_does_not_start_a_wrong_setting_again() -> None:
    service = unit(UNITS[0])["Service"]
    assert service["Type"] == "notify"
    assert int(service["RestartPreventExitStatus"]) == ExitCode.USAGE


# Kubernetes


def documents(path: Path) -> list[dict[str, Any]]:
    """Return what a manifest holds."""
    return list(yaml.safe_load_all(path.read_text()))


MANIFEST_DOCUMENTS = [
    pytest.param(document, id=f"{path.name}: {document['kind']}")
    for path in MANIFESTS
    for document in documents(path)
]


@pytest.mark.parametrize("document", MANIFEST_DOCUMENTS)
def test_a_manifest_keeps_to_its_schema(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.31", strict=True)


@pytest.mark.parametrize("document", MANIFEST_DOCUMENTS)
def test_a_pod_has_a_limit_and_no_right_to_more(document: dict[str, Any]) -> None:
    if document["kind"] not in ("Deployment", "StatefulSet"):
        return
    pod = document["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert container["resources"]["limits"]["memory"]
        assert container["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }


# The broker's users


def rules(user: str) -> str:
    """Return a user's rules."""
    found = re.search(rf"^user {user} .*?(?=^user |\Z)", (ROOT / "broker/users.acl").read_text(), re.M | re.S)
    assert found
    return found[0]


def key_rows() -> list[tuple[str, str, str, str]]:
    """Return key, type, writer and reader from the docstring of keys.py."""
    row = r"^``(\S+)``\s+(\w+)\s+(\w+)\s+(\w+)\s"
    return re.findall(row, keys.__doc__ or "", re.M)


def patterns(key: str) -> str:
    """Return a key of the table as users.acl writes it."""
    key = key.replace("{pN}", "{p*}").replace("ns:", "htagweb:", 1)
    return re.sub(r"(:[A-Z])+$", ":*", key)


@pytest.mark.parametrize("key", [pytest.param(row, id=row[0]) for row in key_rows()])
def test_the_users_have_the_rights_that_the_table_of_keys_gives_them(key: tuple[str, str, str, str]) -> None:
    name, kind, writer, reader = key
    pattern = patterns(name)
    for user in ("web", "supervisor"):
        text = rules(user)
        may_write, may_read = f" ~{pattern} " in text.replace("(", " "), f"%R~{pattern} " in text
        if kind == "channel":
            assert f"&{pattern}" in text
        elif writer in (user, "both"):
            assert may_write, f"{user} writes {name}"
        elif reader in (user, "both"):
            assert may_read or may_write, f"{user} reads {name}"
        else:
            assert not (may_write or may_read), f"{user} has no business with {name}"

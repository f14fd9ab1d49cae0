"""Dockerfile, compose file and init.sql, checked without an engine."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from app.core.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROGRAM = ("migrate", "api", "worker")
ONE_SHOT = {"migrate"}
REQUIRED = re.compile(r"\$\{[A-Z_]+:\?[^}]+\}")
OPTIONAL = {"OPENAI_API_KEY"}
SECRET_NAME = re.compile(r"PASSWORD$|API_KEY|SECRET|TOKEN$")
DECIDED_BY_COMPOSE = {"APP_ENV", "API_KEY", "JWT_SECRET", "DATABASE_URL"}
DECIDED_BY_THE_IMAGE = {"HOST", "PORT", "DATA_DIR", "WORKER_IN_PROCESS"}


def tool(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"not present: {name}")
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def instructions(keyword: str) -> list[str]:
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(keyword).strip() for line in lines if line.startswith(keyword + " ")]


def test_hadolint_is_content() -> None:
    run(tool("hadolint"), "Dockerfile")


def test_the_compose_file_follows_the_specification() -> None:
    run(tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_both_stages_have_the_same_pinned_base() -> None:
    bases = {line.split()[0] for line in instructions("FROM")}
    assert len(instructions("FROM")) == 2
    assert bases == {"python:3.11-slim-bookworm"}  # the venv points at the interpreter of its base


def test_the_image_runs_as_an_ordinary_user_in_exec_form() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["ragchat"]
    assert json.loads(instructions("CMD")[-1])[0] == "serve"
    assert "HEALTHCHECK" in DOCKERFILE


def test_packages_are_installed_by_hash_only() -> None:
    installs = re.findall(r"pip install [^&\n]+", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) == 4
    for install in installs:
        assert "--require-hashes" in install or install.split()[2:] == ["--no-deps", "."], install


def test_what_is_copied_passes_the_ignore_file_and_nothing_else_does() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]}
    assert copied == allowed


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_watched_pinned_and_bounded(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
        assert service["healthcheck"] == {"disable": True}
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] == "CMD"
    _, colon, tag = service["image"].partition(":")
    assert colon
    assert re.match(r"\d+\.\d+", tag), f"{service['image']} is not a fixed version"
    assert service["logging"]["options"]["max-size"]
    assert service["stop_grace_period"] == ("40s" if name == "api" else "30s")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "network_mode" not in service
    assert "privileged" not in service
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), port


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_from_the_environment_and_are_required(name: str) -> None:
    for key, value in SERVICES[name].get("environment", {}).items():
        if key in OPTIONAL:
            assert value is None, f"{name}.{key}"  # taken from .env, nothing else
        elif SECRET_NAME.search(key):
            assert REQUIRED.fullmatch(str(value)), f"{name}.{key}"
        assert not re.search(r"://[^/@\s]*:(?!\$\{)[^@\s]*@", str(value)), f"{name}.{key}"


def test_there_is_no_default_for_a_secret() -> None:
    without_defaults = re.findall(r"\$\{([A-Z_]+)(:?[-?])?", COMPOSE_TEXT)
    assert {name for name, _ in without_defaults} == {"API_KEY", "JWT_SECRET", "POSTGRES_PASSWORD", "PGADMIN_PASSWORD"}
    assert {operator for _, operator in without_defaults} == {":?"}


@pytest.mark.parametrize("name", PROGRAM)
def test_the_program_waits_for_what_it_needs_and_cannot_write_elsewhere(name: str) -> None:
    service = SERVICES[name]
    assert service["depends_on"]["db"] == {"condition": "service_healthy"}
    if name not in ONE_SHOT:
        assert service["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["volumes"] == ["files:/data"]
    assert service["environment"]["APP_ENV"] == "production"
    assert "entrypoint" not in service


def test_every_setting_can_be_given_in_dot_env() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    passed_on = COMPOSE["x-environment"]
    assert set(passed_on) == settings - DECIDED_BY_THE_IMAGE
    assert {name for name, value in passed_on.items() if value is not None} == DECIDED_BY_COMPOSE


def test_the_api_may_drain_before_it_is_killed() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    assert int(SERVICES["api"]["stop_grace_period"].rstrip("s")) >= drain + 5


def test_the_database_keeps_its_data_and_its_locale() -> None:
    database = SERVICES["db"]
    assert "database:/var/lib/postgresql" in database["volumes"]
    assert "./init.sql:/docker-entrypoint-initdb.d/init.sql:ro" in database["volumes"]
    arguments = database["environment"]["POSTGRES_INITDB_ARGS"].split()
    assert {"--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"} <= set(arguments)
    assert "ports" not in database


def test_everything_mounted_from_the_repository_exists() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    for source in (volume.split(":")[0] for volume in mounts):
        assert source in COMPOSE["volumes"] or (ROOT / source).is_file(), source


def test_pgadmin_knows_the_database() -> None:
    servers = json.loads((ROOT / "deploy/pgadmin/servers.json").read_text())["Servers"]
    server = servers["1"]
    database = SERVICES["db"]["environment"]
    assert (server["Host"], server["Port"]) == ("db", 5432)
    assert server["Username"] == database["POSTGRES_USER"]
    assert server["MaintenanceDB"] == database["POSTGRES_DB"]
    assert server["ConnectionParameters"]["passfile"] == "/.pgpass"
    run("sh", "-n", "deploy/pgadmin/start.sh")


def test_pgadmin_start_writes_a_password_file_that_libpq_accepts(tmp_path: Path) -> None:
    script = (ROOT / "deploy/pgadmin/start.sh").read_text()
    script = script.replace("/var/lib/pgadmin", str(tmp_path)).replace("/entrypoint.sh", "/usr/bin/env")
    environment = {
        "PGADMIN_DEFAULT_EMAIL": "admin@example.com",
        "POSTGRES_PASSWORD": r"a:b\c $d",
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    password_file = tmp_path / "storage" / "admin_example.com" / ".pgpass"
    assert password_file.read_text() == "db:5432:*:ragchat:" + r"a\:b\\c $d" + "\n"
    assert password_file.stat().st_mode & 0o777 == 0o600
    assert "POSTGRES_PASSWORD" not in done.stdout


def test_init_sql_asks_before_it_uses_a_contrib_extension() -> None:
    sql = (ROOT / "init.sql").read_text()
    created = re.findall(r'CREATE EXTENSION IF NOT EXISTS "?([\w-]+)', sql)
    assert created == ["vector", "uuid-ossp"]
    assert sql.index("pg_available_extensions") < sql.index('"uuid-ossp"')

"""What is shipped for deployments keeps what a deployment needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from connector.core.secret_files import SECRETS
from workers.serve import OPTIONS

ROOT: Final = Path(__file__).parents[3]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
IN_FILES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.secrets.yml").read_text())
PASSWORDS: Final = ("rabbit_password", "redis_password")


def test_waiting_events_survive_a_broker_whose_container_is_made_anew() -> None:
    """RabbitMQ keeps its data under the host name, which is random unless it is set: 100 waiting events were out of sight."""
    assert SERVICES["rabbitmq"]["hostname"]
    assert "rabbitmq:/var/lib/rabbitmq" in SERVICES["rabbitmq"]["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_loopback_and_logs_are_bounded(name: str) -> None:
    service = SERVICES[name]
    assert service["ports"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", ["user", "price"])
def test_a_service_has_time_to_hand_over_and_an_outbox_that_stays(name: str) -> None:
    service = SERVICES[name]
    assert service["stop_grace_period"] == "60s"
    assert service["environment"]["OUTBOX_DIR"] == "/app/var/outbox"
    assert any(volume.endswith(":/app/var/outbox") for volume in service["volumes"])
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["mem_limit"] == "${SERVICE_MEMORY:-2g}", "as in the chart"
    assert service["environment"]["HEALTH_PORT"] == 3000, "what the health check and the published port look at"
    unit = (ROOT / "deploy" / "systemd" / f"connector-{name}.service").read_text()
    assert f"/bin/connector serve {name}\n" in unit
    command = next(line for line in (ROOT / "Procfile").read_text().splitlines() if line.startswith(f"{name}:"))
    assert command == f"{name}: dramatiq workers.{name} {' '.join(OPTIONS[name])}"  # type: ignore[index]
    assert "TimeoutStopSec=60" in unit
    assert "OUTBOX_DIR=" in unit


def test_whoever_moves_over_is_told_to_give_a_stop_its_time() -> None:
    """The platform's Compose file gives 10 s: the first stop of a service with accounts was a kill."""
    steps = (ROOT / "README.md").read_text().partition("## Moving over")[2].partition("\n2. ")[0]
    assert f"stop_grace_period: {SERVICES['user']['stop_grace_period']}" in steps


@pytest.mark.parametrize("name", ["user", "price"])
def test_paper_trading_is_not_looked_for_in_the_container_itself(name: str) -> None:
    """.env.sample set localhost, which every container took for itself: paper accounts never came live."""
    assert SERVICES[name]["environment"]["PAPER_WS"] == "${PAPER_WS:-ws://paper-trading}"
    lines = (ROOT / ".env.sample").read_text().splitlines()
    assert not [line for line in lines if not line.startswith("#") and "localhost:7506" in line]


def test_the_image_has_no_secret_and_only_what_it_needs() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!.") for line in ignored)


def test_the_image_runs_as_somebody_whom_kubernetes_sees_to_be_no_root_and_has_the_code_once() -> None:
    image = (ROOT / "Dockerfile").read_text()
    last = image.rpartition("\nFROM ")[2]
    assert "useradd --uid 1000 " in last
    assert "\nUSER 1000\n" in last
    chart = (ROOT / "deploy/helm/websocket-connector/templates/services.yaml").read_text()
    assert "runAsUser: 1000\n" in chart
    assert re.findall(r"^COPY (.*)$", last, re.MULTILINE) == [
        "--from=build /opt/connector /opt/connector",
        "docker-entrypoint.sh /usr/local/bin/",
    ], "no folder with code beside what is installed"
    ignored = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE)
    assert {name for names in copied for name in names.split()} == ignored, (
        "what is copied is not ignored, and the rest is"
    )


def configured(tmp_path: Path, name: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of a file."""
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("docker-compose is not installed")
    empty = tmp_path / "env"
    empty.touch()
    command = [compose, "--env-file", str(empty), "-f", "-", "--project-directory", str(ROOT), "config"]
    text = (ROOT / name).read_text().replace("env_file: .env", "env_file: .env.sample")
    env["PATH"] = os.environ["PATH"]
    return subprocess.run(command, input=text, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_compose_takes_the_file(tmp_path: Path) -> None:
    done = configured(tmp_path, "docker-compose.yml", RABBIT_PASSWORD="x", REDIS_PASSWORD="x")
    assert done.returncode == 0, done.stderr
    missing = configured(tmp_path, "docker-compose.yml")
    assert "set RABBIT_PASSWORD" in missing.stderr


def test_compose_takes_passwords_from_files_and_tells_none(tmp_path: Path) -> None:
    """`docker inspect` and the list of processes told them to everybody on the host."""
    for name in PASSWORDS:
        (tmp_path / name).write_text("CanaryPassword1\n")
    done = configured(tmp_path, "docker-compose.secrets.yml", SECRETS_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = yaml.safe_load(done.stdout)
    assert "CanaryPassword1" not in done.stdout
    assert {told["secrets"][name]["file"] for name in PASSWORDS} == {str(tmp_path / name) for name in PASSWORDS}


def test_the_two_compose_files_differ_in_the_passwords_alone() -> None:
    """Two files that say the same drift apart."""
    plain, in_files = (yaml.safe_load(yaml.safe_dump(file)) for file in (COMPOSE, IN_FILES))
    assert set(in_files.pop("secrets")) == set(PASSWORDS)
    for name in ("user", "price"):
        service = in_files["services"][name]
        assert service.pop("secrets") == list(PASSWORDS)
        for password in PASSWORDS:
            setting = f"{password.upper()}_FILE"
            assert setting.removesuffix("_FILE") in SECRETS
            assert service["environment"].pop(setting) == f"/run/secrets/{password}"
    for name, password, only in (
        ("rabbitmq", PASSWORDS[0], {"entrypoint"}),
        ("redis", PASSWORDS[1], {"entrypoint", "healthcheck"}),
    ):
        service = in_files["services"][name]
        assert service.pop("secrets") == [password]
        for key in only:
            assert f"/run/secrets/{password}" in str(service.pop(key))
        for key in only | {"command"}:
            plain["services"][name].pop(key, None)
    plain["services"]["rabbitmq"]["environment"].pop("RABBITMQ_DEFAULT_PASS")
    plain["services"]["redis"].pop("environment")
    plain.pop("x-connector"), in_files.pop("x-connector")
    assert in_files == plain
    assert "secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", ["rabbitmq", "redis"])
def test_a_server_gets_its_password_from_the_file_alone(name: str, tmp_path: Path) -> None:
    """As the container does it, with the image's own start replaced by one that tells what it is given."""
    (tmp_path / f"{name.removesuffix('mq')}_password").write_text("CanaryPassword1\n")
    started = tmp_path / "docker-entrypoint.sh"
    started.write_text('#!/bin/sh\necho "$*"; echo "pass=$RABBITMQ_DEFAULT_PASS"; [ "$2" != - ] || cat\n')
    started.chmod(0o755)
    shell, options, script = IN_FILES["services"][name]["entrypoint"]
    script = script.replace("$$", "$").replace("/run/secrets", str(tmp_path))
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([shell, options, script], env=env, capture_output=True, text=True, timeout=60, check=True)
    expected = {
        "rabbitmq": "rabbitmq-server\npass=CanaryPassword1\n",
        "redis": 'redis-server -\npass=\nrequirepass CanaryPassword1\nsave ""\nappendonly no\n',
    }
    assert done.stdout == expected[name]

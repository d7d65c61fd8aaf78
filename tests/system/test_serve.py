"""`connector serve`: each line of a service's log is JSON, those of Dramatiq's master process, too."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from harness.evidence import Evidence
from harness.servers import wait_for
from harness.services import Service
from harness.stack import Stack

pytestmark = pytest.mark.system

WAIT_S = 40.0


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.read_text().splitlines()]


def test_every_line_of_a_service_is_json_and_a_worker_that_dies_has_a_code(evidence: Evidence) -> None:
    with Stack(evidence, venues=("binance",)) as stack:
        service = stack.service("user", serve=True)
        service.wait_ready()
        service.stop()
        said = lines(service)
        assert any(line["logger"] == "dramatiq.MainProcess" and "booting up" in line["message"] for line in said)
        assert any("Sending signal" in line["message"] for line in said)
        assert any(line["logger"].startswith("dramatiq.ForkProcess") for line in said)

        second = stack.service("user", serve=True)
        second.wait_ready()
        (pid,) = second.worker_pids()
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: second.process.poll() is not None, WAIT_S, "the end of the service")
        (died,) = [line for line in lines(second) if "exited unexpectedly" in line["message"]]
        assert (died["level"], died["code"]) == ("critical", "WSC-LIBRARY")


def test_settings_that_cannot_be_used_are_one_line(evidence: Evidence) -> None:
    service = Service(
        "user", {"RABBIT_PORT": "56x"}, log=evidence.file("log-deployment-meant-to-fail"), serve=True
    )  # fmt: skip
    assert service.wait(WAIT_S) == 78
    (line,) = lines(service)
    assert line["code"] == "WSC-START-REFUSED"
    assert "RABBIT_PORT" in line["message"]

"""Secrets from files: each of them, and what is said of a file that can't be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connector.core.errors import InvalidSetting
from connector.core.secret_files import MAX_BYTES, SECRETS, with_files
from connector.core.settings import VENUE_OPTIONS, Settings


@pytest.mark.parametrize("name", [*SECRETS, "PROXY_BINANCE"])
def test_a_secret_may_stand_in_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"a secret \r\n")
    assert with_files({f"{name}_FILE": str(file), "OTHER": "x"})[name] == "a secret "


def test_every_setting_that_is_a_secret_may_stand_in_a_file() -> None:
    fields = [field for field in Settings.model_fields.values() if field.alias]
    secret = {
        str(field.alias) for field in fields if any(kind in str(field.annotation) for kind in ("SecretStr", "Proxy"))
    }
    secret |= {name for name in VENUE_OPTIONS if name.endswith(("_KEY", "_SECRET"))}
    assert set(SECRETS) == secret


def test_the_settings_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "rabbit").write_text("from a file\n")
    (tmp_path / "coinbase").write_text("key\n")
    environ = {"RABBIT_PASSWORD_FILE": f"{tmp_path}/rabbit", "COINBASE_API_KEY_FILE": f"{tmp_path}/coinbase"}
    found = Settings.from_env(environ)
    assert found.rabbit.password == "from a file"
    assert found.venue_options["COINBASE_API_KEY"] == "key"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "no text"),
        (b"a\0b", "no text"),
        (b"x" * (MAX_BYTES + 1), "too long"),
    ],
)
def test_a_file_that_can_not_be_used_is_named_by_its_setting_and_never_shown(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    """Somebody may write the secret itself into the variable."""
    path = tmp_path / "canary-4711"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidSetting, match=f"^REDIS_PASSWORD_FILE: .*{said}") as caught:
        with_files({"REDIS_PASSWORD_FILE": str(path)})
    assert "canary" not in str(caught.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("x")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InvalidSetting, match="SENTRY_DSN_FILE: Permission denied"):
        with_files({"SENTRY_DSN_FILE": str(path)})


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidSetting, match="RABBIT_URL_FILE: takes the path of a file"):
            with_files({"RABBIT_URL_FILE": str(path)})


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    named = "RABBIT_PASSWORD, RABBIT_PASSWORD_FILE: set one of the two; CREDENTIALS_KEYS_FILE: "
    with pytest.raises(InvalidSetting, match=named):
        with_files(
            {
                "RABBIT_PASSWORD": "x",
                "RABBIT_PASSWORD_FILE": str(tmp_path / "f"),
                "CREDENTIALS_KEYS_FILE": str(tmp_path / "g"),
            }
        )

"""What `connector completion` prints is a script that a shell takes, and knows every command and option."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from cli.main import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_every_shell_gets_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("doctor", "streams", "serve", "--not-live" if shell != "tcsh" else "why"))


def test_bash_takes_it_and_completes(capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    main(["completion", "bash"])
    ask = "COMP_WORDS=(connector str); COMP_CWORD=1; _shtab_connector; printf '%s\\n' \"${COMPREPLY[@]}\""
    script = capsys.readouterr().out + ask
    done = subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["streams"], done.stderr

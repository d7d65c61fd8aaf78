"""What the prose says can be done: commands exist, links lead somewhere, and nothing private stands in it."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from cli.main import _module_names, main

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
COMMANDS = [name.replace("_", "-") for name in _module_names()]


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def code(page: Path) -> list[str]:
    """Indented code lines, without comments and leading assignments; and what stands in code marks."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    lines = [
        line.strip()
        for line in text.splitlines()
        if line.startswith("    ") and not line.lstrip().startswith(("|", "-"))
    ]
    found = [*lines, *re.findall(r"`([^`\n]+)`", text)]
    return [re.sub(r"^(?:[A-Z_]+=\S+ +)+", "", line.split("  #")[0].strip()) for line in found]


@EVERY_PAGE
def test_make_targets_exist(page: Path) -> None:
    for line in code(page):
        for target in re.findall(r"^make ([a-z]+)", line):
            assert target in make_targets(), line


@EVERY_PAGE
def test_connector_commands_exist_with_their_options(page: Path) -> None:
    for line in code(page):
        match = re.match(r"^(?:\.venv/bin/)?connector ([a-z]+)(.*)$", line)
        if match is None:
            continue
        name, rest = match[1], match[2].split(" < ")[0].split(" | ")[0]
        assert name in COMMANDS, line
        parser = argparse.ArgumentParser(exit_on_error=False)
        module = importlib.import_module(f"cli.{name}")
        module.add_arguments(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in known, line


def test_every_command_is_described() -> None:
    described = set(re.findall(r"`(?:connector )?([a-z]+)`", (ROOT / "README.md").read_text()))
    assert set(COMMANDS) <= described


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out


def test_the_procfile_lines_stand_in_the_readme_and_in_the_image() -> None:
    readme, image = (ROOT / "README.md").read_text(), (ROOT / "docker-entrypoint.sh").read_text()
    for line in (ROOT / "Procfile").read_text().splitlines():
        command = line.split(": ", 1)[1]
        assert shlex.split(command)[0] == "dramatiq"
        assert command in readme
        assert f"exec connector serve {line.split(':')[0]} ;;" in image


def anchors(page: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), target
        assert ROOT in to.parents
        assert not anchor or anchor in anchors(to), target


@EVERY_PAGE
def test_files_that_are_named_exist(page: Path) -> None:
    folders = "bench|cli|core|docs|exchanges|harness|simulator|sinks|state|streams|tasks|tests|web|workers"
    for name in re.findall(rf"`((?:{folders})/[\w./]+\.\w+)", page.read_text()):
        assert (ROOT / name).exists(), name


@EVERY_PAGE
def test_nothing_private_stands_in_it(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"(?<![\w.])/(?:work|home|root|Users|tmp|mnt|var/folders)/\S*", text):
        pytest.fail(f"a path of somebody's machine: {path}")
    assert not re.search(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*\w{20}", text)
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


@EVERY_PAGE
def test_every_page_can_be_reached_from_the_readme(page: Path) -> None:
    if page.name != "README.md":
        assert f"({page.relative_to(ROOT)})" in (ROOT / "README.md").read_text()

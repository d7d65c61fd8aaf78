"""examples/types.d.ts, read by the TypeScript compiler: every example of the contract has its type, a wrong one has not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from harness.asyncapi import schemas
from harness.asyncapi.document import COMMANDS
from harness.asyncapi.examples import examples
from harness.asyncapi.schemas import ACCOUNT
from tests.integration.examples.test_consumers import EXAMPLES, install

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("npm") is None, reason="node with npm is not installed here"),
]

TYPESCRIPT: Final = "typescript@^5.6"
CHECK_S = 120.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("types")
    install(made, TYPESCRIPT)
    shutil.copy(EXAMPLES / "types.d.ts", made)
    return made


def compiled(folder: Path, name: str, values: dict[str, Any]) -> str:
    """What the compiler says of these values, by the name of their type."""
    lines = [f"import type {{ {', '.join(values)} }} from './types';"]
    lines += [f"export const a{kind}: {kind} = {json.dumps(value)};" for kind, value in values.items()]
    (folder / f"{name}.ts").write_text("\n".join(lines))
    command = [
        "node_modules/.bin/tsc",
        "--strict",
        "--noEmit",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        f"{name}.ts",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CHECK_S, check=False)
    return done.stdout


def test_every_example_has_its_type(folder: Path) -> None:
    known = {*schemas.document()["$defs"], *(name for names in COMMANDS.values() for name in names)}
    values = {name: body for name, body in examples().items() if name in known}
    assert compiled(folder, "good", values) == ""
    for event in ACCOUNT:
        assert event.__name__ in values
    assert compiled(folder, "union", {"AccountEvent": values["ExecutionReport"]}) == ""


@pytest.mark.parametrize(("field", "value"), [("totalTradeQuantity", 1), ("eventType", "ticker"), ("orderId", None)])
def test_a_value_that_is_wrong_has_no_type(field: str, value: object, folder: Path) -> None:
    body = {**examples()["ExecutionReport"], field: value}
    assert "error TS2322" in compiled(folder, "bad", {"ExecutionReport": body})

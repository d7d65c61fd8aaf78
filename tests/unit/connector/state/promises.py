"""What every `State` promises: one suite, run on memory, on an in-process Redis and on a real one."""

from __future__ import annotations

from tests.unit.connector.state.promises_budgets import Budgets
from tests.unit.connector.state.promises_commands import CommandsOnce, Forgotten
from tests.unit.connector.state.promises_copies import CopiesOnce
from tests.unit.connector.state.promises_counting import Counting
from tests.unit.connector.state.promises_ends import Ends
from tests.unit.connector.state.promises_notices import Notices
from tests.unit.connector.state.promises_ownership import Ownership


class Promises(Counting, CommandsOnce, CopiesOnce, Forgotten, Ownership, Ends, Budgets, Notices):
    """Subclasses give the `backing` fixture."""

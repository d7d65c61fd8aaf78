"""`connector serve`: a service as `dramatiq workers.user` starts it, with every line of its log in one shape.

Dramatiq's master process never loads our modules, so under its own command line its lines are plain text between JSON, and
what it says ("exited unexpectedly") has no code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from dramatiq.cli import main, make_argument_parser

from connector.core.log import configure
from connector.core.ports import Role
from workers._refusal import settings_or_end

OPTIONS: Final[dict[Role, tuple[str, ...]]] = {
    "user": ("--processes", "1", "--threads", "8", "--worker-shutdown-timeout", "30000"),
    "price": ("--processes", "1", "--threads", "4", "--worker-shutdown-timeout", "30000"),
}
"""What each service is started with; given options come later and win."""


def serve(role: Role, options: Sequence[str] = ()) -> int:
    """Run until SIGTERM; returns the exit code. Ends the process (`SystemExit`) if the settings can't be used."""
    settings = settings_or_end(os.environ)
    configure(json=settings.log_format == "json", level=settings.log_level, stream=sys.stderr)
    arguments = [f"workers.{role}", "--skip-logging", *OPTIONS[role], *options]
    return int(main(make_argument_parser().parse_args(arguments)))  # type: ignore[no-untyped-call]

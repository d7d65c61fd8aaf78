"""Control frames, the same on all three services: acknowledgements, errors, notices."""

from __future__ import annotations

from typing import Final

import msgspec

from exchanges._adapter import Note, Output, Rotate
from exchanges._rows import tolerant
from exchanges.okx._errors import UPGRADE_NOTICE


class Arg(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a frame is about. Also the key of a subscription: of the fields that are asked for, no others."""

    channel: str = ""
    inst_id: str = ""
    inst_type: str = ""


class Control(msgspec.Struct, rename="camel"):
    """A frame with an `event`."""

    event: str = ""
    code: str | None = ""
    msg: str | None = ""
    id: str | None = ""
    arg: Arg = Arg()
    channel: str | None = ""
    conn_count: str | None = ""


decode_control: Final = tolerant(Control)

BENIGN: Final = frozenset({"channel-conn-count", "unsubscribe"})


def notice(control: Control) -> list[Output]:
    """The venue announces something: only the end of the connection asks for action."""
    text = f"{control.code or ''} {control.msg or ''}".strip()
    if control.code == UPGRADE_NOTICE:
        return [Rotate(text)]
    return [Note(f"notice: {text}")]

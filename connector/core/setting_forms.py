"""Forms of settings: each function returns the value, or raises `ValueError` with what the setting takes. Pure."""

from __future__ import annotations

import ipaddress
import logging
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr

from exchanges.ids import FAMILIES

SHORTEST_TOKEN: Final = 16
"""Nobody guesses it at a port that counts wrong ones."""
LONGEST_NAME: Final = 255
"""Bytes of an AMQP name."""

_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off", ""})


def _flag(value: object) -> object:
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
    return value


def _names(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]


def host(value: str) -> str:
    if any(mark in value for mark in "/@?# ") or (":" in value and not _is_address(value)):
        raise ValueError(
            "takes a host name or address; port, user and password stand in settings of their own, or all in one URL"
        )
    return value


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def level(value: str) -> str:
    if value.strip().upper() not in logging.getLevelNamesMapping():
        raise ValueError("takes DEBUG, INFO, WARNING or ERROR")
    return value.strip()


def url(value: str) -> str:
    if value and (urlsplit(value).scheme not in {"http", "https"} or not urlsplit(value).hostname):
        raise ValueError("takes a URL that begins with http:// or https://")
    return value


def paper(value: str) -> str:
    """With or without a scheme, once or twice (bug C12)."""
    scheme = value.lower().split("://", 1)[0] if "://" in value else "ws"
    if scheme not in {"ws", "wss", "http", "https"}:
        raise ValueError("takes host:port, or a URL with ws://, wss://, http:// or https://")
    _place(value.rsplit("://", 1)[-1].split("/", 1)[0])
    return value


def origin(value: str) -> str:
    if value:
        _place(value.split("://", 1)[-1].rstrip("/"))
    return value


def _place(text: str) -> None:
    """Raises `ValueError` if it is no `host` or `host:port`."""
    try:
        parts = urlsplit(f"//{text}")
        good = bool(parts.hostname) and parts.netloc == text and not set(text) & set(" @?#")
        port = parts.port
    except ValueError:
        good, port = False, None
    if not good or port == 0:
        raise ValueError("takes host:port")


def addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    if not all(_is_address(value) for value in values):
        raise ValueError("takes IP addresses, separated by commas")
    return values


def families(values: tuple[str, ...]) -> tuple[str, ...]:
    if not {value.lower() for value in values} <= {*FAMILIES, "binanceus"}:
        raise ValueError(f"takes a comma list of {', '.join(FAMILIES)}")
    return values


def name_of_255(value: str) -> str:
    if len(value.encode()) > LONGEST_NAME:
        raise ValueError(f"takes a name of {LONGEST_NAME} bytes at the most")
    return value


def token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if text and (len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text):
        raise ValueError(f"takes at least {SHORTEST_TOKEN} letters, digits and signs without spaces")
    return value

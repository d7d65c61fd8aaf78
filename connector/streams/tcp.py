"""TCP connections to hosts of several addresses, as RFC 8305 says: a dead address costs a fraction of a second.

The addresses are tried in the resolver's order with the families taking turns; the next one starts when the one before has
failed, or after 250 ms without an answer. The first that connects is taken. Names are looked up anew for each connection, and
a name server that answers for one family only costs a fraction of a second, too. Any thread; blocks for at most `timeout_s`.
"""

from __future__ import annotations

import errno
import ipaddress
import selectors
import socket
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import chain, zip_longest
from typing import Final

from connector.core.clock import SystemClock

_CLOCK: Final = SystemClock()
"""Sockets keep real time: nobody hands them another."""
ATTEMPT_DELAY_S: Final = 0.25
"""RFC 8305, section 5: the recommended time between two attempts."""
NAME_PATIENCE_S: Final = 0.3
"""After this long without an answer for both families they are asked for one by one: some name servers drop a question."""
MAX_LOOK_UPS: Final = 32
"""At a time; each is a thread while it lasts, because the system's resolver can't be interrupted."""
_LOOK_UPS: Final = ThreadPoolExecutor(MAX_LOOK_UPS, thread_name_prefix="look-up")
_UNDER_WAY: Final = frozenset({0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR})

Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]


def connect(host: str, port: int, timeout_s: float, source_ip: str = "") -> socket.socket:
    """A connected socket that blocks for at most `timeout_s`. Raises OSError (TimeoutError) if no address answers.

    `source_ip`: our own address; only addresses of its family are tried then.
    """
    deadline = _CLOCK.mono() + timeout_s
    waiting = deque(in_turn(_resolved(host, port, source_ip, timeout_s)))
    failure: OSError = OSError(errno.EADDRNOTAVAIL, f"{host} has no address that can be reached from here")
    next_start = _CLOCK.mono()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                now = _CLOCK.mono()
                if now >= deadline:
                    raise TimeoutError(errno.ETIMEDOUT, f"no address of {host} has answered in {timeout_s:g} s")
                if waiting and (now >= next_start or not selector.get_map()):
                    try:
                        begun = _begun(waiting.popleft(), source_ip)
                        selector.register(begun, selectors.EVENT_WRITE, begun)
                    except OSError as error:
                        failure = error
                        continue
                    next_start = now + ATTEMPT_DELAY_S
                until = min(next_start, deadline) if waiting else deadline
                for key, _ in selector.select(max(0.0, until - _CLOCK.mono())):
                    sock: socket.socket = key.data
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        sock.settimeout(timeout_s)
                        return sock
                    sock.close()
                    failure = OSError(code, f"{errno.errorcode.get(code, code)} from an address of {host}")
                    next_start = _CLOCK.mono()
        finally:
            _close_others(selector)
    raise failure


def in_turn(addresses: Sequence[Address]) -> list[Address]:
    """The families take turns, beginning with the one that the resolver prefers."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


def _resolved(host: str, port: int, source_ip: str, timeout_s: float) -> list[Address]:
    """The addresses in the resolver's order. Raises OSError (TimeoutError) if there are none in time."""
    if _is_address(host):
        return _looked_up(host, port, socket.AF_UNSPEC)
    if source_ip:
        families = [socket.AF_INET6 if ":" in source_ip else socket.AF_INET]
        pending = {_LOOK_UPS.submit(_looked_up, host, port, families[0])}
    else:
        pending = {_LOOK_UPS.submit(_looked_up, host, port, socket.AF_UNSPEC)}
        if not wait(pending, min(NAME_PATIENCE_S, timeout_s)).done:
            pending |= {_LOOK_UPS.submit(_looked_up, host, port, one) for one in (socket.AF_INET, socket.AF_INET6)}
    give_up_at = _CLOCK.mono() + timeout_s
    failure = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    while pending:
        done, pending = wait(pending, max(0.0, give_up_at - _CLOCK.mono()), FIRST_COMPLETED)
        if not done:
            for one in pending:
                one.cancel()
            raise TimeoutError(errno.ETIMEDOUT, f"the name {host} was not resolved in {timeout_s:g} s")
        for one in done:
            try:
                found = one.result()
            except OSError as error:
                failure = error
            else:
                return found
    raise failure


def _looked_up(host: str, port: int, family: int) -> list[Address]:
    return [(info[0], info[4]) for info in socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _begun(address: Address, source_ip: str) -> socket.socket:
    """A socket on its way to an address."""
    family, where = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source_ip:
            sock.bind((source_ip, 0))
        code = sock.connect_ex(where)
        if code not in _UNDER_WAY:
            raise OSError(code, errno.errorcode.get(code, str(code)))
    except BaseException:
        sock.close()
        raise
    return sock


def _close_others(selector: selectors.BaseSelector) -> None:
    for key in list(selector.get_map().values()):
        selector.unregister(key.fileobj)
        key.data.close()

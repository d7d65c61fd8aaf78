"""Lists are read row by row: one odd row never costs the rows beside it."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from exchanges._rows import MAX_REASONS, Odd, read_rows, tolerant


class _Row(msgspec.Struct):
    name: str
    size: int = 0


decode = msgspec.json.Decoder(_Row).decode


def test_one_odd_row_among_good_ones_costs_only_itself() -> None:
    rows, odd = read_rows(b'[{"name":"a"},{"name":null},7,{"name":"b","size":2},null]', decode)
    assert rows == [_Row("a"), _Row("b", 2)]
    assert odd.number == 3
    assert odd.phrase("symbols").startswith("3 symbols that can't be read (")
    assert not read_rows(b'[{"name":"a"}]', decode)[1]


@pytest.mark.parametrize("nothing", [b"[]", b"null", b"", b" null "])
def test_no_list_is_an_empty_list(nothing: bytes) -> None:
    assert read_rows(msgspec.Raw(nothing), decode) == ([], Odd())


@pytest.mark.parametrize("other", [b"{}", b"7", b'"text"', b"[1,", b"[\xff]"])
def test_what_is_no_list_is_not_taken_for_an_empty_one(other: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        read_rows(other, decode)


def test_reasons_are_few_and_hold_no_values() -> None:
    body = b'[{"name":1,"size":1},{"name":"secret-9","size":"secret-8"},7,"secret-7",[],true,{}]'
    _, odd = read_rows(body, decode)
    assert odd.number == 7
    assert len(odd.reasons) == MAX_REASONS
    assert "secret" not in odd.phrase("rows")


class _Order(msgspec.Struct):
    name: str
    note: str = "none"
    parts: list[_Row] = []


def test_a_null_where_a_text_is_expected_is_an_absent_value() -> None:
    read = tolerant(_Order)
    assert read(b'{"name":"a","note":null,"parts":null}') == _Order("a")
    assert read(b'{"name":"a","parts":[{"name":"x","size":null}]}') == _Order("a", parts=[_Row("x")])
    assert read(b'{"name":"a","note":"b"}') == _Order("a", "b")


def test_an_empty_text_among_figures_is_an_absent_value_where_figures_are_read() -> None:
    class Tick(msgspec.Struct):
        name: str
        last: float
        volume: float = 0.0

    read = tolerant(Tick, strict=False, blank=True)
    assert read(b'{"name":"a","last":"1.5","volume":""}') == Tick("a", 1.5)
    with pytest.raises(msgspec.DecodeError):
        read(b'{"name":"a","last":""}')
    with pytest.raises(msgspec.DecodeError):
        tolerant(Tick, strict=False)(b'{"name":"a","last":"1.5","volume":""}')


@pytest.mark.parametrize("odd", [b'{"name":null}', b'{"name":"a","note":7}', b"[]", b"null", b"{"])
def test_what_has_to_be_there_is_not_made_up(odd: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        tolerant(_Order)(odd)


def test_figures_keep_their_text_beside_a_null() -> None:
    class Figures(msgspec.Struct):
        price: Decimal
        word: str = ""
        rest: msgspec.Raw = msgspec.Raw(b"[]")

    read = tolerant(Figures)(b'{"price":0.12345678901234567890123,"word":null,"rest":[{"a":null,"b":"null"}]}')
    assert str(read.price) == "0.12345678901234567890123"
    assert bytes(read.rest) == b'[{"b":"null"}]'

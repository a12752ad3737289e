"""Hosts with several addresses, some of them dead."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest

from mlkit.registry.dial import Address, connect

NOBODY = ("127.0.0.1", 1)


def _address(where: tuple[str, int], family: int = socket.AF_INET) -> Address:
    return (family, socket.SOCK_STREAM, 0, "", where)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """An address on loopback that answers to no SYN: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as held:
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()


def test_fault48_a_dead_address_does_not_keep_the_others_waiting(listener: socket.socket) -> None:
    with black_hole() as hole:
        found = [_address(hole), _address(hole), _address(listener.getsockname())]

        # The limit is what a hole would cost each; nothing here comes near it.
        with connect("registry.example", 443, 60.0, resolve=lambda *_, **__: found) as sock:
            assert sock.getpeername() == listener.getsockname()
            assert sock.getblocking()


def test_only_dead_addresses_are_a_timeout_for_all_of_them_together() -> None:
    with black_hole() as hole, pytest.raises(httpx.ConnectTimeout, match=r"registry\.example:443 did not answer"):
        connect("registry.example", 443, 0.7, resolve=lambda *_, **__: [_address(hole)] * 5)


def test_a_refusal_leads_to_the_next_address_at_once(listener: socket.socket) -> None:
    found = [_address(NOBODY), _address(listener.getsockname())]

    with connect("registry.example", 443, 10.0, resolve=lambda *_, **__: found) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_a_family_that_this_machine_does_not_speak_is_passed_by(listener: socket.socket) -> None:
    found = [_address(("2001:db8::1", 443), socket.AF_INET6), _address(listener.getsockname())]

    with connect("registry.example", 443, 10.0, resolve=lambda *_, **__: found) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_addresses_of_both_families_take_turns(listener: socket.socket) -> None:
    six, four = _address(("::1", 1), socket.AF_INET6), _address(listener.getsockname())

    # Of thirty-one only sixteen are tried, and ours is the second.
    with connect("registry.example", 443, 10.0, resolve=lambda *_, **__: [*[six] * 30, four]) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_a_refusal_by_all_says_so() -> None:
    with pytest.raises(httpx.ConnectError, match=r"the proxy registry\.example:443: connection refused") as refused:
        connect("registry.example", 443, 10.0, hop="the proxy ", resolve=lambda *_, **__: [_address(NOBODY)] * 2)

    assert isinstance(refused.value.__cause__, ConnectionRefusedError)


def test_a_name_without_addresses_is_an_error() -> None:
    with pytest.raises(httpx.ConnectError, match=r"registry\.example:443"):
        connect("registry.example", 443, 10.0, resolve=lambda *_, **__: [])


def test_an_address_that_cannot_even_be_asked_for_is_passed_by(listener: socket.socket) -> None:
    # Nobody connects to everybody, and no machine has that family.
    found = [_address(("255.255.255.255", 1)), _address(("x", 1), 9999), _address(listener.getsockname())]

    with connect("registry.example", 443, 10.0, resolve=lambda *_, **__: found) as sock:
        assert sock.getpeername() == listener.getsockname()


def test_the_last_address_has_all_of_the_time_that_is_left() -> None:
    with black_hole() as hole, pytest.raises(httpx.ConnectTimeout):
        connect("registry.example", 443, 0.4, resolve=lambda *_, **__: [_address(NOBODY), _address(hole)])


def test_of_addresses_that_cannot_be_asked_for_the_last_reason_is_told() -> None:
    with pytest.raises(httpx.ConnectError) as refused:
        connect("registry.example", 443, 10.0, resolve=lambda *_, **__: [_address(("255.255.255.255", 1))])

    assert isinstance(refused.value.__cause__, OSError)

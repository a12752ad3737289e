"""Networks that hang, drip and refuse: given up in time, tried again within reason, and named hop by hop."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.content.contract import blob, push_blob, read
from tests.registry.conftest import ADA, Connect
from tests.support.certificates import Authority
from tests.support.fault_proxy import Fault, fault_proxy
from tests.support.raw_server import raw_server
from tests.support.registry import SimulatedRegistry, simulated_registry

from mlkit.content.storage import BytesContent
from mlkit.errors import NetworkError
from mlkit.registry.connection import Timeouts
from mlkit.registry.store import RegistryStore

MIB = 1024 * 1024
IMPATIENT = Timeouts(connect=5, answer=1.0, commit=1.0, stall=0.4)


@contextmanager
def _closing() -> Iterator[str]:
    """`host:port` of a server that takes connections, reads a little and ends them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(100)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_fault41_a_download_that_stalls_goes_on_over_another_connection(
    server: SimulatedRegistry, store: RegistryStore, connect: Connect, waits: list[float]
) -> None:
    content = os.urandom(4 * MIB)
    push_blob(store, content)
    with fault_proxy(server.host) as proxy:
        proxy.downloads.faults = [Fault("stall", at=1 * MIB, times=1), Fault("stall", at=2 * MIB, times=1)]

        assert read(connect(proxy.host, timeouts=IMPATIENT).repository("team/digits"), blob(content)) == content

        assert [one.received for one in proxy.seen("GET .*")[:2]] == [1 * MIB, 2 * MIB]
        assert len(proxy.seen("GET .*")) == 3
    assert len(waits) == 2


def test_a_server_that_drips_is_given_up_after_five_tries(
    server: SimulatedRegistry, store: RegistryStore, connect: Connect, waits: list[float]
) -> None:
    content = os.urandom(MIB)
    push_blob(store, content)
    with fault_proxy(server.host) as proxy:
        proxy.downloads.rate, proxy.downloads.slice = 100, 10

        with pytest.raises(NetworkError, match=rf"{proxy.host}: (only [0-9]+ bytes in|no data for)"):
            read(connect(proxy.host, timeouts=IMPATIENT).repository("team/digits"), blob(content))
    assert len(waits) == 4


def test_a_registry_that_stops_reading_is_given_up(
    server: SimulatedRegistry, connect: Connect, waits: list[float]
) -> None:
    content = bytes(32 * MIB)
    with fault_proxy(server.host) as proxy:
        proxy.uploads.faults = [Fault("stall", at=MIB)]
        store = connect(proxy.host, timeouts=IMPATIENT).repository("a")

        with pytest.raises(NetworkError, match=f"the upload to {proxy.host} failed"):
            store.push(blob(content), BytesContent(content))
    assert 0 < len(waits) <= 8


def test_nobody_waits_longer_than_a_minute_for_a_sign_of_life() -> None:
    assert (Timeouts().connect, Timeouts().answer, Timeouts().stall) <= (10, 60, 30)


def test_a_registry_that_takes_connections_and_says_nothing_is_given_up(connect: Connect, waits: list[float]) -> None:
    with raw_server([30.0]) as silent, pytest.raises(NetworkError, match=f"{silent.host}: no answer in time"):
        connect(silent.host, timeouts=Timeouts(answer=0.2)).check()

    assert len(waits) == 4


@pytest.mark.parametrize("hop", ["name", "refused", "handshake", "proxy", "proxy name", "token server", "storage"])
def test_fault42_a_network_that_fails_is_tried_five_times_at_most_and_the_hop_is_named(
    hop: str, server: SimulatedRegistry, connect: Connect, waits: list[float]
) -> None:
    push_blob(connect(server.host).repository("a"), b"content" * 1000)
    with _closing() as cut, raw_server([b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"]) as gateway:
        host, more, words = {
            "name": ("registry.invalid", {}, "registry.invalid: no such host"),
            "refused": ("127.0.0.1:1", {}, "127.0.0.1:1: refuses connections"),
            "handshake": (cut, {"plain_http": False}, f"{cut}: TLS: "),
            "proxy": (
                "registry.example",
                {"plain_http": False, "proxy": f"http://u:s3cret@{gateway.host}"},
                f"the proxy {gateway.host} answered 502",
            ),
            "proxy name": (
                "registry.example",
                {"http_proxy": "http://u:s3cret@proxy.invalid:3128"},
                "the proxy proxy.invalid:3128",
            ),
            "token server": (server.host, {}, "the token server of .* refuses|127.0.0.1:1: refuses connections"),
            "storage": (server.host, {}, "127.0.0.1:1: refuses connections"),
        }[hop]
        if hop == "token server":
            server.auth, server.realm = "bearer", "http://127.0.0.1:1/token"
        if hop == "storage":
            server.redirect_blobs_to = "http://127.0.0.1:1"
        store = connect(host, ADA, **more).repository("a")  # type: ignore[arg-type]  # a table of fields

        with pytest.raises(NetworkError) as failed, store.open(blob(b"content" * 1000)) as stream:
            stream.read()

    assert re.search(words, failed.value.message), failed.value.message
    assert "s3cret" not in failed.value.message
    assert len(waits) <= 4


def test_a_registry_that_speaks_only_old_tls_is_refused(connect: Connect, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("old", hosts=("127.0.0.1",)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    with simulated_registry(tls=context) as old:
        with pytest.raises(NetworkError, match="TLS"):
            connect(old.host, plain_http=False, ca_files=(authority.path,)).check()
        assert old.requests == []

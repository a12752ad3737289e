"""Credentials in the files and helpers of Docker and Podman."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.registry.conftest import ADA

from mlkit.errors import AuthError, NotFoundError, StoreError
from mlkit.registry.credential_helpers import HelperNotFoundError, run_helper
from mlkit.registry.credentials import Credential, CredentialFiles, is_same_host


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


class FakeHelpers:
    """Secrets by helper and server."""

    def __init__(self, **secrets: dict[str, tuple[str, str]]) -> None:
        self.secrets = secrets
        self.calls: list[tuple[str, str, str]] = []

    def __call__(self, name: str, action: str, given: bytes) -> bytes:
        text = given.decode()
        self.calls.append((name, action, text))
        if action == "store":
            entry = json.loads(text)
            self.secrets.setdefault(name, {})[entry["ServerURL"]] = (entry["Username"], entry["Secret"])
            return b""
        if text not in self.secrets.get(name, {}):
            raise HelperNotFoundError("credentials not found")
        if action == "erase":
            del self.secrets[name][text]
            return b""
        user, secret = self.secrets[name][text]
        return json.dumps({"ServerURL": text, "Username": user, "Secret": secret}).encode()


def test_a_credential_is_never_shown() -> None:
    assert "lovelace" not in repr(ADA)
    assert "lovelace" not in f"{ADA}"


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        (auth("ada:love:lace"), Credential("ada", "love:lace")),
        (auth("ada:"), Credential("ada", "")),
        ({"username": "ada", "password": "lovelace"}, ADA),
        ({**auth("00000000-0000-0000-0000-000000000000:"), "identitytoken": "i"}, Credential(identity_token="i")),
        ({"identitytoken": "i"}, Credential(identity_token="i")),
        ({"registrytoken": "r"}, Credential(registry_token="r")),
        ({}, None),
        ({"auth": ""}, None),
        ({"email": "ada@example.com"}, None),
    ],
    ids=["auth", "no-password", "plain", "docker-token", "identity", "registry", "empty", "blank", "email"],
)
def test_every_kind_of_entry_is_read(entry: dict[str, str], credential: Credential | None, tmp_path: Path) -> None:
    files = CredentialFiles([write(tmp_path / "config.json", {"auths": {"registry.example": entry}})])

    assert files.lookup("registry.example/team/digits") == credential


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("registry.example", "registry.example"),
        ("registry.example", "registry.example/team"),
        ("https://registry.example", "registry.example/team"),
        ("https://registry.example/v1/", "registry.example"),
        ("http://registry.example:5000/v2/", "registry.example:5000"),
        ("REGISTRY.example", "registry.example"),
        ("https://index.docker.io/v1/", "docker.io/library/alpine"),
        ("docker.io", "registry-1.docker.io"),
        ("registry.example/team", "registry.example/team/digits"),
        ("registry.example/team/digits", "registry.example/team/digits"),
    ],
)
def test_a_host_is_known_under_many_names(name: str, key: str, tmp_path: Path) -> None:
    files = CredentialFiles([write(tmp_path / "config.json", {"auths": {name: auth("ada:lovelace")}})])

    assert files.lookup(key) == ADA


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("registry.example", "registry.example.evil"),
        ("registry.example", "evil.registry.example"),
        ("registry.example", "registry.example:5000"),
        ("registry.example:5000", "registry.example"),
        ("registry.example/team", "registry.example/team2/digits"),
        ("registry.example/team", "registry.example"),
        ("registry.example/", "registry/example"),
    ],
)
def test_credentials_are_for_no_other_host(name: str, key: str, tmp_path: Path) -> None:
    files = CredentialFiles([write(tmp_path / "config.json", {"auths": {name: auth("ada:lovelace")}})])

    assert files.lookup(key) is None


def test_g12_the_first_file_and_the_longest_prefix_win(tmp_path: Path) -> None:
    first = write(
        tmp_path / "auth.json",
        {
            "auths": {
                "registry.example": auth("host:x"),
                "registry.example/team": auth("team:x"),
                "registry.example/team/digits": auth("digits:x"),
            }
        },
    )
    second = write(
        tmp_path / "config.json", {"auths": {"registry.example": auth("second:x"), "other.example": auth("other:x")}}
    )
    files = CredentialFiles([tmp_path / "absent.json", first, second])

    def user(key: str) -> str | None:
        found = files.lookup(key)
        return found.username if found else None

    assert user("registry.example/team/digits") == "digits"
    assert user("registry.example/team/digits/deep") == "digits"
    assert user("registry.example/team/letters") == "team"
    assert user("registry.example/others") == "host"
    assert user("other.example/x") == "other"
    assert user("nowhere.example") is None


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"auths":[]}',
        b'{"auths":{},"auths":{}}',
        b"x" * (1024 * 1024 + 1),
        b'{"auths":{"registry.example":{"auth":"not base64!"}}}',
        b'{"auths":{"registry.example":{"auth":"bm8gY29sb24="}}}',
        b'{"auths":{"registry.example":{"auth":"/////w=="}}}',
        b'{"auths":{"registry.example":{"auth":7}}}',
        b'{"credHelpers":7}',
        b'{"credsStore":7}',
    ],
    ids=["cut", "list", "bom", "auths", "twice", "large", "base64", "colon", "utf-8", "number", "helpers", "store"],
)
def test_a_file_that_is_malformed_is_named_and_stays_as_it_is(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(raw)
    files = CredentialFiles([path])

    with pytest.raises(AuthError, match=r"config\.json"):
        files.lookup("registry.example")
    assert path.read_bytes() == raw


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\n")

    assert CredentialFiles([path]).lookup("registry.example") is None


def test_a_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match="cannot be read"):
        CredentialFiles([tmp_path]).lookup("registry.example")


def test_login_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config.json",
        {
            "HttpHeaders": {"X": "y"},
            "auths": {"other.example": auth("x:y"), "https://registry.example/v1/": auth("old:old")},
            "psFormat": "é",
        },
    )
    files = CredentialFiles([path])

    files.store("registry.example", ADA)

    config = json.loads(path.read_text())
    assert config["HttpHeaders"] == {"X": "y"}
    assert config["psFormat"] == "é"
    assert config["auths"] == {"other.example": auth("x:y"), "registry.example": auth("ada:lovelace")}
    assert files.lookup("registry.example") == ADA


def test_login_writes_a_private_file_and_leaves_only_an_empty_lock_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "config.json"

    CredentialFiles([tmp_path / "first.json", path]).store("registry.example", ADA)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == [".config.json.lock", "config.json"]
    assert (path.parent / ".config.json.lock").read_bytes() == b""
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not (tmp_path / "first.json").exists()


def test_login_goes_through_a_link(tmp_path: Path) -> None:
    target = write(tmp_path / "real.json", {})
    link = tmp_path / "config.json"
    link.symlink_to(target)

    CredentialFiles([link]).store("registry.example", ADA)

    assert link.is_symlink()
    assert "registry.example" in target.read_text()


def test_a_login_that_cannot_be_written_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "config.json", {"auths": {}})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        CredentialFiles([path]).store("registry.example", ADA)

    assert json.loads(path.read_text()) == {"auths": {}}
    assert sorted(os.listdir(tmp_path)) == [".config.json.lock", "config.json"]


def test_a_place_where_there_can_be_no_lock_is_told_by_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / ".config.json.lock").mkdir()
    with pytest.raises(StoreError, match=r"/config\.json: credentials cannot be written: "):
        CredentialFiles([tmp_path / "config.json"]).store("registry.example", ADA)


def test_of_many_logins_and_logouts_at_once_none_is_lost(tmp_path: Path) -> None:
    kept = {f"old{number}.example": auth("x:y") for number in range(8)}
    path = write(tmp_path / "config.json", {"auths": kept, "unknown": {"kept": 1}})
    link = tmp_path / "link.json"
    link.symlink_to(path)
    change = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mlkit.registry.credentials import Credential, CredentialFiles\n"
        "number, path = int(sys.argv[1]), Path(sys.argv[2])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "files = CredentialFiles([path])\n"
        "files.store(f'new{number}.example', Credential('ada', 'lovelace'))\n"
        "if number < 8:\n"
        "    files.erase(f'old{number}.example')\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", change, str(number), str(link if number % 2 else path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(16)
    ]
    for one in running:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    for one in running:
        one.communicate(timeout=60)

    assert [one.returncode for one in running] == [0] * 16
    found = json.loads(path.read_text())
    assert set(found["auths"]) == {f"new{number}.example" for number in range(16)}
    assert found["unknown"] == {"kept": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "credential", [ADA, Credential(identity_token="i"), Credential(registry_token="r")], ids=["user", "id", "registry"]
)
def test_every_kind_of_credential_is_stored(credential: Credential, tmp_path: Path) -> None:
    files = CredentialFiles([tmp_path / "config.json"])

    files.store("docker.io", credential)

    assert files.lookup("docker.io/library/alpine") == credential
    assert list(json.loads((tmp_path / "config.json").read_text())["auths"]) == ["https://index.docker.io/v1/"]


def test_without_a_file_there_is_no_place_for_credentials() -> None:
    assert CredentialFiles([]).lookup("registry.example") is None
    with pytest.raises(AuthError, match="no file"):
        CredentialFiles([]).store("registry.example", ADA)


def test_logout_erases_from_every_file(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "auth.json", {"auths": {"registry.example": auth("a:b"), "other.example": auth("c:d")}}),
        write(tmp_path / "config.json", {"auths": {"https://registry.example": auth("a:b")}}),
    ]
    files = CredentialFiles(paths)

    files.erase("registry.example")

    assert files.lookup("registry.example") is None
    assert files.lookup("other.example") is not None
    with pytest.raises(NotFoundError, match=r"registry\.example"):
        files.erase("registry.example")


def test_a_helper_keeps_the_secrets_of_its_hosts(tmp_path: Path) -> None:
    helpers = FakeHelpers(vault={"registry.example": ("ada", "lovelace")}, all={"token.example": ("<token>", "i")})
    path = write(
        tmp_path / "config.json",
        {"credsStore": "all", "credHelpers": {"registry.example": "vault"}, "auths": {"file.example": auth("f:x")}},
    )
    files = CredentialFiles([path], helpers)

    assert files.lookup("registry.example/team") == ADA
    assert files.lookup("token.example") == Credential(identity_token="i")
    assert files.lookup("file.example") == Credential("f", "x")
    assert files.lookup("nowhere.example") is None
    files.store("registry.example", Credential(identity_token="new"))
    files.store("docker.io", ADA)
    assert helpers.secrets["vault"]["registry.example"] == ("<token>", "new")
    assert helpers.secrets["all"]["https://index.docker.io/v1/"] == ("ada", "lovelace")
    files.erase("registry.example")
    assert helpers.secrets["vault"] == {}
    with pytest.raises(NotFoundError):
        files.erase("registry.example")
    assert "lovelace" not in path.read_text()


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `docker-credential-fake` is looked for; the test writes it."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "docker-credential-fake"


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_helper_is_run_with_the_server_on_its_input(helper: Path) -> None:
    script(helper, 'read server; printf \'{"ServerURL":"%s","Username":"%s","Secret":"s"}\' "$server" "$1"')
    config = write(helper.parent / "config.json", {"credsStore": "fake"})

    assert CredentialFiles([config]).lookup("registry.example/x") == Credential("get", "s")


@pytest.mark.parametrize("name", ["../../x", "a/b", "a b", "a;b", "$(x)", "", "..", ".", "a\n", "é"])
def test_g11_a_helper_whose_name_is_a_path_or_a_command_is_never_run(name: str) -> None:
    with pytest.raises(AuthError, match="is not the name"):
        run_helper(name, "get", b"registry.example")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", HelperNotFoundError),
        ("echo 'vault is sealed'; exit 2", AuthError),
        ("head -c 2000000 /dev/zero", AuthError),
        ("kill -9 $$", AuthError),
    ],
    ids=["not-found", "fails", "talks", "dies"],
)
def test_a_helper_that_fails_is_named(text: str, error: type[AuthError], helper: Path) -> None:
    script(helper, text)

    with pytest.raises(error, match="docker-credential-fake"):
        run_helper("fake", "get", b"registry.example")


def test_a_helper_that_hangs_is_given_up(helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlkit.registry.credential_helpers._SECONDS", 0.2)
    script(helper, "exec sleep 20")

    with pytest.raises(AuthError, match="no answer"):
        run_helper("fake", "get", b"registry.example")


def test_a_helper_that_is_not_there_or_no_program_is_named(helper: Path) -> None:
    with pytest.raises(AuthError, match="no such program"):
        run_helper("absent", "get", b"")
    helper.write_bytes(b"\x00\x01not a program")
    helper.chmod(0o755)
    with pytest.raises(AuthError, match="cannot be run"):
        run_helper("fake", "get", b"")


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"Username":"a"}', b'{"Username":7,"Secret":"x"}', b"not json",
     b'{"ServerURL":"evil.example","Username":"a","Secret":"x"}'],
    ids=["empty", "list", "none", "no-secret", "number", "text", "other-server"],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(answer: bytes, tmp_path: Path) -> None:
    config = write(tmp_path / "config.json", {"credsStore": "fake"})

    with pytest.raises(AuthError, match="docker-credential-fake"):
        CredentialFiles([config], lambda *_: answer).lookup("registry.example")


def test_a_helper_that_knows_no_secret_has_none_and_the_next_place_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"credsStore": "all", "auths": {"registry.example": auth("f:x")}})
    files = CredentialFiles([path], lambda *_: b'{"ServerURL": "", "Username": "ada", "Secret": ""}')

    assert files.lookup("registry.example/team") == Credential("f", "x")


def test_an_answer_for_another_server_is_not_sent_to_this_one(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"credsStore": "all"})
    answer = b'{"ServerURL": "evil.example", "Username": "ada", "Secret": "s3cret"}'
    files = CredentialFiles([path], lambda *_: answer)

    with pytest.raises(AuthError, match=r"answered for 'evil\.example'") as refused:
        files.lookup("registry.example/team")
    assert "s3cret" not in refused.value.message


def test_what_dead_runs_left_with_passwords_in_it_is_deleted_and_what_the_living_write_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {"auths": {}})
    dead, alive = tmp_path / ".config.json.12-0123abcd", tmp_path / ".config.json.34-0123abcd"
    others = tmp_path / ".config.json.bak"
    for left in (dead, alive, others):
        left.write_text("password")

    with alive.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        CredentialFiles([path]).store("registry.example", ADA)

    assert not dead.exists()
    assert alive.exists()
    assert others.exists()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("docker.io", "index.docker.io", True),
        ("docker.io", "registry-1.docker.io", True),
        ("Registry.example", "registry.example", True),
        ("registry.example", "registry.example:5000", False),
        ("docker.io", "docker.io.evil.example", False),
    ],
)
def test_the_names_of_docker_hub_are_of_one_registry(one: str, other: str, same: bool) -> None:
    assert is_same_host(one, other) is same

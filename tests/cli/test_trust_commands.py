"""keygen, sign, attest and verify, as people and scripts run them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.support.cli import CommandLine


@pytest.fixture
def keyed(packed: CommandLine) -> CommandLine:
    """A command line with two pairs of keys: `my` and `other`."""
    for name in ("my", "other"):
        packed.ok("keygen", "-o", name, "--no-password")
    return packed


def test_a_pair_of_keys_is_written_for_its_owner_and_never_over_another(mlkit: CommandLine) -> None:
    made = mlkit.ok("keygen", "-o", "release", "--json", env={"MLKIT_KEY_PASSWORD": "secret"}).json
    before = (mlkit.cwd / "release.key").read_bytes()

    again = mlkit("keygen", "-o", "release", env={"MLKIT_KEY_PASSWORD": "secret"})

    assert made == {
        "private_key": "release.key",
        "public_key": "release.pub",
        "type": "ecdsa-p256",
        "key_id": made["key_id"],
        "is_encrypted": True,
    }
    assert (mlkit.cwd / "release.key").stat().st_mode & 0o777 == 0o600
    assert before.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert again.code == 9
    assert (mlkit.cwd / "release.key").read_bytes() == before
    assert sorted(os.listdir(mlkit.cwd))[-4:] == ["model", "release.key", "release.pub", "src"]


def test_half_a_pair_that_is_there_stops_the_other_half(mlkit: CommandLine) -> None:
    (mlkit.cwd / "a.pub").write_text("somebody's")
    (mlkit.cwd / "b.key").symlink_to("nowhere")

    for stem in ("a", "b"):
        assert mlkit("keygen", "-o", stem, "--no-password").code == 9
    assert not (mlkit.cwd / "a.key").exists()
    assert not (mlkit.cwd / "b.pub").exists()


def test_a_key_wants_a_password_that_is_none_only_on_purpose(mlkit: CommandLine) -> None:
    assert mlkit("keygen", "-o", "a").code == 2
    assert mlkit("keygen", "-o", "a", env={"MLKIT_KEY_PASSWORD": ""}).code == 2
    (mlkit.cwd / "password").write_text("from a file\n")
    mlkit.ok("keygen", "-o", "a", "--type", "ed25519", env={"MLKIT_KEY_PASSWORD_FILE": "password"})
    mlkit.ok("pack", ".", "-t", "digits:1.2")

    assert mlkit("sign", "digits:1.2", "--key", "a.key").code == 6
    assert mlkit("sign", "digits:1.2", "--key", "a.key", env={"MLKIT_KEY_PASSWORD": "another"}).code == 6
    mlkit.ok("sign", "digits:1.2", "--key", "a.key", env={"MLKIT_KEY_PASSWORD": "from a file"})
    mlkit.ok("verify", "digits:1.2", "--key", "a.pub")


def test_verified_is_said_of_a_kit_that_the_key_signed_and_of_nothing_else(keyed: CommandLine) -> None:
    unsigned = keyed("verify", "digits:1.2", "--key", "my.pub")
    keyed.ok("sign", "digits:1.2", "--key", "my.key")
    verified = keyed.ok("verify", "digits:1.2", "--key", "my.pub")
    other = keyed("verify", "digits:1.2", "--key", "other.pub")
    either = keyed.ok("verify", "digits:1.2", "--key", "other.pub", "--key", "my.pub")
    typed = keyed("verify", "digits:1.2", "--key", "my.pub", "--type", "slsaprovenance1")

    assert [unsigned.code, other.code, typed.code] == [8, 8, 8]
    assert "verified digits:1.2: sha256:" in verified.stderr
    assert "my.pub" in verified.stdout
    assert "my.pub" in either.stdout
    for refused in (unsigned, other, typed):
        assert "\nverified" not in f"\n{refused.stdout}{refused.stderr}"
        assert refused.stdout == ""
    assert "1 by other keys" in other.stderr
    assert "of another type by these keys" in typed.stderr


def test_the_report_says_what_was_matched_and_what_was_not(keyed: CommandLine) -> None:
    keyed.ok("sign", "digits:1.2", "--key", "my.key")
    keyed.ok("sign", "digits:1.2", "--key", "other.key", "--legacy-sig")
    (keyed.cwd / "p.json").write_text('{"reviewer": "alice"}')
    attested = keyed.ok(
        "attest", "digits:1.2", "--type", "urn:review", "--predicate", "p.json", "--key", "my.key", "--json"
    )

    report = keyed.ok("verify", "digits:1.2", "--key", "my.pub", "--type", "urn:review", "--json").json
    refused = keyed("verify", "digits:1.2", "--key", "other.pub", "--type", "urn:review", "--json")

    assert report["verified"] is True
    assert report["keys"][0]["name"] == "my.pub"
    (matched,) = report["matched"]
    assert matched["digest"] == attested.json["attached"]
    assert matched["predicate"] == {"reviewer": "alice"}
    assert matched["signed_by"] == ["my.pub"]
    assert sorted(one["form"] for one in report["others"]) == ["bundle", "bundle", "simple-signing"]
    assert refused.code == 8
    assert refused.json["verified"] is False
    assert refused.json["matched"] == []
    assert refused.error["code"] == "E_POLICY"


def test_signatures_of_the_older_form_are_added_to_those_that_are_there(keyed: CommandLine) -> None:
    for key in ("my.key", "other.key"):
        keyed.ok("sign", "digits:1.2", "--key", key, "--legacy-sig")

    for pub in ("my.pub", "other.pub"):
        report = keyed.ok("verify", "digits:1.2", "--key", pub, "--json").json
        assert [one["form"] for one in report["matched"]].count("simple-signing") == 1
    assert [kit["reference"] for kit in keyed.ok("list", "--json").json] == ["digits:1.2"]
    assert "(tags: 1.2)" in keyed("verify", "digits:9", "--key", "my.pub").stderr


def test_an_ed25519_key_has_no_signature_of_the_older_form(keyed: CommandLine) -> None:
    keyed.ok("keygen", "-o", "ed", "--type", "ed25519", "--no-password")

    assert keyed("sign", "digits:1.2", "--key", "ed.key", "--legacy-sig").code == 2
    assert keyed.ok("inspect", "digits:1.2", "--json").json["referrers"] == []


def test_what_cannot_be_said_is_refused_before_anything_is_written(keyed: CommandLine, tmp_path: Path) -> None:
    (keyed.cwd / "list.json").write_text("[]")
    (keyed.cwd / "twice.json").write_text('{"a": 1, "a": 2}')
    (keyed.cwd / "large.json").write_bytes(b'{"a": "' + b"a" * (2 << 20) + b'"}')
    (keyed.cwd / "ok.json").write_text("{}")
    cases = {
        ("urn:x", "list.json"): 2,
        ("urn:x", "twice.json"): 2,
        ("urn:x", "large.json"): 11,
        ("urn:x", "absent.json"): 3,
        ("urn:x", "."): 2,
        ("no type", "ok.json"): 2,
    }

    for (kind, file), code in cases.items():
        done = keyed("attest", "digits:1.2", "--type", kind, "--predicate", file, "--key", "my.key")
        assert (file, done.code) == (file, code)
    assert keyed("sign", "digits:1.2").code == 2
    assert keyed("verify", "digits:1.2").code == 2
    assert keyed("verify", "digits:1.2", "--key", "my.key").code == 2
    assert keyed("sign", "digits:9", "--key", "my.key").code == 3
    assert keyed("sign", "digits:1.2", "--key", "absent.key").code == 3
    assert keyed.ok("inspect", "digits:1.2", "--json").json["referrers"] == []


def test_a_predicate_comes_through_a_pipe_too(keyed: CommandLine) -> None:
    keyed.ok(
        "attest", "digits:1.2", "--type", "cyclonedx", "--predicate", "-", "--key", "my.key", input='{"bomFormat": "x"}'
    )

    report = keyed.ok("verify", "digits:1.2", "--type", "cyclonedx", "--key", "my.pub", "--json").json
    assert report["matched"][0]["predicate"] == {"bomFormat": "x"}


def test_keys_come_from_the_settings_too_but_not_from_a_project(keyed: CommandLine) -> None:
    env = {"MLKIT_SIGNING_KEY": "my.key", "MLKIT_TRUSTED_KEYS": "other.pub,my.pub"}
    keyed.ok("sign", "digits:1.2", env=env)

    assert keyed.ok("verify", "digits:1.2", "--json", env=env).json["matched"][0]["signed_by"] == ["my.pub"]
    (keyed.cwd / ".mlkit.toml").write_text('trusted_keys = ["my.pub"]')
    refused = keyed("verify", "digits:1.2")
    assert refused.code == 2
    assert "trusted_keys is no setting of a project" in refused.stderr


def test_no_password_is_shown_anywhere(keyed: CommandLine) -> None:
    env = {"MLKIT_KEY_PASSWORD": "hunter2-hunter2"}

    for arguments in (("config", "show"), ("config", "show", "--json"), ("keygen", "-o", "new", "-vv", "--json")):
        done = keyed.ok(*arguments, env=env)
        assert "hunter2" not in done.stdout + done.stderr
    assert json.loads(keyed.ok("config", "show", "--json", env=env).stdout)[-1]["value"] == "***"


def test_pack_and_push_sign_in_the_same_run(keyed: CommandLine) -> None:
    packed = keyed.ok("pack", ".", "-t", "digits:2", "--annotation", "a=b", "--sign", "my.key")
    unsigned = keyed.ok("pack", ".", "-t", "digits:3", "--annotation", "a=c", env={"MLKIT_SIGNING_KEY": "my.key"})

    assert packed.stderr.strip().endswith("; signed; provenance attached")
    assert "signed" not in unsigned.stderr
    assert keyed("verify", "digits:3", "--key", "my.pub").code == 8
    keyed.ok("verify", "digits:2", "--key", "my.pub")
    keyed.ok("verify", "digits:2", "--key", "my.pub", "--type", "slsaprovenance1")
    assert keyed("pack", ".", "-t", "digits:4", "--sign", "absent.key").code == 3
    assert "digits:4" not in keyed.ok("list").stdout


def test_what_is_attached_is_shown_and_never_called_verified(keyed: CommandLine) -> None:
    keyed.ok("sign", "digits:1.2", "--key", "my.key", "--legacy-sig")

    text = keyed.ok("inspect", "digits:1.2").stdout
    shown = keyed.ok("inspect", "digits:1.2", "--json").json["attached"]

    assert "ATTACHED" in text
    assert "verified" not in text
    assert sorted(one["form"] for one in shown) == ["bundle", "simple-signing"]
    assert shown[0]["predicate_type"] == "https://sigstore.dev/cosign/sign/v1"
    assert max(map(len, text.partition("ATTACHED")[2].splitlines())) <= 80

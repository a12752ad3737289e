"""Signatures that are none: whatever is attached, "verified" is said only where a given key signed that very digest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from tests.support.cli import write_project
from tests.support.registry import simulated_registry
from tests.support.registry_http import Answer
from tests.support.scale import SCALE
from tests.trust.forgery import (
    ALICE,
    KEYS,
    MALLORY,
    Victim,
    bundle_of,
    envelope_changed,
    said,
    signed,
    statement_of,
    victim,
)

import mlkit
from mlkit.api.evidence import attach_statement
from mlkit.api.session import Session
from mlkit.api.simple_signatures import attach_simple
from mlkit.content.memory import MemoryStore
from mlkit.content.storage import BytesContent
from mlkit.errors import MlkitError, PolicyError, UsageError
from mlkit.spec.bundle import render_bundle
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import pae
from mlkit.spec.manifest import Manifest, parse_manifest, render_manifest
from mlkit.spec.media_types import IN_TOTO, OCI_EMPTY, SIGSTORE_BUNDLE, SIMPLE_SIGNATURE
from mlkit.spec.simple_signing import signature_tag
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE
from mlkit.trust.attached import is_bundle, read_bundle
from mlkit.trust.keys import generate, load_public_key
from mlkit.trust.signer import sign_statement

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with mlkit.session(home=tmp_path_factory.mktemp("home")) as opened:
        yield opened


@pytest.fixture
def kit(store: Session) -> Victim:
    return victim(store)


def refused(kit: Victim) -> None:
    """Nothing was matched, and whoever asks is told so with exit 8."""
    found = kit.verify()
    assert found.matched == ()
    assert not found.is_verified
    with pytest.raises(PolicyError):
        found.require()


def test_a_sound_bundle_is_verified_or_this_page_proves_nothing(kit: Victim) -> None:
    kit.attach(bundle_of(kit.digest))
    kit.attach(signed(said(kit.digest)))

    assert [one.signed_by for one in kit.verify().matched] == [("alice",), ("alice",)]


def test_h01_an_unsigned_kit_is_refused_near_and_far(kit: Victim, session: Session, tmp_path: Path, host: str) -> None:
    refused(kit)
    reference = f"{host}/team/digits:1"
    mlkit.pack(write_project(tmp_path / "project"), tag=reference, push=True, session=session)
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)

    with pytest.raises(PolicyError, match="no signature on sha256:"):
        mlkit.verify(reference, keys=tmp_path / "alice.pub", session=session)


def test_h02_keys_that_do_not_count_are_refused(kit: Victim, tmp_path: Path) -> None:
    kit.attach(bundle_of(kit.digest, MALLORY))
    refused(kit)
    kit.attach(bundle_of(kit.digest))
    assert kit.verify().is_verified
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    keys = "version: 1\nkeys: {alice: {file: alice.pub%s}}\n"
    rules = "rules: [{scope: '%s', require: [{type: signature, keys: [alice]}]}]\n"
    name = kit.located.reference.name
    policies = {
        "revoked": keys % ", revoked: true" + rules % name,
        "ended": keys % ", not_after: '2020-01-01T00:00:00Z'" + rules % name,
        "another scope": keys % "" + rules % "team/other",
    }

    for case, text in policies.items():
        policy = tmp_path / "mlkit-policy.yaml"
        policy.write_text(text)
        with (
            mlkit.session(home=kit.session.settings.home, policy=policy) as guarded,
            pytest.raises(PolicyError),
            mlkit.open(str(kit.located.reference), session=guarded),
        ):
            pytest.fail(f"opened with a key that is {case}")


def test_h03_a_signature_of_another_kit_is_refused(store: Session, kit: Victim) -> None:
    other = victim(store)
    bundle = bundle_of(other.digest)
    other.attach(bundle)
    kit.attach(bundle)
    kit.attach(bundle, subject=other.located.desc)

    refused(kit)
    assert "is about other content" in kit.verify().unusable[0].reason
    assert other.verify().is_verified


def test_h04_no_flipped_bit_is_verified_with_another_meaning() -> None:
    store, subject = MemoryStore(), Digest.of(b"kit")
    statement = statement_of(subject)
    bundle = render_bundle(sign_statement(statement, ALICE))
    layer, config = Descriptor.of(bundle, SIGSTORE_BUNDLE), Descriptor.of(b"{}", OCI_EMPTY)
    store.push(layer, BytesContent(bundle))
    store.push(config, BytesContent(b"{}"))
    manifest = manifest_around(layer, subject)

    def meaning(raw: bytes) -> object:
        """What is verified of a referrer to our kit; None for nothing."""
        try:
            found = parse_manifest(raw)
            if not isinstance(found, Manifest) or not is_bundle(found):
                return None
            if found.subject is None or found.subject.digest != subject:
                return None
            attached = read_bundle(store, found, subject)
        except MlkitError:
            return None
        return attached.statement if attached.signers(KEYS) else None

    assert meaning(manifest.raw) == statement
    survivors = 0
    for changed in flipped(bundle):
        layer = Descriptor.of(changed, SIGSTORE_BUNDLE)
        store.push(layer, BytesContent(changed))
        found = meaning(manifest_around(layer, subject).raw)
        assert found in (None, statement)
        survivors += found is not None
    # The hint, which anybody may write, is a twentieth of the bundle; what else is taken is white space and case.
    assert survivors < len(bundle) * 8 / 6
    assert all(meaning(changed) in (None, statement) for changed in flipped(manifest.raw))


def test_bytes_that_changed_in_the_store_are_never_verified(kit: Victim) -> None:
    referrer = kit.attach(bundle_of(kit.digest))
    assert kit.verify().is_verified
    layout = kit.session.layout
    (listed,) = (desc for desc in layout.manifests() if desc.digest == referrer.digest)
    manifest = parse_manifest(layout.raw(listed))
    assert isinstance(manifest, Manifest)

    for desc in (listed.bare, manifest.layers[0]):
        path = layout.path(desc)
        assert path is not None
        sound = path.read_bytes()
        path.chmod(0o600)
        for position in range(0, len(sound), max(1, 40 // SCALE)):
            path.write_bytes(sound[:position] + bytes([sound[position] ^ 1]) + sound[position + 1 :])
            refused(kit)
        path.write_bytes(sound)
    assert kit.verify().is_verified


H05: dict[str, Callable[[dict[str, Any]], object]] = {
    "payloadType": lambda envelope: envelope.update(payloadType="application/json"),
    "payloadType in capitals": lambda envelope: envelope.update(payloadType="Application/vnd.in-toto+json"),
    "payloadType missing": lambda envelope: envelope.pop("payloadType"),
    "payload with a space": lambda envelope: envelope.update(payload=b64(raw(envelope) + b" ")),
    "payload written anew": lambda envelope: envelope.update(
        payload=b64(json.dumps(json.loads(raw(envelope))).encode())
    ),
    "payload with a line end": lambda envelope: envelope.update(payload=envelope["payload"] + "\n"),
    "payload without padding": lambda envelope: envelope.update(payload=b64(raw(envelope) + b" ").rstrip("=") + "="),
    "payload in both alphabets": lambda envelope: envelope.update(payload="-" + envelope["payload"][1:] + "+"),
    "payload as it is": lambda envelope: envelope.update(payload=raw(envelope).decode()),
    "payload twice encoded": lambda envelope: envelope.update(payload=b64(envelope["payload"].encode())),
    "payload empty": lambda envelope: envelope.update(payload=""),
    "payload no text": lambda envelope: envelope.update(payload={"a": 1}),
    "sig with a line end": lambda envelope: envelope["signatures"][0].update(
        sig=envelope["signatures"][0]["sig"] + "\n"
    ),
    "sig of the payload alone": lambda envelope: envelope["signatures"][0].update(sig=b64(ALICE.sign(raw(envelope)))),
    "sig of the base64": lambda envelope: envelope["signatures"][0].update(
        sig=b64(ALICE.sign(pae(IN_TOTO, envelope["payload"].encode())))
    ),
    "lengths moved": lambda envelope: envelope.update(
        payloadType="application/vnd.in-toto+json " + str(len(raw(envelope))), payload=b64(raw(envelope))
    ),
}


@pytest.mark.parametrize("case", H05)
def test_h05_an_envelope_means_what_was_signed_and_is_written_in_one_way(kit: Victim, case: str) -> None:
    bundle = bundle_of(kit.digest)
    envelope_changed(H05[case])(bundle)
    kit.attach(bundle)

    refused(kit)


def test_what_alice_signed_as_something_else_is_no_statement(kit: Victim) -> None:
    for kind in ("application/json", "application/vnd.in-toto+json;version=1", "text/plain"):
        kit.attach(signed(said(kit.digest), kind=kind))

    refused(kit)


def test_the_url_safe_alphabet_is_taken_as_dsse_allows(kit: Victim) -> None:
    bundle = bundle_of(kit.digest)
    envelope = bundle["dsseEnvelope"]
    envelope["payload"] = base64.urlsafe_b64encode(raw(envelope)).decode()
    sig = base64.b64decode(envelope["signatures"][0]["sig"])
    envelope["signatures"][0]["sig"] = base64.urlsafe_b64encode(sig).decode()
    kit.attach(bundle)

    assert kit.verify().is_verified


@pytest.mark.parametrize(
    ("signatures", "is_verified"),
    [
        pytest.param(lambda good, bad: [], False, id="none"),
        pytest.param(lambda good, bad: [bad], False, id="bad"),
        pytest.param(lambda good, bad: [bad, good], True, id="bad and good"),
        pytest.param(lambda good, bad: [good, good, good], True, id="the same three times"),
        pytest.param(lambda good, bad: [bad] * 63 + [good], True, id="the last of 64"),
        pytest.param(lambda good, bad: [good] + [bad] * 64, False, id="65"),
        pytest.param(lambda good, bad: [good] * 10_000, False, id="ten thousand"),
        pytest.param(lambda good, bad: {"0": good}, False, id="no list"),
        pytest.param(lambda good, bad: [good, None], False, id="null among them"),
    ],
)
def test_h06_one_good_signature_is_enough_and_no_number_of_bad_ones(
    kit: Victim, signatures: Callable[[Any, Any], Any], is_verified: bool
) -> None:
    bundle = bundle_of(kit.digest)
    (good,) = bundle["dsseEnvelope"]["signatures"]
    bundle["dsseEnvelope"]["signatures"] = signatures(good, {"sig": b64(b"bad")})
    kit.attach(bundle)

    assert kit.verify().is_verified is is_verified
    assert all(one.signed_by == ("alice",) for one in kit.verify().matched), "a key counts once"


def test_many_bundles_of_strangers_hide_no_signature(kit: Victim) -> None:
    for number in range(80):
        bundle = signed(said(kit.digest, predicate={"n": number}), MALLORY)
        # In her own name, or in none.
        bundle["verificationMaterial"]["publicKey"] = {"hint": MALLORY.key_id} if number % 2 else {}
        kit.attach(bundle)
    kit.attach(bundle_of(kit.digest))

    found = kit.verify()

    assert found.is_verified
    assert found.unexamined == 17
    assert len(found.matched) + len(found.others) == 64


OURS = {"name": "ours", "digest": {"sha256": "%s"}}
H07: dict[str, tuple[dict[str, Any], bool]] = {
    "another type": ({"predicateType": SLSA_PROVENANCE}, False),
    "nearly the type": ({"predicateType": COSIGN_SIGN + "/"}, False),
    "the type in capitals": ({"predicateType": COSIGN_SIGN.upper()}, False),
    "no type": ({"predicateType": ...}, False),
    "a list of types": ({"predicateType": [COSIGN_SIGN]}, False),
    "statement of version 2": ({"_type": "https://in-toto.io/Statement/v2"}, False),
    "no statement": ({"_type": ...}, False),
    "version 0.1, as cosign attests": ({"_type": "https://in-toto.io/Statement/v0.1"}, True),
    "ours second": ({"subject": [{"digest": {"sha256": "0" * 64}}, OURS]}, True),
    "no subject": ({"subject": []}, False),
    "subject missing": ({"subject": ...}, False),
    "subject null": ({"subject": None}, False),
    "digest in capitals": ({"subject": [{"digest": {"sha256": "%S"}}]}, False),
    "algorithm in capitals": ({"subject": [{"digest": {"SHA256": "%s"}}]}, False),
    "another algorithm": ({"subject": [{"digest": {"sha512": "%s%s"}}]}, False),
    "digest with its algorithm": ({"subject": [{"digest": {"sha256": "sha256:%s"}}]}, False),
    "digest cut short": ({"subject": [{"digest": {"sha256": "%s"[:1]}}]}, False),
    "digest in the name": ({"subject": [{"name": "sha256:%s", "digest": {"sha256": "0" * 64}}]}, False),
    "digest a list": ({"subject": [{"digest": ["%s"]}]}, False),
    "predicate a list": ({"predicate": []}, False),
}


@pytest.mark.parametrize("case", H07)
def test_h07_a_statement_counts_by_its_type_and_by_what_it_names(kit: Victim, case: str) -> None:
    changes, is_verified = H07[case]
    text = json.dumps({name: ("..." if item is ... else item) for name, item in changes.items()})
    text = text.replace("%s", kit.digest.hex).replace("%S", kit.digest.hex.upper())
    filled = {name: (... if item == "..." else item) for name, item in json.loads(text).items()}
    kit.attach(signed(said(kit.digest, **filled)))

    assert kit.verify().is_verified is is_verified
    if not is_verified:
        refused(kit)


def test_two_readings_of_one_payload_are_none(kit: Victim) -> None:
    text = said(kit.digest).decode()
    twice = text[:-1] + f', "predicateType": "{SLSA_PROVENANCE}"}}'
    for payload in (twice.encode(), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16"), text.encode() + b"{}"):
        kit.attach(signed(payload))

    refused(kit)


HINTS: dict[str, Any] = {
    "a lie": MALLORY.key_id,
    "none": None,
    "empty": "",
    "huge": "A" * 100_000,
    "a path": "../../../etc/passwd",
    "controls": "\x1b[2J\n",
}


@pytest.mark.parametrize("case", HINTS)
def test_h08_a_hint_decides_nothing(store: Session, case: str) -> None:
    for key, is_verified in ((ALICE, True), (MALLORY, False)):
        kit = victim(store)
        bundle = bundle_of(kit.digest, key)
        bundle["verificationMaterial"]["publicKey"] = {} if HINTS[case] is None else {"hint": HINTS[case]}
        bundle["dsseEnvelope"]["signatures"][0]["keyid"] = HINTS[case]
        kit.attach(bundle)

        assert kit.verify().is_verified is is_verified
    liar = victim(store)
    bundle = bundle_of(liar.digest, MALLORY)
    bundle["verificationMaterial"]["publicKey"]["hint"] = ALICE.key_id
    liar.attach(bundle)
    refused(liar)


def test_h09_the_algorithm_is_the_key_s_alone(store: Session) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    alice = {"alice": load_public_key(spki(secret.public_key()), what="x")}
    edward = generate("ed25519")
    forged: dict[str, Callable[[bytes], bytes]] = {
        "another hash": lambda message: secret.sign(message, ec.ECDSA(hashes.SHA384())),
        "of the other kind": edward.sign,
        "of the hash, as Ed25519ph": lambda message: edward.sign(hashlib.sha512(message).digest()),
        "RSA": lambda message: rsa.generate_private_key(65537, 2048).sign(message, PKCS1v15(), hashes.SHA256()),
        "none": lambda _: b"none",
        "zeros": lambda _: bytes(64),
    }

    for case, sign in forged.items():
        kit = victim(store)
        payload = said(kit.digest)
        bundle = signed(payload)
        bundle["algorithm"] = "none"
        bundle["dsseEnvelope"]["signatures"] = [{"sig": b64(sign(pae(IN_TOTO, payload))), "alg": "none"}]
        kit.attach(bundle)
        keys = {"edward": edward.public} if case in ("of the hash, as Ed25519ph", "zeros") else alice
        assert not kit.verify(keys).is_verified, case
    for key in (
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
    ):
        with pytest.raises(UsageError):
            load_public_key(spki(key.public_key()), what="x")


def test_h10_forms_of_one_signature_are_the_library_s_business_and_no_identity(kit: Victim) -> None:
    payload = said(kit.digest)
    sig = ALICE.sign(pae(IN_TOTO, payload))
    r, s = decode_dss_signature(sig)
    wrong = {
        "raw": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        "trailing": sig + b"\x00",
        "r of zero": encode_dss_signature(0, s),
        "s of zero": encode_dss_signature(r, 0),
        "s too large": encode_dss_signature(r, s + P256_ORDER),
        "r too large": encode_dss_signature(r + P256_ORDER, s),
        "swapped": encode_dss_signature(s, r),
        "long length": b"\x30\x81" + sig[1:],
        "cut": sig[:-1],
    }

    for form in wrong.values():
        kit.attach(with_signature(payload, form))
    refused(kit)

    for form in (sig, encode_dss_signature(r, P256_ORDER - s)):
        kit.attach(with_signature(payload, form))
    found = kit.verify()
    assert {one.signed_by for one in found.matched} == {("alice",)}
    assert len({one.digest for one in found.matched}) == len(found.matched), "known by its manifest, not its signature"


def test_h12_signatures_that_are_taken_away_or_replaced_are_missed(kit: Victim) -> None:
    layout, name = kit.session.layout, f"team/kit:{signature_tag(kit.digest)}"
    attach_simple(kit.session, kit.located, signer=ALICE, created="2026-01-01T00:00:00Z")
    sound = layout.resolve(name)
    assert kit.verify().is_verified
    attach_simple(kit.session, kit.located, signer=MALLORY, created="2026-01-02T00:00:00Z")
    assert kit.verify().is_verified, "another one beside it"

    layout.untag(name)
    attach_simple(kit.session, kit.located, signer=MALLORY, created="2026-01-02T00:00:00Z")
    refused(kit)
    payload = manifest_of(kit, layout.resolve(name)).layers[0]
    signature = manifest_of(kit, sound).layers[0].annotations[SIMPLE_SIGNATURE]
    for notes in ({}, {SIMPLE_SIGNATURE: ""}, {SIMPLE_SIGNATURE: "x"}, {SIMPLE_SIGNATURE: signature}):
        put_simple(kit, name, Descriptor(payload.media_type, payload.digest, payload.size, notes))
        refused(kit)
    layout.untag(name)
    refused(kit)
    layout.tag(sound.bare, name)
    assert kit.verify().is_verified

    referrer = kit.attach(bundle_of(kit.digest))
    layout.untag(name)
    assert kit.verify().is_verified
    layout.unrecord(referrer)
    refused(kit)


@pytest.mark.parametrize(
    "payload",
    [
        lambda digest: {"critical": {"image": {"docker-manifest-digest": f"sha256:{'0' * 64}"}}},
        lambda digest: {"critical": {"image": {"docker-manifest-digest": str(digest).upper()}}},
        lambda digest: {"critical": {"image": {"docker-manifest-digest": digest.hex}}},
        lambda digest: {"critical": {"type": "atomic container signature"}},
        lambda digest: {"critical": {"image": None}},
        lambda digest: {"critical": {"identity": {"docker-reference": 1}}},
        lambda digest: {"optional": []},
        lambda digest: {"critical": []},
    ],
    ids=["another digest", "capitals", "hex alone", "another type", "no image", "bad identity", "optional", "critical"],
)
def test_a_signed_payload_of_the_older_form_must_name_the_kit(
    kit: Victim, payload: Callable[[Digest], dict[str, Any]]
) -> None:
    value: dict[str, Any] = {
        "critical": {
            "identity": {"docker-reference": ""},
            "image": {"docker-manifest-digest": str(kit.digest)},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    for name, change in payload(kit.digest).items():
        value[name] = {**value[name], **change} if isinstance(change, dict) else change
    content = json.dumps(value).encode()
    annotations = {SIMPLE_SIGNATURE: b64(ALICE.sign(content))}
    layer = Descriptor.of(content, "application/vnd.dev.cosign.simplesigning.v1+json", annotations)
    kit.session.layout.push(layer, BytesContent(content))
    put_simple(kit, f"team/kit:{signature_tag(kit.digest)}", layer)

    refused(kit)


def test_the_older_form_is_made_with_ecdsa_alone(kit: Victim) -> None:
    edward = generate("ed25519")

    class Nameless:
        key_id = edward.key_id

        def sign(self, message: bytes) -> bytes:
            return edward.sign(message)

    attach_simple(kit.session, kit.located, signer=Nameless(), created="2026-01-01T00:00:00Z")

    assert not kit.verify({"edward": edward.public}).is_verified
    with pytest.raises(UsageError, match="ECDSA P-256 only"):
        attach_simple(kit.session, kit.located, signer=edward, created="2026-01-01T00:00:00Z")


def test_h15_what_is_verified_is_what_is_unpacked(session: Session, tmp_path: Path) -> None:
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    policy = tmp_path / "mlkit-policy.yaml"
    with simulated_registry() as registry:
        reference = f"{registry.host}/team/digits:1"
        rule = f"{{scope: '{registry.host}/team/**', require: [{{type: signature, keys: [alice]}}]}}"
        policy.write_text(f"version: 1\nkeys: {{alice: {{file: alice.pub}}}}\nrules: [{rule}]\n")
        project = write_project(tmp_path / "project")
        good = mlkit.pack(project, tag=reference, push=True, session=session).digest
        attach_statement(
            session, session.locate(mlkit.Reference.parse(reference), remote=True), COSIGN_SIGN, {}, signer=ALICE
        )
        (project / "README.md").write_text("# Mallory was here\n")
        bad = mlkit.pack(project, tag=f"{registry.host}/team/digits:2", push=True, session=session).digest
        tags = registry.repository("team/digits").tags

        # The tag moves as soon as it was looked at, and back before the next look.
        def move(request: Any) -> None:
            if request.path.endswith("/manifests/1"):
                tags["1"] = str(bad if tags["1"] == str(good) else good)

        tags["1"] = str(bad)
        registry.rules.append(move)
        with mlkit.session(home=tmp_path / "guarded", plain_http=True, policy=policy) as guarded:
            mlkit.unpack(reference, tmp_path / "out", session=guarded)
            with pytest.raises(PolicyError):
                mlkit.unpack(reference, tmp_path / "bad", session=guarded)
            verified = mlkit.verify(reference, keys=tmp_path / "alice.pub", session=guarded)
            mlkit.pull(f"{registry.host}/team/digits@{verified.digest}", session=guarded)

        looks = registry.lines(r"(GET|HEAD) .*/manifests/1")
    assert (tmp_path / "out/README.md").read_text() == "# Digits\n"
    assert not (tmp_path / "bad").exists()
    assert verified.digest == good
    assert len(looks) == 4, "one look at the tag for each command, and one when it was signed"


KEYLESS: dict[str, Callable[[dict[str, Any]], object]] = {
    "certificate": lambda one: one.update(
        verificationMaterial={"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}
    ),
    "chain of certificates": lambda one: one.update(
        verificationMaterial={"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}}
    ),
    "certificate beside the key": lambda one: one["verificationMaterial"].update(certificate={"rawBytes": "AA=="}),
    "version 0.1": lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"),
    "version 0.2": lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"),
    "version 0.4": lambda one: one.update(mediaType="application/vnd.dev.sigstore.bundle.v0.4+json"),
    "no version": lambda one: one.pop("mediaType"),
    "message signature": lambda one: one.update(
        messageSignature={"messageDigest": {}, "signature": "AA=="}, dsseEnvelope=None
    ),
    "both contents": lambda one: one.update(messageSignature={"messageDigest": {}, "signature": "AA=="}),
    "no material": lambda one: one.pop("verificationMaterial"),
    "no content": lambda one: one.pop("dsseEnvelope"),
}


@pytest.mark.parametrize("case", KEYLESS)
def test_h18_bundles_of_other_kinds_are_told_by_name_and_not_taken(kit: Victim, case: str) -> None:
    bundle = bundle_of(kit.digest)
    KEYLESS[case](bundle)
    kit.attach(bundle)

    refused(kit)
    reason = kit.verify().unusable[0].reason
    told = {"certificate": "keyless", "chain of certificates": "keyless", "version 0.2": "another version"}
    assert told.get(case, "the bundle sha256:") in reason
    with pytest.raises(PolicyError, match="is attached as one and is none"):
        kit.verify().require()


def test_h19_annotations_and_data_are_no_signature(kit: Victim) -> None:
    said_so = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": COSIGN_SIGN}
    kit.attach(None, annotations=said_so)
    kit.attach(None, annotations={SIMPLE_SIGNATURE: b64(ALICE.sign(b"x"))})
    kit.attach(bundle_of(kit.digest), layer_type="application/json", annotations=said_so)
    sound = json.dumps(bundle_of(kit.digest)).encode()
    absent = Descriptor.of(sound, SIGSTORE_BUNDLE)
    kit.session.layout.push(Descriptor.of(b"two", "x/y"), BytesContent(b"two"))
    kit.attach(bundle_of(kit.digest), more_layers=[Descriptor.of(b"two", "x/y")])
    refused(kit)

    other = Descriptor.of(b"{}", OCI_EMPTY)
    for claimed in (
        {**absent.render(), "data": base64.b64encode(b"other").decode()},
        {**other.render(), "mediaType": SIGSTORE_BUNDLE, "data": base64.b64encode(sound).decode()},
    ):
        value = json.loads(render_manifest(config=other, layers=(other,), subject=kit.located.desc.bare).raw)
        value |= {"artifactType": SIGSTORE_BUNDLE, "layers": [claimed]}
        manifest = json.dumps(value).encode()
        desc = Descriptor.of(manifest, value["mediaType"])
        with pytest.raises(MlkitError, match="data does not match"):
            kit.session.layout.push(desc, BytesContent(manifest))
    refused(kit)


def test_a_broken_referrer_hinders_no_sound_one(session: Session, tmp_path: Path) -> None:
    (tmp_path / "alice.pub").write_text(ALICE.public.pem)
    with simulated_registry() as registry:
        reference = f"{registry.host}/team/digits:1"
        mlkit.pack(write_project(tmp_path / "project"), tag=reference, push=True, session=session)
        located = session.locate(mlkit.Reference.parse(reference), remote=True)
        sound = attach_statement(session, located, COSIGN_SIGN, {}, signer=ALICE)
        broken = attach_statement(session, located, COSIGN_SIGN, {"n": 1}, signer=ALICE)
        kind, raw = registry.repository("team/digits").manifests[str(broken.digest)]
        other_bytes = Answer(200, raw.replace(b'"schemaVersion":2', b'"schemaVersion":3'), {"Content-Type": kind})
        registry.answer(f"GET .*/manifests/{broken.digest}", lambda _: other_bytes)
        with mlkit.session(home=tmp_path / "other", plain_http=True) as other:
            found = mlkit.verify(reference, keys=tmp_path / "alice.pub", session=other)

    assert [one.digest for one in found.matched] == [sound.digest]
    assert [one.digest for one in found.unusable] == [broken.digest]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def raw(envelope: dict[str, Any]) -> bytes:
    return base64.b64decode(envelope["payload"])


def spki(key: Any) -> bytes:
    encoded = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(encoded, bytes)
    return encoded


def with_signature(payload: bytes, signature: bytes) -> dict[str, Any]:
    bundle = signed(payload)
    bundle["dsseEnvelope"]["signatures"] = [{"sig": b64(signature)}]
    return bundle


def flipped(content: bytes) -> Iterator[bytes]:
    """The content with each bit the other way, one at a time."""
    for position, value in enumerate(content):
        for bit in range(8):
            yield content[:position] + bytes([value ^ (1 << bit)]) + content[position + 1 :]


def manifest_around(layer: Descriptor, subject: Digest) -> Manifest:
    config = Descriptor.of(b"{}", OCI_EMPTY)
    about = Descriptor("application/vnd.oci.image.manifest.v1+json", subject, 100)
    return render_manifest(config=config, layers=(layer,), artifact_type=SIGSTORE_BUNDLE, subject=about)


def manifest_of(kit: Victim, desc: Descriptor) -> Manifest:
    found = parse_manifest(kit.session.layout.raw(desc.bare))
    assert isinstance(found, Manifest)
    return found


def put_simple(kit: Victim, name: str, layer: Descriptor) -> None:
    config = Descriptor.of(b"{}", OCI_EMPTY)
    kit.session.layout.push(config, BytesContent(b"{}"))
    manifest = render_manifest(config=config, layers=(layer,))
    kit.session.layout.push(manifest.descriptor, BytesContent(manifest.raw))
    kit.session.layout.tag(manifest.descriptor, name)

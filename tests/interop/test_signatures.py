"""Signatures and attestations: ours verified by cosign, sigstore-js and securesystemslib, and theirs by us."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from securesystemslib import dsse
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey
from tests.support.docker_registry import docker_registry
from tests.support.programs import Program
from tests.support.tools import NODE

import mlkit
from mlkit.api.session import Session
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.spec.bundle import Bundle, parse_bundle, render_bundle
from mlkit.spec.digest import Digest
from mlkit.spec.dsse import Envelope, Signature, parse_envelope
from mlkit.spec.media_types import IN_TOTO
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE, Statement, Subject, parse_statement
from mlkit.trust.keys import generate, load_public_key, read_public_key
from mlkit.trust.signer import sign_statement, signers_of

PASSWORD = "of cosign"
# What `verify` of cosign wants where no log and no service is asked.
OFFLINE = ("--insecure-ignore-tlog=true", "--allow-http-registry")
UNLOGGED = ("--tlog-upload=false", "--allow-http-registry", "-y")
PREDICATE = {
    "buildDefinition": {"buildType": "urn:x", "externalParameters": {}},
    "runDetails": {"builder": {"id": "urn:y"}},
}


@dataclass(frozen=True)
class World:
    """A registry, a pair of keys of ours without a password, and one of cosign's."""

    host: str
    folder: Path

    def program(self, name: str) -> Program:
        return Program(name, (), self.folder)

    @property
    def root(self) -> Path:
        """Nobody else is trusted: cosign would fetch the certificates of Sigstore's service otherwise."""
        path = self.folder / "root.json"
        path.write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
        return path


@pytest.fixture(scope="module", params=["embedded", "docker-registry"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    for name in ("ours", "stranger"):
        mlkit.keygen(folder / name, no_password=True)
    if request.param == "docker-registry":
        with docker_registry(folder / "registry") as host:
            yield World(host, folder)
    else:
        with RunningRegistry(Layout.create(folder / "registry")) as running:
            yield World(running.host, folder)


@pytest.fixture
def kit(world: World, session: Session, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A kit in the registry, in a repository of the test's own; by tag."""
    (tmp_path / "model.onnx").write_text(request.node.name)
    reference = f"{world.host}/{Digest.of(request.node.name.encode()).hex[:12]}/kit:1"
    mlkit.pack(tmp_path, tag=reference, kitfile_text="model: {path: model.onnx}", push=True, session=session)
    return reference


@pytest.fixture
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", PASSWORD)


def pinned(kit: str, session: Session) -> str:
    return f"{kit.rpartition(':')[0]}@{mlkit.inspect(kit, session=session).digest}"


@pytest.mark.parametrize("version", ["cosign", "cosign3"])
def test_cosign_verifies_what_mlkit_signed_in_the_older_form(
    world: World, kit: str, session: Session, version: str
) -> None:
    mlkit.sign(kit, key=world.folder / "ours.key", legacy=True, session=session)

    flags = ("--new-bundle-format=false",) if version == "cosign3" else ()
    told = world.program(version)("verify", "--key", world.folder / "ours.pub", *OFFLINE, *flags, pinned(kit, session))

    assert json.loads(told)[0]["critical"]["image"]["docker-manifest-digest"] in pinned(kit, session)


def test_cosign_3_verifies_the_bundle_of_a_signature(world: World, kit: str, session: Session) -> None:
    cosign = world.program("cosign3")
    mlkit.sign(kit, key=world.folder / "ours.key", session=session)
    trusting = ("--trusted-root", world.root, *OFFLINE, pinned(kit, session))

    told = cosign("verify", "--key", world.folder / "ours.pub", *trusting)
    refused = cosign.end("verify", "--key", world.folder / "stranger.pub", *trusting)

    assert json.loads(told)[0]["critical"]["type"] == COSIGN_SIGN
    assert refused.code != 0


@pytest.mark.parametrize("version", ["cosign", "cosign3"])
def test_cosign_verifies_what_mlkit_attested(world: World, kit: str, session: Session, version: str) -> None:
    mlkit.sign(kit, key=world.folder / "ours.key", session=session)
    mlkit.attest(kit, "slsaprovenance1", PREDICATE, key=world.folder / "ours.key", session=session)
    trusting = ("--new-bundle-format=true", "--trusted-root", world.root, *OFFLINE)

    for kind in (SLSA_PROVENANCE, COSIGN_SIGN):
        told = world.program(version)(
            "verify-attestation",
            "--key",
            world.folder / "ours.pub",
            "--type",
            kind,
            *trusting,
            pinned(kit, session),
        )
        assert parse_statement(base64.b64decode(json.loads(told.splitlines()[0])["payload"])).predicate_type == kind


def test_cosign_verifies_the_copy_of_a_kit(world: World, kit: str, session: Session) -> None:
    mlkit.sign(kit, key=world.folder / "ours.key", legacy=True, session=session)
    copy = kit.replace("/kit:", "/copy:")

    mlkit.copy(kit, copy, session=session)

    world.program("cosign")("verify", "--key", world.folder / "ours.pub", *OFFLINE, pinned(copy, session))


@pytest.fixture(scope="module")
def cosign_keys(world: World) -> Path:
    """A pair of keys that cosign made, without the suffixes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSIGN_PASSWORD", PASSWORD)
        world.program("cosign")("generate-key-pair", "--output-key-prefix", world.folder / "theirs")
    return world.folder / "theirs"


@pytest.mark.usefixtures("password")
def test_mlkit_verifies_what_cosign_signed_in_its_older_form(
    world: World, kit: str, session: Session, cosign_keys: Path
) -> None:
    world.program("cosign")("sign", "--key", f"{cosign_keys}.key", *UNLOGGED, pinned(kit, session))

    found = mlkit.verify(kit, keys=f"{cosign_keys}.pub", session=session)

    assert [one.form for one in found.matched] == ["simple-signing"]


@pytest.mark.usefixtures("password")
def test_mlkit_verifies_the_bundle_that_cosign_3_signed(
    world: World, kit: str, session: Session, cosign_keys: Path
) -> None:
    flags = (*UNLOGGED, "--use-signing-config=false")
    world.program("cosign3")("sign", "--key", f"{cosign_keys}.key", *flags, pinned(kit, session))

    found = mlkit.verify(kit, keys=f"{cosign_keys}.pub", session=session)

    assert [one.form for one in found.matched] == ["bundle"]
    with pytest.raises(mlkit.MlkitError, match="by other keys"):
        mlkit.verify(kit, keys=world.folder / "ours.pub", session=session)


@pytest.mark.usefixtures("password")
@pytest.mark.parametrize(
    ("version", "form", "flags"),
    [
        ("cosign", "envelope", ()),
        ("cosign", "bundle", ("--new-bundle-format",)),
        ("cosign3", "bundle", ("--use-signing-config=false",)),
    ],
)
def test_mlkit_verifies_what_cosign_attested(
    world: World, kit: str, session: Session, cosign_keys: Path, version: str, form: str, flags: tuple[str, ...]
) -> None:
    predicate = world.folder / "predicate.json"
    predicate.write_text(json.dumps(PREDICATE))
    attesting = ("attest", "--key", f"{cosign_keys}.key", "--predicate", predicate, *UNLOGGED, *flags)
    world.program(version)(*attesting, "--type", "slsaprovenance1", pinned(kit, session))

    found = mlkit.verify(kit, keys=f"{cosign_keys}.pub", predicate_type="slsaprovenance1", session=session)

    assert [one.form for one in found.matched] == [form]
    assert found.matched[0].statement.predicate["buildDefinition"]["buildType"] == "urn:x"


@pytest.mark.usefixtures("password")
def test_keys_of_cosign_sign_with_mlkit_and_keys_of_mlkit_with_cosign(
    world: World, kit: str, session: Session, cosign_keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLKIT_KEY_PASSWORD", PASSWORD)

    with mlkit.session(home=session.settings.home, plain_http=True) as knowing:
        mlkit.sign(kit, key=f"{cosign_keys}.key", session=knowing)
    exported = mlkit.keygen(tmp_path / "exported", form="cosign")
    imported = mlkit.keygen(tmp_path / "imported", source=f"{cosign_keys}.key")
    world.program("cosign")("sign", "--key", exported.private_key, *UNLOGGED, pinned(kit, session))

    found = mlkit.verify(kit, keys=[f"{cosign_keys}.pub", exported.public_key], session=session)
    assert {name for one in found.matched for name in one.signed_by} == {
        f"{cosign_keys}.pub",
        str(exported.public_key),
    }
    assert imported.key_id == read_public_key(Path(f"{cosign_keys}.pub")).key_id


STATEMENT = Statement((Subject("kit", Digest.of(b"kit")),), SLSA_PROVENANCE, PREDICATE)

VERIFY_JS = """
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");
const { readFileSync } = require("fs");
const [bundle, key, hint] = process.argv.slice(2);
const rawBytes = Buffer.from(readFileSync(key, "utf8").replace(/-----[A-Z ]+-----|\\n/g, ""), "base64");
const material = toTrustMaterial(
  { mediaType: "", tlogs: [], ctlogs: [], certificateAuthorities: [], timestampAuthorities: [] },
  { [hint]: { rawBytes, keyDetails: 5, validFor: { start: new Date(0) } } },
);
const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(readFileSync(bundle, "utf8")))));
console.log("verified");
"""


@pytest.mark.parametrize("flipped", [False, True], ids=["sound", "flipped"])
def test_sigstore_js_verifies_the_bundles_of_mlkit(tmp_path: Path, flipped: bool) -> None:
    if not (NODE / "@sigstore/verify").is_dir():
        pytest.skip("@sigstore/verify is not installed")
    key = generate()
    bundle = sign_statement(STATEMENT, key)
    if flipped:
        payload = bundle.envelope.payload.replace(b"urn:y", b"urn:z")
        bundle = Bundle(Envelope(IN_TOTO, payload, bundle.envelope.signatures), bundle.hint)
    (tmp_path / "bundle.json").write_bytes(render_bundle(bundle))
    (tmp_path / "key.pub").write_text(key.public.pem)
    # Beside the packages: that is where Node looks for them.
    script = NODE.parent / "verify.cjs"
    script.write_text(VERIFY_JS)

    ended = Program("node").end(script, tmp_path / "bundle.json", tmp_path / "key.pub", key.key_id)

    assert (ended.code == 0 and ended.stdout == "verified\n") is not flipped, ended.stderr


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519"])
def test_securesystemslib_verifies_the_envelopes_of_mlkit(kind: str) -> None:
    key, other = generate(kind), generate(kind)  # type: ignore[arg-type]
    envelope = json.loads(render_bundle(sign_statement(STATEMENT, key)))["dsseEnvelope"]
    # Which DSSE does not ask for, and securesystemslib does (its issue 416).
    envelope["signatures"][0]["keyid"] = key.key_id

    read = dsse.Envelope.from_dict(envelope)

    known = [_sslib_key(one.public.pem, key.key_id) for one in (key, other)]
    assert list(read.verify(known[:1], 1)) == [key.key_id]
    with pytest.raises(VerificationError):
        read.verify(known[1:], 1)


@pytest.mark.parametrize("make", ["generate_ecdsa", "generate_ed25519"])
def test_mlkit_verifies_the_envelopes_of_securesystemslib(make: str) -> None:
    signer = getattr(CryptoSigner, make)()
    payload = sign_statement(STATEMENT, generate()).envelope.payload
    theirs = dsse.Envelope(payload, IN_TOTO, {})
    theirs.sign(signer)
    pem = signer.public_key.keyval["public"]
    if "BEGIN" not in pem:
        pem = _ed25519_pem(bytes.fromhex(pem))

    ours = parse_envelope(json.dumps(theirs.to_dict()).encode(), what="theirs")

    assert signers_of(ours, {"theirs": load_public_key(pem.encode(), what="theirs"), "other": generate().public}) == (
        "theirs",
    )
    bundle = parse_bundle(render_bundle(Bundle(ours, None)), what="ours")
    assert bundle.envelope == Envelope(IN_TOTO, payload, (Signature(signer.public_key.keyid, ours.signatures[0].sig),))


def _sslib_key(pem: str, keyid: str) -> SSlibKey:
    return SSlibKey.from_crypto(serialization.load_pem_public_key(pem.encode()), keyid=keyid)


def _ed25519_pem(raw: bytes) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(raw)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()

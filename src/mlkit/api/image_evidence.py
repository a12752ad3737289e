"""What is said of an image, signed: that it is ours, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlkit import __version__
from mlkit.api.session import Located, Session
from mlkit.content.storage import Target
from mlkit.errors import UsageError
from mlkit.spec.descriptor import Descriptor
from mlkit.spec.digest import Digest
from mlkit.spec.statement import COSIGN_SIGN, SLSA_PROVENANCE

if TYPE_CHECKING:
    from mlkit.trust.signer import Signer

BUILD_TYPE = "https://mlkit.dev/image-build/v1"
"""What our provenance says of how an image came to be; the fields are those of `provenance`."""
_BUILDER = "https://mlkit.dev/cli"


@dataclass(frozen=True, slots=True)
class Material:
    """Something that an image was made of."""

    role: str
    uri: str
    digest: Digest | None


@dataclass(frozen=True, slots=True)
class Witness:
    """Who signs for an image, and whether he says what it was made of."""

    signer: Signer
    has_provenance: bool

    def attest(self, session: Session, image: Located, target: Target, predicate: Mapping[str, object]) -> int:
        """Attach the signature, and the provenance where that was asked for; gives how many statements. Raises: what
        the store raises."""
        from mlkit.api.evidence import attach_statement

        found: list[Descriptor] = [attach_statement(session, image, COSIGN_SIGN, {}, signer=self.signer, place=target)]
        if self.has_provenance:
            found.append(attach_statement(session, image, SLSA_PROVENANCE, predicate, signer=self.signer, place=target))
        return len(found)


def witness_for(session: Session, key: Path | None, *, is_signed: bool, has_provenance: bool) -> Witness | None:
    """Who signs, None where nobody was asked to. Raises: UsageError where nobody can; as of `signer_for`."""
    if not (is_signed or has_provenance):
        return None
    from mlkit.api.evidence import signer_for

    signer = signer_for(session, key)
    if signer is None:
        raise UsageError("there is no key to sign with", hint="--sign FILE names one, or the setting signing_key")
    return Witness(signer, has_provenance)


def provenance(parameters: Mapping[str, object], materials: tuple[Material, ...]) -> dict[str, object]:
    """SLSA provenance v1: what was asked for, and the digests of what went in. No clock: the signature has one."""
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {name: value for name, value in parameters.items() if value not in (None, (), {})},
            "resolvedDependencies": [
                {"uri": one.uri, "annotations": {"role": one.role}}
                | ({"digest": {one.digest.algorithm: one.digest.hex}} if one.digest is not None else {})
                for one in materials
            ],
        },
        "runDetails": {"builder": {"id": _BUILDER, "version": {"mlkit": __version__}}},
    }

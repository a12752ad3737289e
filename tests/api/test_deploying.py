"""From a kit in a registry to documents, with a real kit and a real registry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.cluster_schemas import check
from tests.support.images import LaidOut, build
from tests.support.registry import simulated_registry

import mlkit
from mlkit.api.deploying import DeployOptions, Rendered, render
from mlkit.api.session import Session
from mlkit.errors import NotFoundError, PolicyError, UsageError
from mlkit.serving.image_config import Launch
from mlkit.serving.profile import PREDICATE_TYPE, Machine, Profile, Suggestion, predicate_of
from mlkit.spec.reference import Reference

CSI = DeployOptions(source="csi")


@pytest.fixture
def reference(digits: Path, host: str, session: Session) -> str:
    """The digits example in a registry."""
    mlkit.pack(digits, tag=f"{host}/team/digits:1.2", session=session)
    mlkit.push(f"{host}/team/digits:1.2", session=session)
    return f"{host}/team/digits:1.2"


def rendered(session: Session, reference: str, options: DeployOptions = CSI, target: str = "kubernetes") -> Rendered:
    assert target in ("kubernetes", "kserve", "knative", "compose", "systemd")
    return render(session, Reference.parse(reference), target, options)  # type: ignore[arg-type]  # one of five words


def test_the_digits_example_is_deployed_by_the_digest_that_the_registry_has(session: Session, reference: str) -> None:
    digest = mlkit.resolve(reference, session=session)

    found = rendered(session, reference)

    assert found.digest == digest
    assert found.kit == f"{reference.rpartition(':')[0]}@{digest}"
    assert found.version == "1.2"
    documents = list(yaml.safe_load_all(found.text))
    assert documents == json.loads(json.dumps(found.documents))
    for document in documents:
        check(document)


def test_a_tag_that_moved_here_and_not_there_is_what_the_registry_says(
    session: Session, reference: str, digits: Path
) -> None:
    there = mlkit.resolve(reference, session=session)
    (digits / "params.yaml").write_text("changed: true\n")
    mlkit.pack(digits, tag=reference, session=session)

    assert mlkit.resolve(reference, session=session) != there
    assert rendered(session, reference).digest == there


@pytest.mark.parametrize("source", ["image", "image-volume"])
def test_an_image_has_the_model_where_image_build_puts_it(session: Session, reference: str, source: str) -> None:
    image = f"registry.example/digits-image@{mlkit.resolve(reference, session=session)}"
    options = DeployOptions(
        source="image" if source == "image" else "image-volume", image=image, model_image=image, runtime="triton"
    )

    server = rendered(session, reference, options).documents[0]["spec"]["template"]["spec"]["containers"][0]

    assert server["image"] == image
    mounts = {mount["mountPath"]: mount.get("subPath") for mount in server.get("volumeMounts", ())}
    if source == "image":
        assert mounts == {}
    else:
        assert mounts["/mnt/kit"] is None
        assert any((place or "").startswith("models/") for place in mounts.values())


def test_what_no_cluster_could_run_is_refused(session: Session, reference: str, digits: Path) -> None:
    mlkit.pack(digits, tag="digits:local", session=session)
    for options, match in [
        (DeployOptions(), "needs --init-image"),
        (DeployOptions(source="image-volume"), "needs --model-image"),
        (DeployOptions(source="image"), "needs --image"),
        (DeployOptions(source="csi", memory="lots"), "no quantity"),
        (DeployOptions(source="csi", namespace="Not A Name"), "no DNS label"),
        (DeployOptions(source="csi", runtime="vllm"), "vllm reads Hugging Face"),
        (DeployOptions(source="csi", challenger=Reference.parse(reference)), "--to kserve"),
    ]:
        with pytest.raises(UsageError, match=match):
            rendered(session, reference, options)
    with pytest.raises(UsageError, match="names no registry"):
        rendered(session, "digits:local")
    with pytest.raises(UsageError, match="challenger is the champion"):
        rendered(session, reference, DeployOptions(source="csi", challenger=Reference.parse(reference)), "kserve")


def test_a_kit_without_a_model_is_refused(session: Session, host: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/x.csv").write_text("1\n")
    mlkit.pack(tmp_path, tag=f"{host}/team/data:1", kitfile_text="datasets: [{path: data}]", session=session)
    mlkit.push(f"{host}/team/data:1", session=session)

    with pytest.raises(NotFoundError, match="no model that a server could read"):
        rendered(session, f"{host}/team/data:1")


@pytest.mark.parametrize("runtime", [None, "custom", "vllm", "own"])
@pytest.mark.parametrize("target", ["kubernetes", "systemd"])
def test_what_to_do_with_weights_that_no_runtime_reads_can_be_done(
    session: Session, tmp_path: Path, runtime: str | None, target: str
) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    with simulated_registry() as server:
        name = f"{server.host}/team/own:1"
        mlkit.pack(tmp_path, tag=name, kitfile_text="model: {path: w.safetensors}", session=session)
        mlkit.push(name, session=session)

        with pytest.raises((NotFoundError, UsageError)) as caught:
            rendered(session, name, replace(CSI, runtime=runtime), target)

        assert "--command" not in str(caught.value.hint)
        assert "mlkit image build REF --runtime none --entrypoint WORDS" in str(caught.value.hint)
        built = build(
            session, name, "scratch", f"oci:{tmp_path / 'image'}:1", runtime="none", launch=Launch(entrypoint=("/own",))
        )
    assert built.digest is not None
    assert LaidOut(tmp_path / "image").config["config"]["Entrypoint"] == ["/own"]


def test_a_kit_that_the_policy_refuses_is_not_deployed(reference: str, tmp_path: Path) -> None:
    policy = tmp_path / "mlkit-policy.yaml"
    policy.write_text(
        "version: 1\nrules: [{scope: elsewhere/**, level: audit, serialization: {allow: [safetensors]}}]\n"
    )

    with (
        mlkit.session(home=tmp_path / "store", plain_http_hosts=("loopback",), policy=str(policy)) as strict,
        pytest.raises(PolicyError, match="refused by the policy"),
    ):
        rendered(strict, reference)


def test_a_challenger_beside_the_champion(session: Session, reference: str, digits: Path) -> None:
    other = reference.replace(":1.2", ":1.3")
    (digits / "params.yaml").write_text("changed: true\n")
    mlkit.pack(digits, tag=other, session=session)
    mlkit.push(other, session=session)

    found = rendered(session, reference, DeployOptions(source="csi", challenger=Reference.parse(other)), "kserve")

    champion, challenger, route = found.documents
    assert challenger["metadata"]["name"] == f"{champion['metadata']['name']}-challenger"
    assert challenger["metadata"]["annotations"]["dev.mlkit.kit.digest"] == str(mlkit.resolve(other, session=session))
    assert route["spec"]["http"][0]["mirror"]["host"].startswith(challenger["metadata"]["name"])


@pytest.mark.parametrize("target", ["kserve", "knative", "compose", "systemd"])
def test_each_target_says_the_kit(session: Session, reference: str, target: str) -> None:
    options = DeployOptions(init_image="registry.example/mlkit:0.1", runtime="onnx" if target == "systemd" else None)

    found = rendered(session, reference, options, target)

    assert found.kit in found.text
    assert bool(found.documents) == (target != "systemd")


PROFILE = Profile(
    reference="x",
    version="1.2",
    runtime="triton",
    model=None,
    request="POST /",
    machine=Machine("Linux", 8, None, ()),
    mlkit="0.1.0",
    measured_at="2026-03-03T12:00:00Z",
    unpack_seconds=1.0,
    unpack_bytes=1,
    ready_seconds=2.0,
    first_seconds=0.1,
    levels=(),
    peak_memory_bytes=None,
    peak_gpu_bytes=None,
    suggestion=Suggestion("750m", "320Mi", "512Mi", 0, 4, 45),
)


def server_of(found: Rendered) -> dict[str, Any]:
    server: dict[str, Any] = found.documents[0]["spec"]["template"]["spec"]["containers"][0]
    return server


def test_what_was_measured_is_asked_for_and_what_a_person_says_goes_before(session: Session, reference: str) -> None:
    measured = rendered(session, reference, replace(CSI, profile=PROFILE))
    said = rendered(session, reference, replace(CSI, profile=PROFILE, memory="2Gi"))
    other = rendered(session, reference, replace(CSI, profile=replace(PROFILE, runtime="vllm")))

    resources = server_of(measured)["resources"]
    assert resources["requests"] == {"cpu": "750m", "memory": "320Mi"}
    assert resources["limits"] == {"memory": "512Mi"}
    assert server_of(measured)["startupProbe"]["failureThreshold"] == 5
    assert "measured 2026-03-03" in measured.notes[0]
    assert server_of(said)["resources"]["limits"] == {"memory": "2Gi"}
    assert "estimated" in other.notes[0]


def test_a_profile_that_a_trusted_key_signed_is_found_on_the_kit(
    session: Session, reference: str, host: str, tmp_path: Path
) -> None:
    for name, cpu in (("other", "64"), ("mine", "750m")):
        mlkit.keygen(tmp_path / name, no_password=True, session=session)
        suggestion = replace(PROFILE.suggestion, cpu=cpu)
        mlkit.attest(
            reference,
            PREDICATE_TYPE,
            predicate_of(replace(PROFILE, suggestion=suggestion)),
            key=tmp_path / f"{name}.key",
            remote=True,
            session=session,
        )

    trusting = mlkit.session(
        home=tmp_path / "store", plain_http_hosts=("loopback",), trusted_keys=(tmp_path / "mine.pub",)
    )
    with trusting:
        assert server_of(rendered(trusting, reference))["resources"]["requests"]["cpu"] == "750m"
    assert server_of(rendered(session, reference))["resources"]["requests"]["cpu"] == "1"

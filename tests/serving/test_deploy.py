from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.cluster_schemas import check

from mlkit.errors import UsageError
from mlkit.serving.choose import choose
from mlkit.serving.command import container_command
from mlkit.serving.deploy.compose import compose
from mlkit.serving.deploy.deployment import (
    Deployment,
    Kit,
    Resources,
    Source,
    check_object_name,
    check_quantity,
    estimated,
    label_value,
    object_name,
)
from mlkit.serving.deploy.knative import flags_needed, knative
from mlkit.serving.deploy.kserve import kserve, shadowed
from mlkit.serving.deploy.kubernetes import kubernetes
from mlkit.serving.deploy.systemd import systemd
from mlkit.serving.facts import KitFacts, Model
from mlkit.spec.digest import Digest

DIGEST = Digest.of(b"kit")
KIT = Kit("registry.example/team/llm", "1.2", DIGEST, "1.2+cu128", 16 << 30)
SOURCES: tuple[Source, ...] = ("init", "image-volume", "csi", "image")


def deployment(runtime: str = "vllm", source: Source = "init", **changes: Any) -> Deployment:
    model = {"vllm": Model("huggingface", "model", 16 << 30), "triton": Model("onnx", "model/m.onnx", 1 << 20)}[runtime]
    choice = choose(KitFacts("llm", "1.2", (model,)), runtime, place="container")
    made = Deployment(
        name="llm",
        kit=KIT,
        runtime=choice.runtime,
        command=container_command(choice, name="llm"),
        image=choice.runtime.image or "",
        source=source,
        resources=estimated(model.size, gpus=1 if runtime == "vllm" else 0),
        served_name="llm",
        port=choice.runtime.port,
        init_image="registry.example/mlkit:0.1",
        model_image=f"registry.example/team/llm-image@{DIGEST}",
    )
    return replace(made, **changes)


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    found: dict[str, Any] = spec["predictor"] if "predictor" in spec else spec["template"]["spec"]
    return found


@pytest.mark.parametrize("runtime", ["vllm", "triton"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("render", [kubernetes, kserve, knative])
def test_every_document_fits_the_schema_of_its_kind(render: Any, source: Source, runtime: str) -> None:
    made = deployment(
        runtime, source, replicas=2, max_replicas=4, namespace="ml", pull_secret="pull", policy_config_map="policy"
    )

    for document in render(made):
        check(document)


def test_a_schema_refuses_a_field_that_it_does_not_know() -> None:
    (document,) = knative(deployment())
    pod_of(document)["containers"][0]["comand"] = []

    with pytest.raises(Exception, match="comand"):
        check(document)


@pytest.mark.parametrize("render", [kubernetes, kserve, knative, compose])
def test_the_kit_is_pinned_by_digest_and_its_tag_is_for_people(render: Any) -> None:
    text = str(render(deployment()))

    assert f"registry.example/team/llm@{DIGEST}" in text
    assert "unpack', 'registry.example/team/llm:1.2" not in text
    assert "'dev.mlkit.kit.reference': 'registry.example/team/llm:1.2'" in text
    assert f"'dev.mlkit.kit.digest': '{DIGEST}'" in text


def test_an_init_container_is_read_only_unprivileged_and_keeps_to_the_policy() -> None:
    made = deployment(pull_secret="pull", policy_config_map="policy", plain_http=True)

    pod = pod_of(kubernetes(made)[0])

    (init,) = pod["initContainers"]
    assert init["args"][:4] == ["unpack", KIT.pinned, "-d", "/models"]
    assert {"--plain-http", "--authfile", "--policy"} <= set(init["args"])
    security = init["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert security["runAsNonRoot"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["auth"]["secret"]["items"] == [{"key": ".dockerconfigjson", "path": "config.json"}]
    assert volumes["policy"] == {"name": "policy", "configMap": {"name": "policy"}}
    assert int(volumes["model"]["emptyDir"]["sizeLimit"].removesuffix("Mi")) << 20 >= 2 * KIT.size


def test_every_mount_has_its_volume() -> None:
    for source in SOURCES:
        pod = pod_of(kubernetes(deployment("triton", source, pull_secret="p", policy_config_map="c"))[0])
        containers = [*pod.get("initContainers", ()), *pod["containers"]]
        mounted = {mount["name"] for container in containers for mount in container.get("volumeMounts", ())}

        assert mounted == {volume["name"] for volume in pod.get("volumes", ())}


def test_a_gpu_is_asked_for_and_its_taint_tolerated_where_one_is_needed() -> None:
    with_gpu, without = (pod_of(kubernetes(deployment(runtime))[0]) for runtime in ("vllm", "triton"))

    assert with_gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert with_gpu["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "nvidia.com/gpu" not in str(without)


def test_a_server_with_an_order_of_its_own_finds_its_model_there() -> None:
    (server,) = pod_of(kubernetes(deployment("triton"))[0])["containers"]

    assert "--model-repository=/repository" in server["command"]
    assert {
        "name": "model",
        "mountPath": "/repository/llm/1/model.onnx",
        "subPath": "model/m.onnx",
        "readOnly": True,
    } in (server["volumeMounts"])


def test_an_image_with_the_kit_in_it_starts_as_it_knows() -> None:
    pod = pod_of(kubernetes(deployment(source="image", image=f"registry.example/served@{DIGEST}"))[0])

    assert "command" not in pod["containers"][0]
    assert "initContainers" not in pod


def test_a_rollout_never_has_fewer_servers_and_ends_when_it_does_not_come_on() -> None:
    document, service, budget = kubernetes(deployment(replicas=2))

    assert document["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert document["spec"]["progressDeadlineSeconds"] > 0
    selector = document["spec"]["selector"]["matchLabels"]
    template = document["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= template.items()
    # A selector cannot change, and a version does.
    assert "app.kubernetes.io/version" not in selector
    assert service["spec"]["selector"] == budget["spec"]["selector"]["matchLabels"] == selector
    assert (
        service["spec"]["ports"][0]["targetPort"]
        == document["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    )


def test_a_knative_service_sleeps_and_says_what_it_needs_of_the_cluster() -> None:
    (document,) = knative(deployment())

    scale = document["spec"]["template"]["metadata"]["annotations"]
    assert scale["autoscaling.knative.dev/min-scale"] == "0"
    assert "kubernetes.podspec-init-containers" in flags_needed(deployment())
    assert "kubernetes.podspec-init-containers" not in flags_needed(deployment(source="image"))


def test_a_challenger_gets_a_copy_and_the_champion_answers() -> None:
    champion, challenger = deployment(), deployment(name="llm-challenger")

    documents = shadowed(champion, challenger, percent=25)

    for document in documents[:2]:
        check(document)
    (rule,) = documents[2]["spec"]["http"]
    assert rule["route"] == [{"destination": {"host": "llm-predictor", "port": {"number": 80}}, "weight": 100}]
    assert rule["mirror"]["host"] == "llm-challenger-predictor"
    assert rule["mirrorPercentage"] == {"value": 25}


def test_compose_waits_until_the_kit_is_there() -> None:
    (document,) = compose(deployment("triton"))

    services = document["services"]
    assert services["server"]["depends_on"] == {"unpack": {"condition": "service_completed_successfully"}}
    assert services["unpack"]["command"][:2] == ["unpack", KIT.pinned]
    assert services["server"]["volumes"][1]["volume"] == {"subpath": "model/m.onnx"}
    assert services["server"]["ports"] == ["127.0.0.1:8000:8000"]
    with pytest.raises(UsageError, match="mounts no csi"):
        compose(deployment(source="csi"))


def test_a_unit_is_one_that_systemd_reads(tmp_path: Path) -> None:
    command = replace(deployment().command, argv=("/bin/echo", 'a "b" $HOME 100%', "back\\slash"))
    text = systemd(deployment(command=command, served_name="50% off\nExecStart=/bin/evil"), mlkit="/bin/true")

    assert "RestartPreventExitStatus=2 4 5 8 11" in text
    assert text.count("\nExecStart=") == 1
    assert '"a \\"b\\" $$HOME 100%%" "back\\\\slash"' in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; the text is as expected")
    unit = tmp_path / "llm.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
    )
    assert "llm.service" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Digits Model_v2", "digits-model-v2"), ("größe", "gr-e"), ("---", "model"), ("x" * 99, "x" * 50)],
)
def test_the_name_of_an_object_comes_from_that_of_the_kit(text: str, expected: str) -> None:
    assert object_name(text) == expected
    assert check_object_name(expected, what="name") == expected


def test_what_clusters_do_not_take_is_refused() -> None:
    for name in ("", "A", "-a", "a-", "a.b", "a" * 64, "a\n"):
        with pytest.raises(UsageError, match="no DNS label"):
            check_object_name(name, what="--name")
    for amount in ("", "4 Gi", "4GiB", "-1", "1e3", "lots"):
        with pytest.raises(UsageError, match="no quantity"):
            check_quantity(amount, what="--memory")


def test_a_version_that_is_no_label_is_made_one() -> None:
    assert label_value("1.2+cu128") == "1.2_cu128"
    assert label_value("…") == ""
    assert (
        "app.kubernetes.io/version"
        not in kubernetes(deployment(kit=replace(KIT, version="…")))[0]["metadata"]["labels"]
    )


def test_memory_covers_the_model() -> None:
    assert estimated(16 << 30, gpus=1) == Resources("4", "24Gi", 1, "estimated from a model of 17,179,869,184 bytes")
    assert estimated(1 << 20, gpus=0).memory == "1026Mi"

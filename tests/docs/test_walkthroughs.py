"""What the docs tell people to type is run, in the order in which they read it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from tests.support import cluster_schemas
from tests.support.cli import write_project
from tests.support.reference_docs import ROOT
from tests.support.releases import Project
from tests.support.s3_server import CREDENTIALS, s3_server
from tests.support.tools import MAGIKA

import mlkit
from mlkit.content.layout import Layout
from mlkit.server import RunningRegistry
from mlkit.serving.probe import free_port


def run(script: str, folder: Path, **environ: str) -> str:
    """Run a script as a person would, stopping at the first command that fails; gives what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path, "MLKIT_PLAIN_HTTP_HOSTS": "loopback"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def bash_blocks(page: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[str]:
    with RunningRegistry(Layout.create(tmp_path / "registry")) as running:
        yield running.host


def test_the_tutorial_runs_as_written(tmp_path: Path, host: str) -> None:
    script = bash_blocks("docs/tutorial/first-kit.md").replace("localhost:5000", host)

    printed = run(script, tmp_path)

    assert "flowers:0.1" in printed
    assert "they differ" in printed


def test_the_how_to_for_partial_pulls_runs_as_written(tmp_path: Path, digits: Path, host: str) -> None:
    kit = f"{host}/team/digits:1.2"
    run(f"mlkit pack {digits} -t {kit} && mlkit push {kit}", tmp_path)

    printed = run(bash_blocks("docs/how-to/partial-pulls.md"), tmp_path, KIT=kit, MLKIT_HOME=str(tmp_path / "other"))

    assert "data/train.parquet" in printed
    assert sorted(path.name for path in (tmp_path / "data-only/data").iterdir()) == ["test.parquet", "train.parquet"]


def test_the_how_to_for_variants_runs_as_written(tmp_path: Path, digits: Path, host: str) -> None:
    kit = f"{host}/team/digits"
    run(
        f"mlkit pack {digits} -t {kit}:q4; echo >> {digits}/params.yaml; mlkit pack {digits} -t {kit}:q8",
        tmp_path,
    )

    printed = run(bash_blocks("docs/how-to/variants.md"), tmp_path, KIT=kit)

    assert "gpuArchs=" in printed
    assert (tmp_path / "out/params.yaml").read_text().endswith("\n\n")


def test_the_how_to_for_moving_kits_runs_as_written(tmp_path: Path, digits: Path, host: str) -> None:
    kit = f"{host}/team/digits:1.2"
    run(f"mlkit pack {digits} -t {kit} && mlkit push {kit}", tmp_path)

    with RunningRegistry(Layout.create(tmp_path / "second")) as second:
        printed = run(
            bash_blocks("docs/how-to/move-kits.md"),
            tmp_path,
            KIT=kit,
            HOST=second.host,
            MLKIT_HOME=str(tmp_path / "other"),
        )
        copied = run("mlkit list $HOST/prod/digits", tmp_path, HOST=second.host)

    assert printed.splitlines().count(kit) == 2, "what `load` prints"
    assert "1.2" in copied


def test_the_how_to_for_scans_runs_as_written(tmp_path: Path, digits: Path) -> None:
    home = tmp_path / "home"
    (home / "downloads").mkdir(parents=True)
    (home / "downloads/weights.pkl").write_bytes(b"cos\nsystem\n(S'echo pwned'\ntR.")
    settings = {"MLKIT_HOME": str(tmp_path / "store"), "HOME": str(home)}
    run(f"mlkit pack {digits} -t digits:1.2", tmp_path, **settings)

    printed = run(bash_blocks("docs/how-to/scan.md"), digits, **settings)

    assert "names os.system" in printed
    assert "exit 1: not clean" in printed
    assert "\nclean\n" in printed
    assert (digits / "out/Kitfile").is_file()


def test_the_how_to_for_editors_gets_the_schema_that_is_published(tmp_path: Path) -> None:
    run(bash_blocks("docs/how-to/editors.md"), tmp_path)

    published = (ROOT / "schemas/kitfile-v1.json").read_text(encoding="utf-8")
    assert (tmp_path / ".vscode/kitfile.json").read_text(encoding="utf-8") == published
    policy = (ROOT / "schemas/policy-v1.json").read_text(encoding="utf-8")
    assert (tmp_path / ".vscode/policy.json").read_text(encoding="utf-8") == policy


def test_the_how_to_for_policies_runs_as_written(tmp_path: Path, host: str) -> None:
    project = write_project(tmp_path / "digits")
    (project / "Kitfile").write_text((project / "Kitfile").read_text() + "parameters: [{path: params.yaml}]\n")
    (project / "params.yaml").write_text("lr: 0.1\n")
    (project / "model/weights.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    run("mlkit keygen -o release --no-password && mlkit keygen -o scanner --no-password", tmp_path)

    printed = run(bash_blocks("docs/how-to/policy.md"), tmp_path, HOST=host)

    assert "would be refused" in printed
    assert "there is no signature by release" in printed
    assert "verdict    met" in printed
    assert (tmp_path / "out/README.md").is_file()


def test_the_how_to_for_bills_of_materials_runs_as_written(tmp_path: Path, host: str) -> None:
    kit = f"{host}/team/digits:1.2"
    write_project(tmp_path / "digits")
    run(
        f"mlkit keygen -o release --no-password && mlkit pack digits -t {kit} && mlkit push {kit}",
        tmp_path,
    )

    printed = run(bash_blocks("docs/how-to/bills-of-materials.md"), tmp_path, KIT=kit)

    assert '"specVersion": "1.6"' in (tmp_path / "bom.json").read_text(encoding="utf-8")
    assert "signed by release.pub" in printed


def test_the_how_to_for_ci_runs_as_written(tmp_path: Path, digits: Path, host: str) -> None:
    run(bash_blocks("docs/how-to/ci.md"), digits, **_pipeline(host))

    assert '"digest"' in (digits / "packed.json").read_text(encoding="utf-8")


def test_the_how_to_for_serving_runs_as_written(tmp_path: Path, digits: Path) -> None:
    pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    run(f"mlkit pack {digits} -t digits:1.2", tmp_path)
    script = bash_blocks("docs/how-to/serve.md").replace("8080", str(free_port("127.0.0.1", 0)))

    printed = run(script, tmp_path)

    assert '"name":"pixels"' in printed.replace(" ", "")
    assert '"outputs":' in printed
    assert "ended with 143" in printed
    assert "pixel_scale" in printed
    assert (tmp_path / "profile.html").is_file()


def test_the_python_of_the_how_to_for_serving_runs_as_written(
    tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")
    run(f"mlkit pack {digits} -t digits:1.2", tmp_path)
    page = (ROOT / "docs/how-to/serve.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "serve.py").write_text(code)

    assert run("python serve.py", tmp_path).endswith(" onnx\n")


def test_the_how_to_for_watching_runs_as_written(tmp_path: Path, digits: Path) -> None:
    run(f"mlkit pack {digits} -t digits:1.2", tmp_path)
    page = (ROOT / "docs/how-to/watch.md").read_text(encoding="utf-8")
    commands = "\n".join(line.removeprefix("$ ") for line in page.splitlines() if line.startswith("$ "))

    printed = run(commands, tmp_path, OTEL_SDK_DISABLED="true")

    assert 'mlkit_last_run_success{command="unpack"} 1' in printed
    assert "--metrics-file" in page


def test_the_how_to_for_text_models_runs_as_written(tmp_path: Path) -> None:
    pytest.importorskip("kserve", reason="mlkit[onnx] is not installed")
    if not MAGIKA.is_dir():
        pytest.skip("magika could not be had: `make tools` fetches it")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = "docs/how-to/serve-a-text-model.md"
    version = MAGIKA.name.removeprefix("magika-")
    assert f"pip install --no-deps --target package magika=={version}\n" in (ROOT / page).read_text(encoding="utf-8")
    shutil.copytree(MAGIKA / "magika/models/standard_v3_3", tmp_path / "detector")
    shutil.copy(ROOT / "LICENSE", tmp_path / "detector")
    shutil.copy(ROOT / "examples/magika/ask.py", tmp_path)

    printed = run(bash_blocks(page).replace("8080", str(free_port("127.0.0.1", 0))), tmp_path)

    assert '"shape":[1,214]' in printed.replace(" ", "")
    assert re.findall(r"(\w+) +[01]\.\d{3} (\w+)\n", printed) == [("python", "one"), ("json", "two")]


@pytest.mark.parametrize("pipeline", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_lines_of_a_pipeline_run_as_written(digits: Path, host: str, pipeline: str) -> None:
    text = (ROOT / "examples/ci" / pipeline).read_text(encoding="utf-8")
    lines = [line.strip().removeprefix("- run: ").removeprefix("- ") for line in text.splitlines()]
    commands = [line for line in lines if line.startswith("mlkit ") and not line.startswith("mlkit login")]

    run("\n".join(commands), digits, **_pipeline(host))

    assert len(commands) == 3


def test_the_how_to_for_releases_runs_as_written(tmp_path: Path, host: str) -> None:
    project = Project(
        tmp_path / "project", mlkit.session(home=tmp_path / "store", plain_http=True), f"{host}/team/digits"
    )
    for version in ("1.0", "1.1", "1.2"):
        project.release(version)
    project.session.close()

    printed = run(bash_blocks("docs/how-to/release.md"), tmp_path, KIT=project.repository)

    assert "rolled back" in printed
    assert "wrong answers since noon" in printed
    assert "What runs where" in (tmp_path / "status.html").read_text(encoding="utf-8")
    assert "production is there" in printed


def test_the_how_to_for_promotion_gates_runs_as_written(tmp_path: Path, host: str) -> None:
    project = write_project(tmp_path / "project")
    with (project / "Kitfile").open("a", encoding="utf-8") as kitfile:
        kitfile.write("checks:\n  - {name: accuracy, run: [python3, src/evaluate.py], metrics: metrics.json,")
        kitfile.write(" bounds: [accuracy >= 0.9]}\n")
    (project / "src/evaluate.py").write_text("open('metrics.json', 'w').write('{\"accuracy\": 0.95}')\n")
    header = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}'
    (project / "model/weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"abcd")

    printed = run(
        bash_blocks("docs/how-to/ci-promotion-gates.md"),
        project,
        KIT=f"{host}/team/digits",
        VERSION="1.2",
        PROBE="true",
    )

    assert "accuracy >= 0.9: 0.95" in printed
    assert "required: checks, scan, signature" in printed
    assert "signed by ci" in printed


def test_the_example_of_a_rollback_ends_on_the_good_version_by_itself(tmp_path: Path) -> None:
    printed = run(f"{sys.executable} {ROOT / 'examples/rollback/demo.py'}", tmp_path)

    assert "probe 3 failed" in printed
    assert "ROLLED BACK" in printed
    assert "Done: production is at 1.0 again" in printed


def test_the_demo_tells_its_story(tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx", reason="the packages of the example are not installed")

    printed = run(f"{sys.executable} {ROOT / 'examples/digits/demo.py'}", tmp_path)

    assert "every sha256 matches" in printed
    assert printed.count("accuracy 0.9") == 2


def _pipeline(host: str) -> Mapping[str, str]:
    return {"IMAGE": f"{host}/team/digits", "VERSION": "1.2"}


def test_the_how_to_for_recording_origins_runs_as_written(tmp_path: Path, host: str) -> None:
    for path in ("data/train.csv", "model/weights.safetensors", "base/b.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(path)
    base = f"{host}/team/base:3"
    run(f"mlkit pack base -t {base} && mlkit push {base} && rm -r base", tmp_path)
    page = (ROOT / "docs/how-to/record-origins.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "train.py").write_text(block.replace("registry.example/team/base:3", base))

    run("python train.py && grep -q base-model .mlkit/runs/train.json", tmp_path)
    printed = run(bash_blocks("docs/how-to/record-origins.md"), tmp_path)

    assert ".mlkit/runs/train.json" in printed
    assert "sha256:" in printed


def test_the_how_to_for_remote_datasets_runs_as_written(tmp_path: Path, host: str) -> None:
    page = (ROOT / "docs/how-to/remote-datasets.md").read_text(encoding="utf-8").replace("registry.example", host)
    named = [
        item
        for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
        for item in yaml.safe_load(block)["datasets"]
    ]
    (tmp_path / "flowers").mkdir()
    (tmp_path / "flowers/Kitfile").write_text(yaml.safe_dump({"docs": [{"path": "README.md"}], "datasets": named}))
    (tmp_path / "flowers/README.md").write_text("# Flowers\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/Kitfile").write_text("datasets: [{path: rows.csv}]\n")
    (tmp_path / "data/rows.csv").write_text("1,2\n")
    with s3_server() as url:
        settings = {**CREDENTIALS, "AWS_ENDPOINT_URL": url}
        client = pytest.importorskip("boto3").client(
            "s3",
            endpoint_url=url,
            region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket="flowers")
        client.put_object(Bucket="flowers", Key="v3/images.tar", Body=b"test")
        for folder, kit in (("data", "flowers-data:3"), ("flowers", "flowers:1")):
            run(f"mlkit pack {folder} -t {host}/team/{kit} && mlkit push {host}/team/{kit}", tmp_path, **settings)

        fetch = "\n".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL))
        run(fetch, tmp_path, MLKIT_HOME=str(tmp_path / "other"), **settings)

    assert (tmp_path / "out/data/images.tar").read_bytes() == b"test"
    assert (tmp_path / "out/data/train/rows.csv").read_text() == "1,2\n"
    listed = run("mlkit list", tmp_path, MLKIT_HOME=str(tmp_path / "other"))
    assert "flowers-data" not in listed, "under no name"


def test_the_how_to_for_gpu_serving_runs_as_written_and_every_document_is_valid(tmp_path: Path, host: str) -> None:
    for version in ("1", "2"):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model/config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
        (tmp_path / "model/model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}" + version.encode())
        (tmp_path / "Kitfile").write_text("package: {name: llm}\nmodel: {path: model, name: llm}\n")
        run(f"mlkit pack . -t {host}/team/llm:{version} && mlkit push {host}/team/llm:{version}", tmp_path)

    run(
        bash_blocks("docs/how-to/gpu-serving.md"),
        tmp_path,
        KIT=f"{host}/team/llm:1",
        CHALLENGER=f"{host}/team/llm:2",
        INIT_IMAGE="registry.example/mlkit:0.1",
    )

    for name in ("deployment.yaml", "kserve.yaml", "knative.yaml", "shadow.yaml"):
        documents = list(yaml.safe_load_all((tmp_path / name).read_text()))
        assert "vllm" in str(documents)
        for document in documents:
            if document["kind"] != "VirtualService":
                cluster_schemas.check(document)
    assert "service_completed_successfully" in (tmp_path / "compose.yaml").read_text()
    assert "ExecStart=" in (tmp_path / "llm.service").read_text()


def test_the_how_to_for_images_runs_as_written(tmp_path: Path, digits: Path, host: str) -> None:
    (tmp_path / "base").mkdir()
    kit, base = f"{host}/team/digits:1.2", f"{host}/library/server:1"
    run(f"mlkit pack {digits} -t {kit} && mlkit push {kit}", tmp_path)
    run(f"mlkit image build {kit} --base scratch --filter docs -t {base} --entrypoint /server", tmp_path)
    run("mlkit keygen -o signing", tmp_path, MLKIT_KEY_PASSWORD="secret")
    environ = {"KIT": kit, "BASE": base, "TARGET": f"{host}/serving/digits:1.2", "KEY": "signing.key"}

    printed = run(bash_blocks("docs/how-to/images.md"), tmp_path, MLKIT_KEY_PASSWORD="secret", **environ)

    assert '"moved_bytes": 0' in printed
    assert (tmp_path / "image.tar").stat().st_size > 10_000
    assert (tmp_path / "image/index.json").is_file()


def test_the_how_to_for_repairs_runs_as_written(tmp_path: Path, host: str) -> None:
    printed = run(
        bash_blocks("docs/how-to/repair-a-store.md"),
        tmp_path,
        KIT=f"{host}/team/numbers:1",
        MLKIT_HOME=str(tmp_path / "store"),
    )

    assert printed.count("exit code 10") == 3
    assert "datasets[0] data.csv" in printed
    assert "team/numbers:1" in printed.splitlines()[-1]


def test_the_how_to_for_signing_runs_as_written(tmp_path: Path, host: str) -> None:
    kit = f"{host}/team/digits:1.2"
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits/Kitfile").write_text("model: {path: m.onnx}\nparameters: [{path: params.yaml}]\n")
    (tmp_path / "digits/m.onnx").write_text("weights")
    (tmp_path / "digits/params.yaml").write_text("depth: 3\n")
    run(f"mlkit pack digits -t {kit} --push", tmp_path)

    printed = run(bash_blocks("docs/how-to/sign-and-verify.md"), tmp_path, KIT=kit)

    assert "refused with 8" in printed
    assert "https://slsa.dev/provenance/v1" in printed
    assert (tmp_path / "verified/params.yaml").is_file()
    assert printed.rindex("ATTACHED") > printed.rindex("https://team.example/review/v1") - 2000

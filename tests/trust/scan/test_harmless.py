"""No false alarm: files as people have them, most of them made by the libraries themselves."""

from __future__ import annotations

import collections
import datetime
import decimal
import io
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy
import pytest
from tests.packing import weights
from tests.trust.scan.checkpoints import plain_zip, state_dict, tar_of, torch_legacy, torch_zip
from tests.trust.scan.pickles import look, verdict

from mlkit.trust.scan.findings import Severity, Verdict

ROOT = Path(__file__).parents[3]


@cache
def _digits() -> tuple[Any, Any]:
    datasets = pytest.importorskip("sklearn.datasets", reason="the packages of the example are not installed")
    found: tuple[Any, Any] = datasets.load_digits(return_X_y=True)
    return found[0][:200], found[1][:200]


def _estimators() -> Iterator[Any]:
    from sklearn.cluster import KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.ensemble import (
        GradientBoostingClassifier,
        HistGradientBoostingClassifier,
        IsolationForest,
        RandomForestClassifier,
    )
    from sklearn.feature_selection import SelectKBest
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    yield make_pipeline(StandardScaler(), SelectKBest(k=20), LogisticRegression(max_iter=20))
    yield RandomForestClassifier(5, random_state=numpy.random.RandomState(1))
    yield GradientBoostingClassifier(n_estimators=2)
    yield HistGradientBoostingClassifier(max_iter=2)
    yield IsolationForest(n_estimators=3)
    yield SVC(probability=False)
    yield KNeighborsClassifier(algorithm="kd_tree")
    yield KMeans(3, n_init=1)
    yield PCA(5)
    yield GaussianNB()
    yield MLPClassifier((5,), max_iter=2)
    yield SGDClassifier(max_iter=5)
    yield GaussianProcessRegressor()
    yield GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-8]}, cv=2)
    yield ColumnTransformer([("a", OneHotEncoder(handle_unknown="ignore"), [0]), ("b", MinMaxScaler(), [1, 2])])


@cache
def _fitted() -> tuple[Any, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(estimator.fit(*_digits()) for estimator in _estimators())


@pytest.mark.parametrize("number", range(15))
def test_models_of_scikit_learn_are_clean(number: int) -> None:
    _digits()
    model = _fitted()[number]
    for protocol in (0, 2, 4, 5):
        assert look(pickle.dumps(model, protocol=protocol), "model.pkl").findings == ()
    for compress in (0, 3, ("bz2", 3), ("lzma", 3)):
        stream = io.BytesIO()
        joblib.dump(model, stream, compress=compress)
        assert look(stream.getvalue(), "model.joblib").findings == ()


def _saved(save: Callable[..., object], *args: Any, **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *args, **kwargs)
    return stream.getvalue()


def _gguf(tmp_path: Path) -> bytes:
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_context_length(128)
    writer.add_chat_template("{% for message in messages %}{{ message['role'] }}{% endfor %}")
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", numpy.ones((4, 32), numpy.float32))
    writer.add_tensor("output.weight", numpy.ones((4, 32), numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return (tmp_path / "m.gguf").read_bytes()


def _safetensors(_: Path) -> bytes:
    library = pytest.importorskip("safetensors.numpy")
    raw = library.save({"a": numpy.ones((3, 4), numpy.float16), "b": numpy.zeros(0), "c": numpy.array(1)})
    assert isinstance(raw, bytes)
    return raw


def _lightgbm(*, as_text: bool) -> bytes:
    library = pytest.importorskip("lightgbm", exc_type=ImportError)
    x, y = _digits()
    model = library.LGBMClassifier(n_estimators=2, verbose=-1).fit(x, y)
    return model.booster_.model_to_string().encode() if as_text else pickle.dumps(model)


def _onnx(_: Path) -> bytes:
    skl2onnx = pytest.importorskip("skl2onnx")
    raw = skl2onnx.to_onnx(_fitted()[0], _digits()[0][:1].astype(numpy.float32)).SerializeToString()
    assert isinstance(raw, bytes)
    return raw


def _parquet(_: Path) -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    return _saved(lambda stream: parquet.write_table(pyarrow.table({"a": [1, 2], "b": ["x", "y"]}), stream))


_TEMPLATE = (ROOT / "tests/trust/scan/chat_template.jinja").read_text(encoding="utf-8")
_VALUES = {
    "ordered": collections.OrderedDict(a=1),
    "default": collections.defaultdict(list, a=[1]),
    "when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "exact": decimal.Decimal("1.5"),
    "bytes": b"\x80\x04" + bytes(40),
    "set": {1, 2},
    "big": 1 << 90,
    "array": numpy.arange(5),
    "names": numpy.array(["a", "b"]),
    "objects": numpy.array([1, "a", None], dtype=object),
    "scalar": numpy.float64(1.5),
    "fields": numpy.zeros(2, dtype=[("a", "f4"), ("b", "i8", (2,))]),
}
FILES: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "state dict": ("m.pt", lambda _: torch_zip()),
    "state dict with many storages": ("m.bin", lambda _: torch_zip(storages=50, root="pytorch_model")),
    "state dict of halves": ("m.pth", lambda _: torch_zip(state_dict({"w": ("HalfStorage", [2, 3, 4])}), root="m")),
    "state dict in a plain ZIP": ("m.ckpt", lambda _: plain_zip({"m/data.pkl": state_dict(), "m/data/0": b"\1" * 64})),
    "state dict of an old PyTorch": ("m.pt", lambda _: torch_legacy()),
    "values of Python": ("v.pkl", lambda _: pickle.dumps(_VALUES)),
    "values of Python 2": ("v.pkl", lambda _: pickle.dumps({"a": {1}, "b": "ü", "c": b"x", "d": 1.5}, protocol=0)),
    "joblib of arrays": ("v.joblib", lambda _: _saved(lambda stream: joblib.dump(_VALUES, stream))),
    "joblib of many arrays": ("v.joblib", lambda _: _saved(lambda stream: joblib.dump(
        [numpy.random.default_rng(n).standard_normal((n, 7)) for n in range(40)], stream))),
    "two pickles": ("v.pkl", lambda _: pickle.dumps([1]) + pickle.dumps([2])),
    "npy": ("x.npy", lambda _: _saved(numpy.save, numpy.arange(20).reshape(4, 5))),
    "npy of fields": ("x.npy", lambda _: _saved(numpy.save, _VALUES["fields"])),
    "npy in the order of Fortran": ("x.npy", lambda _: _saved(numpy.save, numpy.asfortranarray(numpy.ones((3, 4))))),
    "npz": ("x.npz", lambda _: _saved(numpy.savez, a=numpy.ones(3), b=numpy.array("text"))),
    "npz, compressed": ("x.npz", lambda _: _saved(numpy.savez_compressed, a=numpy.ones((200, 200)))),
    "safetensors": ("m.safetensors", _safetensors),
    "safetensors with metadata": ("m.safetensors", lambda _: weights.safetensors(metadata={"format": "pt"})),
    "GGUF": ("m.gguf", _gguf),
    "ONNX": ("m.onnx", _onnx),
    "ONNX with data beside it": ("m.onnx", lambda _: weights.onnx(external="model.onnx_data")),
    "LightGBM": ("m.pkl", lambda _: _lightgbm(as_text=False)),
    "LightGBM as text": ("m.txt", lambda _: _lightgbm(as_text=True)),
    "XGBoost as JSON": ("m.json", lambda _: b'{"learner":{"gradient_booster":{"model":{}}},"version":[2,1,1]}'),
    "XGBoost as UBJSON": ("m.ubj", lambda _: b"{L\0\0\0\0\0\0\0\x07learner{L\0\0\0\0\0\0\0\x04nameSU\x01x}}"),
    "XGBoost, old": ("m.model", lambda _: b"binf" + bytes(range(200))),
    "parquet": ("x.parquet", _parquet),
    "CSV": ("x.csv", lambda _: b"class,a,b\n1,2,3\n"),
    "labels": ("labels.txt", lambda _: b"car\nbus\ntrain\n" * 30),
    "words that look like opcodes": ("words.txt", lambda _: b"(I do\n.\nN.\ncat\ndog\n0\n" * 5),
    "tokenizer": ("tokenizer.json", lambda _: json.dumps({"model": {"vocab": {"__init__": 1, "</s>": 2}}}).encode()),
    "config": ("config.json", lambda _: b'{"architectures": ["LlamaForCausalLM"], "auto_map": {}}'),
    "index of shards": ("model.safetensors.index.json", lambda _: b'{"weight_map": {"a": "model-1.safetensors"}}'),
    "template": ("chat_template.jinja", lambda _: _TEMPLATE.encode()),
    "YAML": ("params.yaml", lambda _: b"lr: 0.1\nname: !!str 5\n"),
    "tar of data": ("data.tar", lambda _: tar_of({"0001.jpg": b"\xff\xd8\xff\xe0" + bytes(99), "0001.json": b"{}"})),
    "Keras": ("m.keras", lambda _: plain_zip({"metadata.json": b"{}", "model.weights.h5": weights.hdf5(), "config.json":
        b'{"module":"keras","class_name":"Sequential","config":{"layers":[{"module":"keras.layers","class_name":"Dense",'
        b'"config":{"kernel_initializer":{"module":"keras.initializers","class_name":"GlorotUniform","config":{}}}}]}}'})),
    "Keras in HDF5": ("m.h5", lambda _: weights.hdf5(b'{"class_name": "Sequential", "module": "keras.layers"}')),
    "image": ("x.png", lambda _: b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8),
    "random bytes": ("x.bin", lambda _: numpy.random.default_rng(7).bytes(100_000)),
    "nothing": ("empty.pkl", lambda _: b""),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_harmless_files_are_clean(case: str, tmp_path: Path) -> None:
    name, make = FILES[case]
    if case in ("LightGBM", "LightGBM as text", "ONNX"):
        _digits()

    raw = make(tmp_path)

    assert [one for one in look(raw, name).findings if one.severity >= Severity.LOW] == []
    assert verdict(raw, name) is Verdict.CLEAN


def test_the_storages_of_a_checkpoint_may_hold_any_bytes() -> None:
    """What begins like a pickle by chance is none, as long as it names nothing."""
    generator = numpy.random.default_rng(3)
    members = {"m/data.pkl": state_dict()}
    for number, head in enumerate((b"\x80\x04", b"\x80\x02c", b"(", b"x\x9c", b"\x1f\x8b", b"cab\ncd\n", b"I")):
        members[f"m/data/{number}"] = head + generator.bytes(500)

    assert verdict(plain_zip(members), "m.pt") is Verdict.CLEAN


def test_the_example_is_clean(trained: Path) -> None:
    for path in sorted(trained.rglob("*")):
        if path.is_file():
            found = look(path.read_bytes(), path.name)
            assert [one for one in found.findings if one.severity >= Severity.LOW] == [], path

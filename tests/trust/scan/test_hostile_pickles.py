"""E01 to E23 of threats.md: what a pickle can do, and the ways around scanners that look for it."""

from __future__ import annotations

import pickle

import pytest
from tests.trust.scan.pickles import (
    call,
    called,
    data,
    look,
    messages,
    old,
    rules,
    severity,
    stack_global,
    text,
    verdict,
)

from mlkit.trust.scan.findings import Severity, Verdict

BAD = text("echo pwned")


def words(names: str) -> list[str]:
    return names.split()


def test_e01_a_command_by_global_and_reduce_is_critical() -> None:
    raw = old("os", "system", "echo pwned")

    assert severity(raw) is Severity.CRITICAL
    assert messages(raw) == "names os.system"


@pytest.mark.parametrize("protocol", range(6))
def test_e02_a_command_in_every_protocol_is_critical(protocol: int) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return eval, ("1",)

    assert severity(pickle.dumps({"weights": Evil()}, protocol=protocol)) is Severity.CRITICAL


def test_e03_names_out_of_the_memo_are_followed() -> None:
    raw = b"\x80\x04" + text("system") + b"\x940" + text("os") + b"\x94" + b"h\x00" + b"\x93(" + BAD + b"tR."

    assert messages(raw) == "names os.system"


def test_names_that_the_memo_changes_meanwhile_are_followed() -> None:
    raw = b"\x80\x02" + text("collections") + b"q\x000" + text("os") + b"q\x000h\x00" + text("popen") + b"\x93."

    assert messages(raw) == "names os.popen"


def test_e04_inst_is_a_call() -> None:
    assert messages(b"(S'echo pwned'\nios\nsystem\n.") == "names os.system"


def test_e05_obj_is_a_call() -> None:
    assert messages(b"(cos\nsystem\nS'echo pwned'\no.") == "names os.system"


def test_e06_newobj_makes_a_process() -> None:
    raw = b"\x80\x04" + stack_global("subprocess", "Popen") + BAD + b"\x85\x81."

    assert severity(raw) is Severity.CRITICAL


def test_e07_modules_by_importlib_are_critical() -> None:
    raw = called("importlib", "import_module", text("os"))

    assert severity(raw) is Severity.CRITICAL


def test_e08_names_by_pkgutil_are_critical() -> None:
    raw = called("pkgutil", "resolve_name", text("os:system"))

    assert severity(raw) is Severity.CRITICAL


@pytest.mark.parametrize("name", ["eval", "exec", "compile", "__import__", "open", "getattr", "setattr", "breakpoint"])
def test_e09_builtins_that_run_or_reach_are_critical(name: str) -> None:
    assert severity(called("builtins", name, BAD)) is Severity.CRITICAL


def test_e10_a_pickle_in_a_pickle_is_found_with_its_loader() -> None:
    inner = old("os", "system", "echo pwned")

    raw = called("pickle", "loads", data(inner))

    assert severity(raw) is Severity.CRITICAL


def test_a_pickle_in_a_pickle_is_found_without_a_loader() -> None:
    inner = called("os", "system", BAD)

    raw = b"\x80\x04" + data(inner) + b"."

    (finding,) = look(raw).findings
    assert (finding.path, finding.message) == ("model.pkl!bytes", "names os.system")


def test_e11_the_state_of_an_array_is_followed() -> None:
    array = call("numpy._core.multiarray", "_reconstruct", stack_global("numpy", "ndarray"), b"K\0\x85", data(b"b"))
    state = b"(K\1K\1\x85" + call("numpy", "dtype", text("O8")) + b"\x89]" + call("os", "system", BAD) + b"at"

    assert severity(b"\x80\x04" + array + state + b"b.") is Severity.CRITICAL


def test_state_set_on_a_class_is_odd() -> None:
    raw = b"\x80\x04" + stack_global("collections", "OrderedDict") + b"N}" + text("items") + b"Ns\x86b."

    assert rules(raw) == {"pickle-odd"}


@pytest.mark.parametrize("code", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_e12_extension_codes_are_flagged(code: bytes) -> None:
    assert "pickle-extension" in rules(b"\x80\x02" + code + b")R.")


def test_e13_a_second_pickle_is_followed_too() -> None:
    raw = pickle.dumps({"weights": [1.0]}) + called("os", "system", BAD)

    assert severity(raw) is Severity.CRITICAL


def test_bytes_after_a_pickle_that_are_none_are_told() -> None:
    assert rules(pickle.dumps({"weights": [1.0]}) + b"\xff\xfe something") == {"pickle-trailing"}


@pytest.mark.parametrize(
    ("module", "name"),
    [("numpy", "core.os.system"), ("collections", "abc.sys.modules"), ("torch", "hub.load"), ("builtins", "dict.get")],
)
def test_e14_a_dot_in_a_name_is_never_taken_for_the_shorter_one(module: str, name: str) -> None:
    assert verdict(called(module, name, BAD)) is Verdict.FINDINGS


LIBRARIES = """
    torch.hub.load torch.load torch.serialization.load torch.jit.unsupported_tensor_ops.execWrapper
    torch.utils.bottleneck.__main__.run_cprofile torch._dynamo.guards.GuardBuilder.get
    torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
    torch._inductor.codecache.compile_file torch.utils._config_module.ConfigModule.load_config
    torch.distributed.rpc.rpc_sync numpy.f2py.crackfortran.getlincoef numpy.testing._private.utils.runstring
    numpy.load numpy.memmap numpy.core.memmap.memmap joblib.load joblib.parallel.Parallel pandas.eval
    pandas.io.common.get_handle sklearn.utils.parallel._FuncWrapper scipy.io.loadmat xgboost.core._load_lib
"""
GADGETS = """
    timeit.timeit cProfile.run profile.run pdb.run bdb.Bdb trace.Trace doctest.debug_script code.interact
    codeop.compile_command runpy.run_path runpy._run_code pty.spawn webbrowser.open platform.popen
    asyncio.unix_events._UnixSubprocessTransport ctypes.CDLL multiprocessing.process.Process threading.Thread
    marshal.loads types.FunctionType types.CodeType logging.config.dictConfig
    idlelib.pyshell.ModifiedInterpreter lib2to3.pgen2.grammar.Grammar ensurepip._run_pip shutil.rmtree
    tempfile.NamedTemporaryFile socket.create_connection http.client.HTTPConnection urllib.request.urlopen
    smtplib.SMTP ftplib.FTP sqlite3.connect zipimport.zipimporter linecache.updatecache
    distutils.file_util.write_file imaplib.IMAP4_stream test.support.script_helper.assert_python_ok
    uuid._get_command_stdout pydoc.pipepager _pyrepl.pager.pipe_pager sys.settrace gc.get_objects signal.signal
    inspect.getsource os.popen posix.system nt.system subprocess.check_output io.open _io.FileIO
"""


@pytest.mark.parametrize("gadget", words(GADGETS))
def test_e15_the_standard_library_is_no_way_in(gadget: str) -> None:
    module, _, name = gadget.rpartition(".")

    assert severity(called(module, name, BAD)) >= Severity.HIGH


@pytest.mark.parametrize("gadget", ["pip.main", "pip._internal.main", "pip._internal.cli.main.main"])
def test_pip_that_installs_from_a_pickle_is_critical(gadget: str) -> None:
    """CVE-2025-1716."""
    module, _, name = gadget.rpartition(".")

    assert severity(called(module, name, b"]" + text("install") + b"a")) is Severity.CRITICAL


@pytest.mark.parametrize("tail", [b"", b"\xff", b"0" * 9, b"h\x63.", b"\x95", b"X\xff\xff\xff\x7f", b"(", b"\x80\x09"])
def test_e16_what_ran_before_a_pickle_breaks_is_told(tail: bytes) -> None:
    raw = called("os", "system", BAD)[:-1] + tail

    assert severity(raw) is Severity.CRITICAL
    assert "pickle-broken" in rules(raw)


def test_e17_functions_with_arguments_are_flagged() -> None:
    assert severity(called("functools", "partial", stack_global("builtins", "list"))) is Severity.CRITICAL


@pytest.mark.parametrize("name", ["attrgetter", "methodcaller", "itemgetter", "call"])
def test_e18_operators_that_reach_attributes_are_flagged(name: str) -> None:
    assert severity(called("operator", name, text("__globals__"))) is Severity.CRITICAL
    assert severity(called("_operator", name, text("__globals__"))) is Severity.CRITICAL


def test_e19_chains_of_getattr_are_flagged() -> None:
    chain = call("builtins", "getattr", stack_global("collections", "OrderedDict"), text("__init__"))

    assert severity(b"\x80\x04" + chain + b".") is Severity.CRITICAL


def test_e20_a_name_that_is_made_while_loading_is_odd() -> None:
    made = call("builtins", "str", text("os"))

    raw = b"\x80\x04" + made + text("system") + b"\x93(" + BAD + b"tR."

    assert "pickle-odd" in rules(raw)
    assert verdict(raw) is Verdict.FINDINGS


def test_a_call_of_what_was_made_is_odd() -> None:
    raw = b"\x80\x04" + call("collections", "OrderedDict") + b")R."

    assert rules(raw) == {"pickle-odd"}


@pytest.mark.parametrize(
    ("module", "name", "meant"),
    [
        ("__builtin__", "eval", "builtins.eval"),
        ("__builtin__", "reduce", "functools.reduce"),
        ("commands", "getoutput", "subprocess.getoutput"),
        ("urllib2", "urlopen", "urllib.request.urlopen"),
        ("cPickle", "loads", "pickle.loads"),
    ],
)
def test_e21_names_of_python_2_are_those_that_python_3_looks_up(module: str, name: str, meant: str) -> None:
    assert messages(old(module, name, "1")) == f"names {meant}"
    assert severity(old(module, name, "1")) is Severity.CRITICAL


def test_after_protocol_3_the_names_of_python_2_are_whatever_a_file_brings() -> None:
    raw = b"\x80\x04c__builtin__\nset\n)R."

    assert messages(raw) == "names __builtin__.set"
    assert verdict(b"\x80\x02c__builtin__\nset\n)R.") is Verdict.CLEAN


def test_the_protocol_that_counts_is_the_last_one_before_the_name() -> None:
    raw = b"\x80\x02\x80\x04c__builtin__\nset\n)R."

    assert verdict(raw) is Verdict.FINDINGS


@pytest.mark.parametrize("library", ["dill", "cloudpickle"])
def test_e22_functions_that_travel_with_their_code_are_critical(library: str) -> None:
    module = pytest.importorskip(library)
    space: dict[str, object] = {"__name__": "__main__"}
    exec("def f(x): return x + 1", space)

    assert severity(module.dumps(space["f"])) is Severity.CRITICAL


@pytest.mark.parametrize("gadget", words(LIBRARIES))
def test_e23_libraries_of_machine_learning_are_no_way_in(gadget: str) -> None:
    module, _, name = gadget.rpartition(".")

    assert verdict(called(module, name, BAD)) is Verdict.FINDINGS


def test_bytes_that_pytorch_loads_are_followed() -> None:
    inner = old("os", "system", "echo pwned").replace(b"c", b"\x80\x02c", 1)

    assert severity(called("torch.storage", "_load_from_bytes", data(inner))) is Severity.CRITICAL


def test_bytes_that_pytorch_loads_and_nobody_knows_are_odd() -> None:
    made = call("builtins", "bytes", b"]K\x01a")

    assert rules(called("torch.storage", "_load_from_bytes", made)) == {"pickle-odd"}

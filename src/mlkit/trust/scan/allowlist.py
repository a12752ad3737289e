"""What a pickle may name and still be called harmless: exact names, each looked at, none by its package alone.

A name is here when neither importing it, nor calling it with anything that a pickle can make out of the names that
stand here, does more than make a value. That is why `functools.partial`, `operator.attrgetter`, `builtins.getattr`,
`numpy.load` and `torch.load` are not, and no function that takes the name of another one as text. A dot in a name walks
from one attribute to the next, so a name with a dot is never matched by a shorter one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from typing import Final

from mlkit.trust.scan.allowlist_sklearn import ESTIMATORS
from mlkit.trust.scan.findings import Severity

_PLAIN: Final = """
builtins: bool bytearray bytes complex dict float frozenset int list object range set slice str tuple Ellipsis
    NotImplemented
collections: Counter OrderedDict defaultdict deque ChainMap
copyreg: _reconstructor __newobj__ __newobj_ex__
datetime: date datetime time timedelta timezone
decimal: Decimal
fractions: Fraction
array: array _array_reconstructor
uuid: UUID SafeUUID
pathlib: PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath
pathlib._local: PurePath PurePosixPath PureWindowsPath Path PosixPath WindowsPath
random: Random
types: SimpleNamespace
_codecs: encode
"""
# No numpy.memmap, which opens files for writing. `_codecs.encode` is what protocol 2 writes for bytes; its arguments
# are looked at.
_NUMPY: Final = """
numpy: ndarray dtype matrix recarray record bool_ bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 intc uintc
    int_ uint intp uintp longlong ulonglong float16 float32 float64 float_ longdouble complex64 complex128 clongdouble
    str_ bytes_ void object_ datetime64 timedelta64 generic number nan inf pi e newaxis
    abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh cbrt ceil clip conj cos cosh deg2rad divide
    exp exp2 expm1 fabs floor fmax fmin fmod hypot identity isfinite isnan log log10 log1p log2 logaddexp maximum mean
    median min max minimum mod multiply negative positive power rad2deg reciprocal rint sign sin sinh sqrt square std
    subtract sum tan tanh true_divide trunc var asarray nan_to_num
numpy.core.multiarray: _reconstruct scalar
numpy._core.multiarray: _reconstruct scalar
numpy.core.numeric: _frombuffer
numpy._core.numeric: _frombuffer
numpy.matrixlib.defmatrix: matrix
numpy.ma.core: MaskedArray MaskedConstant _mareconstruct
numpy.ma: _mareconstruct MaskedArray
numpy.rec: recarray record
numpy.core.records: recarray record
numpy._core.records: recarray record
numpy.dtypes: BoolDType ByteDType BytesDType CLongDoubleDType Complex128DType Complex64DType DateTime64DType
    Float16DType Float32DType Float64DType Int16DType Int32DType Int64DType Int8DType IntDType LongDType
    LongDoubleDType LongLongDType ObjectDType ShortDType StrDType StringDType TimeDelta64DType UByteDType
    UInt16DType UInt32DType UInt64DType UInt8DType UIntDType ULongDType ULongLongDType UShortDType VoidDType
numpy.random._pickle: __bit_generator_ctor __generator_ctor __randomstate_ctor
numpy.random: __RandomState_ctor RandomState Generator
numpy.random.mtrand: RandomState
numpy.random._generator: Generator
numpy.random._mt19937: MT19937
numpy.random._pcg64: PCG64 PCG64DXSM
numpy.random._philox: Philox
numpy.random._sfc64: SFC64
numpy.random.bit_generator: SeedSequence __pyx_unpickle_SeedSequence
numpy.polynomial.polynomial: Polynomial
numpy.polynomial.chebyshev: Chebyshev
"""
_SCIPY: Final = """
scipy.sparse._csr: csr_matrix csr_array
scipy.sparse._csc: csc_matrix csc_array
scipy.sparse._coo: coo_matrix coo_array
scipy.sparse._lil: lil_matrix lil_array
scipy.sparse._dok: dok_matrix dok_array
scipy.sparse._dia: dia_matrix dia_array
scipy.sparse._bsr: bsr_matrix bsr_array
scipy.sparse.csr: csr_matrix
scipy.sparse.csc: csc_matrix
scipy.sparse.coo: coo_matrix
scipy.sparse.lil: lil_matrix
scipy.sparse.dok: dok_matrix
scipy.sparse.dia: dia_matrix
scipy.sparse.bsr: bsr_matrix
scipy.interpolate._interpolate: interp1d PPoly
scipy.interpolate.interpolate: interp1d
scipy.interpolate._bsplines: BSpline
scipy.spatial._ckdtree: cKDTree
scipy.spatial._kdtree: KDTree
scipy.special._ufuncs: expit logit
scipy._lib.array_api_compat.numpy._aliases: asarray
"""
_PANDAS: Final = """
pandas.core.frame: DataFrame
pandas.core.series: Series
pandas: DataFrame Series Index RangeIndex Timestamp Timedelta
pandas.core.internals.managers: BlockManager SingleBlockManager
pandas.core.internals.blocks: new_block
pandas._libs.internals: _unpickle_block BlockManager
pandas.core.indexes.base: Index _new_Index
pandas.core.indexes.range: RangeIndex
pandas.core.indexes.multi: MultiIndex
pandas.core.indexes.datetimes: DatetimeIndex _new_DatetimeIndex
pandas.core.indexes.numeric: Int64Index Float64Index UInt64Index
pandas.core.indexes.category: CategoricalIndex
pandas.core.arrays.categorical: Categorical
pandas.core.arrays.integer: IntegerArray
pandas.core.arrays.string_: StringArray StringDtype
pandas.core.arrays.datetimes: DatetimeArray
pandas.core.dtypes.dtypes: CategoricalDtype
pandas._libs.arrays: __pyx_unpickle_NDArrayBacked
pandas._libs.tslibs.timestamps: _unpickle_timestamp
"""
_LEARNING: Final = """
joblib.numpy_pickle: NumpyArrayWrapper
sklearn.metrics._dist_metrics: newObj
sklearn.neighbors._kd_tree: newObj
sklearn.neighbors._ball_tree: newObj
sklearn.neighbors._dist_metrics: newObj EuclideanDistance MinkowskiDistance ManhattanDistance
sklearn.cluster._kmeans: _kmeans_single_lloyd _kmeans_single_elkan
sklearn.feature_selection._univariate_selection: f_classif f_regression f_oneway chi2 r_regression
sklearn.feature_selection._mutual_info: mutual_info_classif mutual_info_regression
sklearn.metrics._classification: accuracy_score balanced_accuracy_score f1_score log_loss precision_score recall_score
sklearn.metrics._regression: mean_absolute_error mean_squared_error r2_score median_absolute_error
sklearn.metrics._ranking: roc_auc_score average_precision_score
sklearn.metrics.pairwise: rbf_kernel linear_kernel polynomial_kernel cosine_similarity euclidean_distances
sklearn.feature_extraction._stop_words: ENGLISH_STOP_WORDS
sklearn._loss._loss: __pyx_unpickle_CyHalfSquaredError __pyx_unpickle_CyHalfBinomialLoss __pyx_unpickle_CyAbsoluteError
    __pyx_unpickle_CyHalfMultinomialLoss __pyx_unpickle_CyPinballLoss __pyx_unpickle_CyHuberLoss
    __pyx_unpickle_CyHalfPoissonLoss __pyx_unpickle_CyHalfGammaLoss __pyx_unpickle_CyExponentialLoss
sklearn.ensemble._gb_losses: BinomialDeviance MultinomialDeviance LeastSquaresError LeastAbsoluteError
    HuberLossFunction QuantileLossFunction ExponentialLoss
sklearn.linear_model._sgd_fast: Log SquaredLoss Huber
sklearn.linear_model.logistic: LogisticRegression LogisticRegressionCV
sklearn.linear_model.base: LinearRegression
sklearn.linear_model.ridge: Ridge RidgeClassifier
sklearn.linear_model.coordinate_descent: Lasso ElasticNet
sklearn.ensemble.forest: RandomForestClassifier RandomForestRegressor ExtraTreesClassifier
sklearn.ensemble.gradient_boosting: GradientBoostingClassifier GradientBoostingRegressor
sklearn.tree.tree: DecisionTreeClassifier DecisionTreeRegressor
sklearn.svm.classes: SVC SVR LinearSVC LinearSVR
sklearn.preprocessing.data: StandardScaler MinMaxScaler
sklearn.preprocessing.label: LabelEncoder LabelBinarizer
sklearn.neighbors.classification: KNeighborsClassifier
sklearn.cluster.k_means_: KMeans
sklearn.decomposition.pca: PCA
xgboost.sklearn: XGBModel XGBClassifier XGBRegressor XGBRanker XGBRFClassifier XGBRFRegressor
xgboost.core: Booster
lightgbm.sklearn: LGBMModel LGBMClassifier LGBMRegressor LGBMRanker
lightgbm.basic: Booster
"""
_TORCH: Final = """
torch: Size Tensor device dtype Generator
    float float16 float32 float64 double half bfloat16 int8 int16 int32 int64 int short long uint8 uint16 uint32 uint64
    bool complex32 complex64 complex128 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu
    float4_e2m1fn_x2 quint8 qint8 qint32 quint4x2 per_channel_affine per_tensor_affine strided sparse_coo sparse_csr
    contiguous_format channels_last preserve_format
    FloatStorage DoubleStorage HalfStorage BFloat16Storage ByteStorage CharStorage ShortStorage IntStorage LongStorage
    BoolStorage ComplexFloatStorage ComplexDoubleStorage QUInt8Storage QInt8Storage QInt32Storage QUInt4x2Storage
    UntypedStorage
torch.cuda: FloatStorage DoubleStorage HalfStorage BFloat16Storage ByteStorage CharStorage ShortStorage IntStorage
    LongStorage BoolStorage
torch.storage: UntypedStorage TypedStorage _load_from_bytes
torch._utils: _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state
    _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_meta_tensor_no_storage
    _rebuild_nested_tensor
torch._tensor: _rebuild_from_type_v2
torch.nn.parameter: Parameter UninitializedParameter Buffer
torch.serialization: _get_layout
torch.nn.modules.activation: ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Sigmoid Tanh Softmax LogSoftmax Softplus
    Hardswish Hardsigmoid Hardtanh PReLU GLU MultiheadAttention
torch.nn.modules.batchnorm: BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm
torch.nn.modules.container: Sequential ModuleList ModuleDict ParameterList ParameterDict
torch.nn.modules.conv: Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
torch.nn.modules.dropout: Dropout Dropout1d Dropout2d Dropout3d AlphaDropout
torch.nn.modules.flatten: Flatten Unflatten
torch.nn.modules.linear: Linear Bilinear Identity NonDynamicallyQuantizableLinear
torch.nn.modules.loss: CrossEntropyLoss MSELoss L1Loss BCELoss BCEWithLogitsLoss NLLLoss SmoothL1Loss KLDivLoss
torch.nn.modules.normalization: LayerNorm GroupNorm RMSNorm LocalResponseNorm
torch.nn.modules.instancenorm: InstanceNorm1d InstanceNorm2d InstanceNorm3d
torch.nn.modules.padding: ZeroPad2d ReflectionPad2d ReplicationPad2d ConstantPad2d
torch.nn.modules.pixelshuffle: PixelShuffle PixelUnshuffle
torch.nn.modules.pooling: MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d
    AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool2d
torch.nn.modules.rnn: RNN LSTM GRU RNNCell LSTMCell GRUCell
torch.nn.modules.sparse: Embedding EmbeddingBag
torch.nn.modules.transformer: Transformer TransformerEncoder TransformerEncoderLayer TransformerDecoder
    TransformerDecoderLayer
torch.nn.modules.upsampling: Upsample UpsamplingNearest2d UpsamplingBilinear2d
torch.optim.adam: Adam
torch.optim.adamw: AdamW
torch.optim.sgd: SGD
torch.optim.lr_scheduler: StepLR CosineAnnealingLR ReduceLROnPlateau
"""

_MADE_WITHOUT_CALL: Final = ("xgboost", "lightgbm")
"""Packages whose classes open files when they are called; their pickles make instances without a call."""

# What runs code, opens files or reaches other functions by name. Only the severity depends on this table.
_RUNS_CODE: Final = """
    os posix nt ntpath posixpath subprocess sys builtins importlib runpy pty socket shutil code codeop pickle
    _pickle dill cloudpickle marshal types ctypes multiprocessing threading _thread webbrowser urllib http pip
    pkgutil platform timeit cProfile profile pdb bdb trace doctest functools operator _operator asyncio signal
    tempfile io _io ast inspect distutils setuptools ensurepip venv idlelib lib2to3 pydoc logging smtplib ftplib
    imaplib poplib telnetlib xmlrpc requests httpx aiohttp numpy.testing numpy.f2py torch.hub torch.jit
    torch.load torch.serialization torch._dynamo torch._inductor torch.fx torch.distributed torch.utils joblib
    pandas.io pandas.eval uuid._get_command_stdout commands popen2 execnet paramiko fabric invoke jinja2 yaml
    shelve weakref gc cgitb cmd tkinter turtle zipimport zipapp sqlite3 mlflow tensorflow keras
    transformers.pipelines getpass pexpect psutil _posixsubprocess linecache copyreg test unittest site
    sysconfig concurrent sched atexit faulthandler readline rlcompleter tracemalloc _pyrepl
"""


def is_allowed(module: str, name: str) -> bool:
    """Whether the exact name is one of the harmless."""
    return name in _table().get(module, ())


def may_be_called(module: str) -> bool:
    """Whether an allowed class may be called too, not only filled with what the pickle holds."""
    return module.partition(".")[0] not in _MADE_WITHOUT_CALL


def severity_of(module: str, name: str) -> Severity:
    """How much it matters that a name which is not allowed stands in a pickle."""
    parts = module.split(".")
    prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)} | {f"{module}.{name}"}
    if prefixes & _runs_code():
        return Severity.CRITICAL
    if parts[0] in sys.stdlib_module_names:
        return Severity.HIGH
    return Severity.MEDIUM


def allowed_names() -> Iterator[tuple[str, str]]:
    """Every module and name of the list, in order."""
    for module, names in sorted(_table().items()):
        for name in sorted(names):
            yield module, name


@cache
def _runs_code() -> frozenset[str]:
    return frozenset(_RUNS_CODE.split())


@cache
def _table() -> dict[str, frozenset[str]]:
    table: dict[str, set[str]] = {}
    names: set[str] = set()
    for line in "\n".join((_PLAIN, _NUMPY, _SCIPY, _PANDAS, _LEARNING, _TORCH, ESTIMATORS)).splitlines():
        module, colon, rest = line.partition(": ")
        if colon:
            names = table.setdefault(module, set())
        names.update((rest if colon else line).split())
    return {module: frozenset(names) for module, names in table.items()}

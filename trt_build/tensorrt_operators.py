"""What TensorRT's ONNX parser can read, as data.

Source: https://github.com/onnx/onnx-tensorrt, docs/operators.md at commit 96e781103cfc4adf4a6bb557e94bac8e693f6f4c
(10.1-GA, 17 June 2024), which is the list of TensorRT 10.0: the oldest 10.x, and later ones only add to it. Only the
facts are taken (which operators, which element types, which inputs have to be known when the engine is built); the
page's typo INF64 for ConstantOfShape is read as INT64.
"""

from __future__ import annotations

TENSORRT = "10.0"
OPSETS = range(9, 21)

_FLOAT = ("FLOAT", "FLOAT16", "BFLOAT16")
_NUMBER = (*_FLOAT, "INT32", "INT64")
_ANY = (*_NUMBER, "BOOL")

# element types (ONNX names) -> the operators that take them
_BY_TYPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        _FLOAT,
        """
        Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh
        CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
        GroupNormalization HardSigmoid HardSwish Hardmax ImageScaler InstanceNormalization IsInf LRN LSTM
        LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization
        PRelu ParametricSoftplus Pow QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike
        Reciprocal Resize Round ScaledTanh Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh
        ThresholdedRelu Upsample
        """,
    ),
    (
        _NUMBER,
        """
        Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Min Mod Mul Neg
        Pad Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
        """,
    ),
    (
        _ANY,
        """
        Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot
        Reshape ReverseSequence Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
        """,
    ),
    ((*_ANY, "UINT8"), "Cast CastLike"),
    (("BOOL",), "And Not Or Xor"),
    (("FLOAT", "FLOAT16"), "DeformConv GridSample Mish NonMaxSuppression NonZero RoiAlign"),
    (("INT8", "INT4", "FLOAT8E4M3FN"), "DequantizeLinear"),
    ((*_NUMBER, "INT8"), "Gelu"),
    ((*_NUMBER, "FLOAT8E4M3FN"), "Mean"),
)

OPERATORS: dict[str, frozenset[str]] = {name: frozenset(types) for types, names in _BY_TYPES for name in names.split()}

# operator -> the input (by position) that has to be an initialiser or a Constant, at our opset
BUILD_TIME_INPUTS: dict[str, int] = {
    **dict.fromkeys((name for name in OPERATORS if name.startswith("Reduce")), 1),
    "CumSum": 1,
    "OneHot": 1,
    "Pad": 3,
    "Slice": 3,
    "Squeeze": 1,
    "Unsqueeze": 1,
}

# Readable by the parser, but the path through the graph, or the size of a result, would depend on the data; a CUDA
# graph that is recorded once cannot follow that.
DYNAMIC = frozenset({"If", "Loop", "Scan", "NonZero", "NonMaxSuppression", "RandomNormal", "RandomNormalLike",
                     "RandomUniform", "RandomUniformLike"})  # fmt: skip

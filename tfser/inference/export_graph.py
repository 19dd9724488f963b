"""Check of the operations of a SavedModel before it is loaded: its graph is a program.

TensorFlow runs whatever operations a graph has, also those that read and write files.
"""

from pathlib import Path

import tensorflow as tf

from tfser.errors import DataError

# Operations of the exports of all models, with those of other versions of TensorFlow: arithmetic,
# shapes, control flow, the variables, and the decoding of the WAV that is the input. None reaches a
# file, the network or Python.
OPERATIONS = frozenset(
    """
    Abs Add AddV2 All Any ArgMax Assert AssignVariableOp AvgPool BatchMatMulV2 BiasAdd BroadcastTo
    Cast Ceil ClipByValue ConcatV2 Const Conv2D Conv2DBackpropInput Cumsum DecodeWav Einsum Elu
    Equal Erf Exp ExpandDims Expm1 Fill Floor FloorDiv FloorMod FusedBatchNormV3 GatherNd GatherV2
    Greater GreaterEqual Identity IdentityN Imag IsFinite IsNan LeakyRelu Less LessEqual Log Log1p
    LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool Maximum Mean Min Minimum Mul Neg
    NoOp NotEqual OnesLike Pack Pad PadV2 PartitionedCall Placeholder Pow Prod RFFT Range Rank
    ReadVariableOp Real RealDiv Relu Relu6 Reshape ResizeNearestNeighbor ReverseV2 Round Rsqrt
    ScatterNd Select SelectV2 Shape Sigmoid Sign Size Slice Softmax Softplus Split SplitV Sqrt
    Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile StopGradient
    StridedSlice Sub Sum Tanh TensorListFromTensor TensorListGetItem TensorListLength
    TensorListReserve TensorListSetItem TensorListStack Tile TopKV2 Transpose Unpack
    UnsortedSegmentMax UnsortedSegmentSum VarHandleOp VarIsInitializedOp Where While ZerosLike
    """.split()
)
# Of the functions that save and restore the variables; no signature calls these functions.
OF_CHECKPOINTS = frozenset(
    """
    DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename StaticRegexFullMatch
    StringJoin
    """.split()
)
FIX = "export the run with tfser-export; load what you trust with TensorFlow itself"


def check_graph(folder: Path) -> None:
    """Raise DataError where the SavedModel in a folder has operations that no export has.

    Raises OSError where there is no SavedModel.
    """
    # The parser of `tf.saved_model.load`, so that both read the same one of several files.
    for graph in tf.__internal__.saved_model.parse_saved_model(str(folder)).meta_graphs:
        if not graph.object_graph_def.nodes:
            raise DataError(f"{folder} is a SavedModel of TensorFlow 1, no export of tfser; {FIX}")
        functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
        called = find_called(functions, graph.object_graph_def.concrete_functions)
        parts = {"": graph.graph_def.node} | functions
        for name, nodes in parts.items():
            allowed = OPERATIONS if name in called else OPERATIONS | OF_CHECKPOINTS
            for node in nodes:
                if node.op not in allowed and node.op not in functions:
                    raise DataError(
                        f"{folder} is no export of tfser: its graph has the operation {node.op}, "
                        f"and may read files or run a program; {FIX}"
                    )


def find_called(functions: dict, names) -> set[str]:
    """Return the names of functions {name: nodes} and of all functions that they call."""
    called, left = set(), list(names)
    while left:
        name = left.pop()
        if name in called or name not in functions:
            continue
        called.add(name)
        for node in functions[name]:
            left.append(node.op)  # a call may be an operation of the function's name
            for value in node.attr.values():
                left += [value.func.name, *(func.name for func in value.list.func)]
    return called

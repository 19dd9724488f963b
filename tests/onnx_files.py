"""Small random speech encoders as ONNX files."""

import numpy as np

WEIGHTS = np.random.default_rng(0).normal(0, 0.1, (4, 1, 400)).astype("float32")


def write_encoder(path, outputs=("frames", "tanh"), input_shape=(1, "samples"), n_inputs=1):
    """Write a small random encoder: a convolution over 400 samples every 160, and its tanh."""
    import onnx  # optional

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Unsqueeze", ["waveform", "axis"], ["x"]),
        helper.make_node("Conv", ["x", "weights"], ["channels"], strides=[160]),
        helper.make_node("Transpose", ["channels"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Tanh", ["frames"], ["tanh"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(WEIGHTS, "weights"),
        onnx.numpy_helper.from_array(np.array([1]), "axis"),
    ]
    names = ["waveform", *(f"more_{i}" for i in range(1, n_inputs))]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(name, kind, input_shape) for name in names],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        constants,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return str(path)

"""Exports and networks of other people: a SavedModel and a .keras file are programs."""

import json
import shutil
import zipfile

from cases.case import Case
from cases.runs import DAMAGED, predict_with


def predict_by(make):
    """Return the arguments of tfser-predict with an export of which make(tf) gives the answer."""

    def arguments(folder):
        import tensorflow as tf

        module = tf.Module()
        waveform = tf.TensorSpec([None, None], tf.float32, "waveform")
        lengths = tf.TensorSpec([None], tf.int32, "lengths")
        module.lengths = tf.function(
            lambda waveform, lengths: {
                "probabilities": tf.zeros([1, 2]) + tf.cast(make(tf, folder), tf.float32)
            },
            input_signature=[waveform, lengths],
        )
        tf.saved_model.save(module, folder / "export", signatures={"lengths": module.lengths})
        about = json.loads((folder / "made_before/exports/epr/tfser.json").read_text())
        (folder / "export" / "tfser.json").write_text(json.dumps(about))
        (folder / "secret").write_text("years of work")
        return ["--export", folder / "export", folder / "a.wav"]

    return arguments


def nothing_is_written(answer, folder):
    assert not answer.out and not (folder / "written").exists()
    assert (folder / "secret").read_text() == "years of work"


def write_file(tf, folder):
    with tf.control_dependencies([tf.io.write_file(str(folder / "written"), "ran")]):
        return tf.constant(1.0)


def print_to_file(tf, folder):
    printed = tf.print("ran", output_stream=f"file://{folder / 'written'}")
    with tf.control_dependencies([printed]):
        return tf.constant(1.0)


def save_tensor(tf, folder):
    prefix = str(folder / "written")
    saved = tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.constant(1.0)]
    )
    with tf.control_dependencies([saved]):
        return tf.constant(1.0)


def read_in_a_branch(tf, folder):
    def read():
        return tf.cast(tf.strings.length(tf.io.read_file(str(folder / "secret"))), tf.float32)

    return tf.cond(tf.random.uniform([]) < 2.0, read, lambda: 0.0)


def read_lines(tf, folder):
    lines = tf.data.TextLineDataset(str(folder / "secret"))
    return lines.reduce(0.0, lambda total, line: total + 1.0)


HOSTILE = {
    "ReadFile": lambda tf, folder: tf.strings.length(tf.io.read_file(str(folder / "secret"))),
    "WriteFile": write_file,
    "MatchingFiles": lambda tf, folder: tf.size(tf.io.matching_files(str(folder / "*"))),
    "PrintV2|StringFormat": print_to_file,
    "EagerPyFunc": lambda tf, _: tf.py_function(lambda: 1.0, [], tf.float32),
    "PyFunc": lambda tf, _: tf.numpy_function(lambda: 1.0, [], tf.float32),
    "SaveV2": save_tensor,
    "RestoreV2": lambda tf, folder: tf.raw_ops.RestoreV2(
        prefix=str(folder / "x"), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0],
    "ReadFile|RandomUniform": read_in_a_branch,
    r"\w+": read_lines,
}


def damage_export(name, content):
    """Return the arguments of tfser-predict with an export of which a file has other content."""

    def arguments(folder):
        shutil.copytree(folder / "made_before/exports/epr", folder / "export")
        (folder / "export" / name).write_text(content)
        return ["--export", folder / "export", folder / "a.wav"]

    return arguments


def with_layer(module, name, config):
    """Return a function that puts a class in place of a layer of a run's network."""

    def spoil(run):
        path = run / "seed-0" / "fold-00" / "round-2" / "model.keras"
        with zipfile.ZipFile(path) as archive:
            files = {entry: archive.read(entry) for entry in archive.namelist()}
        network = json.loads(files["config.json"])
        layer = network["config"]["layers"][1]
        layer |= {"module": module, "class_name": name, "registered_name": name}
        layer["config"] |= config
        files["config.json"] = json.dumps(network)
        with zipfile.ZipFile(path, "w") as archive:
            for entry, content in files.items():
                archive.writestr(entry, content)

    return spoil


HOSTILE_LAYERS = [
    ("keras.layers", "Lambda", {"function": {"class_name": "__lambda__", "config": {}}}),
    ("keras.layers", "TFSMLayer", {"filepath": "/tmp/elsewhere"}),
    ("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}),
    ("keras.layers", "TorchModuleWrapper", {"module": "x"}),
    ("builtins", "function", {}),
    ("keras.src.utils.file_utils", "get_file", {}),
    ("os", "system", {}),
    ("subprocess", "Popen", {}),
]


CASES = [
    *(Case(f"an export with {name}", "predict", predict_by(make), 3,
           rf"is no export of tfser: its graph has the operation ({name}), and may read files",
           nothing_is_written)
      for name, make in HOSTILE.items()),
    *(Case(f"tfser.json is {name}", "predict", damage_export("tfser.json", content), 3,
           r"export( is|/tfser.json is) damaged: .*; export the run again")
      for name, content in DAMAGED.items()),
    Case("saved_model.pb is damaged", "predict", damage_export("saved_model.pb", "half"), 3,
         "export is damaged: .*; export the run again"),
    *(Case(f"a network with {module}.{name}", "predict",
           predict_with(with_layer(module, name, config)), 3,
           rf"model.keras is damaged: it has the class {module}.{name}, which no network of tfser")
      for module, name, config in HOSTILE_LAYERS),
]  # fmt: skip

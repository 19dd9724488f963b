"""Decoding by tensorflow-io, and of WAV by TensorFlow, in the graph of tf.data.

For `audio.decoder = "tensorflow-io"`.

The samples equal soundfile's: bit for bit of WAV and FLAC, to 1e-5 of OGG and MP3. sound_file.py
reads rate and depth from the header, and checks that the file is complete.
"""

import functools
import os

import numpy as np

from tfser.audio import sound_file, whole_file
from tfser.audio.waveform_checks import NOISE, NOISE_OF_8_BITS
from tfser.errors import DataError
from tfser.storage import s3

# Formats with a branch in `_samples`.
KINDS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAV", "FLOAT"),
    ("WAV", "DOUBLE"),
    ("FLAC", "PCM_S8"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]
WAV_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
LOSSLESS = (".wav", ".flac")
USE_SOUNDFILE = "--set audio.decoder=soundfile reads it"


def is_lossless(path) -> bool:
    """Return true if both decoders give the same samples of a file, by its name."""
    return str(path).lower().endswith(LOSSLESS)


def decode_files(paths):
    """Yield (samples [n, channels] float32, rate in Hz, noise, problem) of each file.

    noise: see `waveform_checks.find_fault`. problem: "" for none.
    """
    tf = s3.import_decoder("tensorflow-io")
    from tfser.audio.tf_data import disable_autotuning  # which imports TensorFlow

    names = tf.constant([os.fsencode(str(path)) for path in paths], tf.string)
    files = tf.data.Dataset.from_tensor_slices(names).map(_graph()).prefetch(1)
    files = iter(disable_autotuning(files))
    for path in paths:
        try:
            samples, numbers, problem = files.get_next()
            n_claimed, rate_hz, *_, is_8_bits = numbers.numpy()
            problem = os.fsdecode(problem.numpy())
            samples = samples.numpy()
            spare = whole_file.MP3_SPARE_FRAMES if str(path).lower().endswith(".mp3") else 0
            samples = samples[:n_claimed]
            if not problem and len(samples) < n_claimed - spare:
                problem = (
                    f"{path}: tensorflow-io finds {len(samples)} of {n_claimed} samples; "
                    f"{USE_SOUNDFILE}"
                )
            yield samples, int(rate_hz), NOISE_OF_8_BITS if is_8_bits else NOISE, problem
        except tf.errors.OpError as error:
            yield np.zeros((0, 1), "float32"), 0, NOISE, _reason(s3.to_path(path), error)


def _reason(path, error) -> str:
    """Return the reason why the graph failed to read or to decode a file."""
    try:
        with whole_file.open_content(path):
            pass
    except OSError as read_error:
        return f"{path}: {read_error.strerror or read_error}"
    except DataError as read_error:  # a folder or an empty file
        return str(read_error)
    message = str(error.message).rpartition("}} ")[2].partition(" [Op")[0].partition("\n")[0]
    return f"{path}: tensorflow-io cannot decode it ({message.strip()}); {USE_SOUNDFILE}"


@functools.cache
def _graph():
    """Return the graph that decodes a path.

    Its outputs: samples [n, channels]; [frames, rate, channels, first byte, bytes, 1 for 8 bits];
    problem.
    """
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode(path):
        content = tf.io.read_file(path)
        kind, numbers, problem = tf.numpy_function(
            _header, [path, content], [tf.int32, tf.int64, tf.string]
        )
        numbers = tf.ensure_shape(numbers, [6])
        return _samples(content, tf.ensure_shape(kind, []), numbers), numbers, problem

    return decode


def _header(path, content):
    """Return (index in KINDS, numbers of `_graph`, problem); len(KINDS): decode nothing."""
    path = s3.to_path(os.fsdecode(path))
    try:
        (container, subtype), rate_hz, n_frames, n_channels = sound_file.read_header(path, content)
        kind = ("WAV" if container == "WAVEX" else container, subtype)
        if kind not in KINDS or content.startswith(b"RIFX"):  # the latter is big-endian
            raise DataError(
                f"{path}: tensorflow-io has no decoder for {container} {subtype}; {USE_SOUNDFILE}"
            )
        first = _first_sample(content) if container.startswith("WAV") else 0
        width = WAV_BYTES.get(subtype, 0)
        n_bytes, is_8_bits = n_frames * n_channels * width, subtype in ("PCM_U8", "PCM_S8")
        numbers = [n_frames, rate_hz, n_channels, first, n_bytes, is_8_bits]
        return np.int32(KINDS.index(kind)), np.array(numbers, "int64"), b""
    except DataError as error:
        return np.int32(len(KINDS)), np.zeros(6, "int64"), os.fsencode(str(error))


def _first_sample(content: bytes) -> int:
    """Return the first byte of the samples of a WAV, after the header of its chunk "data"."""
    position = 12
    while content[position : position + 4] != b"data" and position < len(content):
        size = int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    return position + 8


def _samples(content, kind, numbers):
    """Return the samples [n, channels] of a file, scaled to 1 at full scale as by libsndfile."""
    import tensorflow as tf
    from tensorflow_io import audio as decoders

    # tensorflow-io's WAV decoder reads 32-bit integers as floats, lacks float64, and fails at an
    # odd number of bytes and at a chunk before the format.
    def wav(dtype):
        chunk = tf.strings.substr(content, numbers[3], numbers[4])
        return tf.reshape(tf.io.decode_raw(chunk, dtype), [-1, numbers[2]])

    def wav_of_24_bits():
        chunk = tf.strings.substr(content, numbers[3], numbers[4])
        low, middle, high = tf.unstack(
            tf.reshape(tf.io.decode_raw(chunk, tf.uint8), [-1, 3]), axis=1
        )
        high = tf.cast(tf.bitcast(high, tf.int8), tf.float32)  # the byte with the sign
        samples = high * 2.0**16 + tf.cast(middle, tf.float32) * 2.0**8 + tf.cast(low, tf.float32)
        return tf.reshape(samples, [-1, numbers[2]])

    def flac(dtype):
        return decoders.decode_flac(content, dtype=dtype)

    def scale(samples, full_scale, zero=0.0):
        return (tf.cast(samples, tf.float32) - zero) / full_scale

    branches = [
        lambda: scale(wav(tf.uint8), 2.0**7, zero=2.0**7),
        lambda: scale(wav(tf.int16), 2.0**15),
        lambda: scale(wav_of_24_bits(), 2.0**23),
        lambda: scale(wav(tf.int32), 2.0**31),
        lambda: wav(tf.float32),
        lambda: tf.cast(wav(tf.float64), tf.float32),
        lambda: scale(flac(tf.uint8), 2.0**7, zero=2.0**7),
        lambda: scale(flac(tf.int16), 2.0**15),
        lambda: scale(flac(tf.int32), 2.0**31),
        lambda: decoders.decode_vorbis(content),
        lambda: decoders.decode_mp3(content),
        lambda: tf.zeros([0, 1]),
    ]
    return tf.switch_case(kind, branches)

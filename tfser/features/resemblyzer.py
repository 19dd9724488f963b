"""Resemblyzer's speaker encoder, with the weights of its installed wheel.

The encoder is the one of Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP
2018: 40 mel bands, three LSTM layers of 256 units, windows of 1.6 s. Resemblyzer 0.1.4 (Apache-2.0)
holds the weights in the old format of PyTorch's archives. They are read from the wheel, never
copied into tfser.
"""

import functools
import hashlib
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfser.errors import DataError, UsageError
from tfser.features import stft
from tfser.features.feature_layer import FeatureLayer
from tfser.features.torch_archive import read_tensors

SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"  # of pretrained.pt
COMMAND = "pip install --no-deps resemblyzer==0.1.4"

RATE_HZ = 16000
WINDOW, HOP = 400, 160  # samples: 25 ms, 10 ms
N_BANDS = 40
N_UNITS = 256
N_LAYERS = 3
PART_FRAMES = 160  # 1.6 s
PART_HOP = 77  # frames: 1.3 parts a second
LEAST_COVERAGE = 0.75  # of the last part, unless it is the only one
LEAST_RMS = 10 ** (-30 / 20)  # -30 dBFS


class SpeakerEncoder(FeatureLayer):
    """Statistics of the layers' outputs: waveform [batch, samples] -> [batch, 1, 1536].

    Resemblyzer's steps: a quiet waveform is amplified to -30 dBFS; mel power, without a logarithm;
    parts of 160 frames every 77 frames, the last one filled up with zeros. The LSTM layers' mean
    and standard deviation over the frames of each part are averaged over the parts, as
    Resemblyzer averages the embeddings of the parts. Resemblyzer's voice activity detection, which
    shortens silences, is left out.

    Features: mean [256] and standard deviation [256] of the first layer, of the second, of the
    third.

    Raises UsageError unless Resemblyzer is installed and the rate is 16 kHz, DataError for other
    weights than those of version 0.1.4.
    """

    n_frames = 1
    n_features = 2 * N_LAYERS * N_UNITS

    def __init__(self, *, sample_rate_hz, name=None):
        super().__init__(locals())
        if sample_rate_hz != RATE_HZ:
            raise UsageError(
                f"encoder.sample_rate_hz={sample_rate_hz}: Resemblyzer's encoder is of {RATE_HZ} "
                "Hz; another rate is for an encoder of your own (encoder.path)"
            )
        self.hann = stft.hann_window(WINDOW)
        weights = load_weights()
        self.lstms = []
        for number in range(N_LAYERS):
            # The gates' order is that of PyTorch: input, forget, cell, output.
            lstm = keras.layers.LSTM(
                N_UNITS, return_sequences=True, use_cudnn=False, dtype="float32",
                name=f"lstm_{number}",
            )  # fmt: skip
            lstm.build((None, PART_FRAMES, N_UNITS if number else N_BANDS))
            of_inputs, of_states, *biases = (weights[name] for name in list_weight_names(number))
            lstm.set_weights([of_inputs.T, of_states.T, sum(biases)])
            self.lstms.append(lstm)

    @functools.cached_property
    def bands(self):
        """Mel filters [bins, 40]."""
        return stft.slaney_filterbank(RATE_HZ, WINDOW, N_BANDS, 0.0, RATE_HZ / 2)

    def call(self, waveform, lengths):
        """Return features [batch, 1, 1536] of waveforms [batch, samples], of `lengths` [batch].

        Samples after a length are ignored.
        """
        parts, inside = self.split_parts(waveform, lengths)
        x, statistics = tf.boolean_mask(parts, inside), []
        for lstm in self.lstms:
            x = lstm(x)  # [parts, 160, 256]
            mean = tf.reduce_mean(x, axis=1, keepdims=True)
            variance = tf.reduce_mean(tf.square(x - mean), axis=1)
            statistics += [mean[:, 0], tf.sqrt(variance)]
        of_parts = tf.scatter_nd(
            tf.cast(tf.where(inside), "int32"),
            tf.concat(statistics, axis=1),
            tf.concat([tf.shape(inside), [self.n_features]], axis=0),
        )  # [batch, parts, 1536], zeros after an utterance's parts
        counts = tf.reduce_sum(tf.cast(inside, "float32"), axis=1)
        return tf.reduce_sum(of_parts, axis=1, keepdims=True) / counts[:, None, None]

    def split_parts(self, waveform, lengths):
        """Return the parts [batch, parts, 160, 40], and which are of the utterance [batch, parts].

        waveform: [batch, samples]. lengths: [batch], in samples.
        """
        inside = tf.sequence_mask(lengths, tf.shape(waveform)[1])
        frames = self.mel_power_of(tf.where(inside, waveform, 0.0), lengths)
        # Not tf.signal.frame, which divides negative numbers: ONNX rounds these differently.
        n_parts = (tf.shape(frames)[1] + PART_HOP - 1) // PART_HOP
        places = PART_HOP * tf.range(n_parts)[:, None] + tf.range(PART_FRAMES)  # [parts, 160]
        parts = tf.gather(tf.pad(frames, [[0, 0], [0, PART_FRAMES], [0, 0]]), places, axis=1)
        return parts, tf.sequence_mask(count_parts(lengths), n_parts)

    def mel_power_of(self, waveform, lengths):
        """Return mel power [batch, frames, 40] of waveforms with zeros after their lengths.

        The frames are centred, as librosa's: frame i stands around sample 160 i. They end where the
        zeros begin.
        """
        n_samples = tf.cast(lengths, "float32")
        rms = tf.sqrt(tf.reduce_sum(tf.square(waveform), axis=1) / n_samples)
        gain = tf.maximum(1.0, LEAST_RMS / tf.maximum(rms, 1e-10))  # silence stays silence
        padded = tf.pad(waveform * gain[:, None], [[0, 0], [WINDOW // 2, WINDOW]])
        frames = tf.signal.frame(padded, WINDOW, HOP) * self.hann
        return stft.power_spectrum(frames, WINDOW) @ self.bands

    def extract_one(self, waveform):
        """Return features [1, 1536] of one waveform [samples]."""
        return self.graph(tf.constant(waveform[None]), tf.constant([len(waveform)])).numpy()[0]

    @functools.cached_property
    def graph(self):
        """`call` as a graph for any batch."""
        waveform, lengths = tf.TensorSpec([None, None]), tf.TensorSpec([None], tf.int32)
        function = tf.function(self.call, input_signature=[waveform, lengths])
        return function.get_concrete_function()  # a graph in eager mode, too: 480 steps


def count_parts(lengths):
    """Count the parts of waveforms of these lengths [batch], in samples.

    Resemblyzer's `compute_partial_slices`: the last part counts if three quarters of it are sound.
    """
    n_frames = lengths // HOP + 1
    n_parts = (tf.maximum(1, n_frames - PART_FRAMES + PART_HOP + 1) + PART_HOP - 1) // PART_HOP
    in_last = lengths - (n_parts - 1) * PART_HOP * HOP  # samples
    is_short = tf.cast(in_last, "float32") < LEAST_COVERAGE * PART_FRAMES * HOP
    return n_parts - tf.cast(is_short & (n_parts > 1), "int32")


def list_weight_names(number: int) -> list[str]:
    """List PyTorch's names of an LSTM layer's weights: of inputs, of states, and two biases."""
    return [f"lstm.{kind}_l{number}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def find_file(name: str) -> Path:
    """Find a file of the installed Resemblyzer; raise UsageError where it is missing."""
    try:
        files = metadata.files("resemblyzer") or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name and (path := Path(file.locate())).is_file():
            return path
    raise UsageError(
        f"Resemblyzer, which holds the encoder's weights, is not installed: {COMMAND} (its code "
        "does not run: PyTorch is not needed)"
    )


@functools.cache
def load_weights() -> dict[str, np.ndarray]:
    """Load the LSTM layers' weights; raise DataError for a damaged file or another version."""
    path = find_file("pretrained.pt")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise DataError(
            f"{path} is damaged, or of another version of Resemblyzer; "
            f"{COMMAND.replace('install', 'install --force-reinstall')}"
        )
    names = [name for number in range(N_LAYERS) for name in list_weight_names(number)]
    return read_tensors(content, names)


def list_notices() -> dict[str, str]:
    """Return the files {name: text} that accompany a copy of the weights."""
    return {
        "NOTICE": "This folder holds weights of the speaker encoder of Resemblyzer 0.1.4\n"
        "(https://github.com/resemble-ai/Resemblyzer, resemblyzer/pretrained.pt), by Corentin\n"
        "Jemine and Resemble AI, under the Apache License 2.0: see LICENSE-Resemblyzer.\n"
        "Changed: the three LSTM layers in the form of Keras, the two biases of each added up.\n",
        "LICENSE-Resemblyzer": find_file("LICENSE").read_text(encoding="utf-8"),
    }

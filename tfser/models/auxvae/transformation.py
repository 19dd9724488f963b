"""Section 6.4: a recording with the speaker (h) or the manner (m) of another one."""

from typing import NamedTuple

import numpy as np
from keras import ops

from tfser.models.auxvae.network import Normal

ROUNDS = 64  # of Griffin and Lim's algorithm


class Pieces(NamedTuple):
    """A recording as the network hears it."""

    heard: np.ndarray  # [n_pieces, n_frames, n_bands]
    lengths: list[int]  # samples of each piece
    peaks: list[float]  # mel power of the loudest


def pieces_of(waveform, layer) -> Pieces:
    """Cuts a recording [samples] into pieces; a rest that is too short to count is left out.

    Raises DataError for a recording shorter than a window's reflection.
    """
    [heard] = layer.extract([waveform])
    if isinstance(heard, Exception):
        raise heard
    lengths = layer.lengths(len(waveform))
    starts = np.arange(len(lengths)) * layer.n_samples
    peaks = [
        float(layer.power(waveform[start : start + length]).max())
        for start, length in zip(starts, lengths, strict=True)
    ]
    return Pieces(heard.reshape(-1, layer.n_frames, layer.n_features), lengths, peaks)


def transformed(network, content: Pieces, style: Pieces, latent: str) -> np.ndarray:
    """The content's pieces, decoded from z with the style's h or m: [n_pieces, n_frames, n_bands].

    Distributions' means throughout. h is the mean over the style's pieces; m changes within a
    piece, so that of the style's pieces in turn is taken, from the first again where they end.
    """
    of_style, _ = network.encode(style.heard, sampled=False)
    turn = np.arange(len(content.heard)) % len(style.heard)

    def given(values):
        if latent == "h":
            values = ops.repeat(ops.mean(values, axis=0, keepdims=True), len(style.heard), axis=0)
        return ops.take(values, turn, axis=0)

    borrowed = Normal(*(given(values) for values in of_style[latent]))
    _, samples = network.encode(content.heard, sampled=False, style={latent: borrowed})
    return np.array(network.decoder(samples["z"], training=False))


def reconstructed(network, content: Pieces) -> np.ndarray:
    """The same with the content's own h and m."""
    _, samples = network.encode(content.heard, sampled=False)
    return np.array(network.decoder(samples["z"], training=False))


def spectrogram(heard, lengths, layer) -> np.ndarray:
    """Pieces without what stands behind their ends, in dB to the loudest: [frames, n_bands]."""
    parts = [x[: 1 + n // layer.hop] for x, n in zip(heard, lengths, strict=True)]
    return -layer.range_db * np.concatenate(parts)


def waveform(heard, content: Pieces, layer) -> np.ndarray:
    """What the pieces sound like: float32 [samples], as loud as the content.

    Mel bands back to bins by non-negative least squares, phases by Griffin and Lim's algorithm
    (librosa), with the same random start at each call.
    """
    import librosa

    parts = []
    for x, length, peak in zip(heard, content.lengths, content.peaks, strict=True):
        fall = x[: 1 + length // layer.hop].T  # [bands, frames]
        power = peak * 10 ** (-layer.range_db * fall / 10)
        spectrum = librosa.feature.inverse.mel_to_stft(
            power, sr=layer.sample_rate_hz, n_fft=layer.n_fft, power=2.0
        )
        parts.append(
            librosa.griffinlim(
                spectrum, n_iter=ROUNDS, hop_length=layer.hop, length=length, random_state=0
            )
        )
    return np.concatenate(parts).astype("float32")

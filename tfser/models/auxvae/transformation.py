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


def cut_pieces(waveform, layer) -> Pieces:
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


def transform(network, content: Pieces, style: Pieces, latent: str, layer) -> np.ndarray:
    """The content's pieces, decoded from z with the style's h or m: [n_pieces, n_frames, n_bands].

    Distributions' means throughout. h is the mean over the style's pieces, each by its length; m
    changes with time, and is taken from the style's beginning again where it ends.
    """
    of_style, _ = network.encode(network.given(style.heard), sampled=False)
    n_pieces, n_frames, _ = np.shape(of_style[latent].mean)
    shares = np.array(style.lengths) / sum(style.lengths)
    # What stands behind a recording's end is nobody's manner.
    heard = [min(n_frames, count_frames(n, layer)) for n in style.lengths]
    places = [(piece, frame) for piece in range(n_pieces) for frame in range(heard[piece])]
    places = np.resize(places, (len(content.heard) * n_frames, 2))

    def given(values):
        values = np.array(values)
        if latent == "h":
            mean = np.tensordot(shares, values, axes=1)
            return ops.convert_to_tensor(np.broadcast_to(mean, (len(content.heard), *mean.shape)))
        of_frames = values[places[:, 0], places[:, 1]]
        return ops.convert_to_tensor(of_frames.reshape(-1, *values.shape[1:]))

    borrowed = Normal(*(given(values) for values in of_style[latent]))
    return np.array(network(content.heard, sampled=False, style={latent: borrowed}))


def reconstruct(network, content: Pieces) -> np.ndarray:
    """The same with the content's own h and m."""
    return np.array(network(content.heard, sampled=False))


def count_frames(n_samples: int, layer) -> int:
    """Frames of a piece that are not behind its end."""
    return 1 + n_samples // layer.hop


def join_spectrogram(heard, lengths, layer) -> np.ndarray:
    """Pieces without what stands behind their ends, in dB to the loudest: [frames, n_bands]."""
    parts = [x[: count_frames(n, layer)] for x, n in zip(heard, lengths, strict=True)]
    return -layer.range_db * np.concatenate(parts)


def invert_spectrogram(heard, content: Pieces, layer) -> np.ndarray:
    """What the pieces sound like: float32 [samples], as loud as the content.

    Mel bands back to bins by non-negative least squares, phases by Griffin and Lim's algorithm
    (librosa), with the same random start at each call.
    """
    import librosa

    parts = []
    for x, length, peak in zip(heard, content.lengths, content.peaks, strict=True):
        fall = x[: count_frames(length, layer)].T  # [bands, frames]
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

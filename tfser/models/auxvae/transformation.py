"""Voice transformation (section 6.4): a recording with the h or m of another recording.

sampled, in all functions: decode a sample of each distribution, as the networks are trained and
described (section 4); otherwise their means. The same network gives other samples in each call.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from tfser.models.auxvae.network import Normal

ROUNDS = 64  # of Griffin and Lim's algorithm


class Pieces(NamedTuple):
    """A recording in pieces, the inputs of the network."""

    spectrograms: np.ndarray  # [n_pieces, n_frames, n_bands]
    lengths: list[int]  # samples of each piece
    peaks: list[float]  # the highest mel power of each piece


def cut_pieces(waveform, layer) -> Pieces:
    """Cut a recording [samples] into pieces; leave out a rest below the shortest piece.

    Raise DataError for a recording shorter than a window's reflection.
    """
    [levels] = layer.extract([waveform])
    if isinstance(levels, Exception):
        raise levels
    lengths = layer.lengths(len(waveform))
    starts = np.arange(len(lengths)) * layer.n_samples
    peaks = [
        float(layer.power(waveform[start : start + length]).max())
        for start, length in zip(starts, lengths, strict=True)
    ]
    return Pieces(levels.reshape(-1, layer.n_frames, layer.n_features), lengths, peaks)


def transform(
    network, content: Pieces, style: Pieces, latent: str, layer, *, sampled: bool
) -> np.ndarray:
    """Decode the content with the style's h or m: pieces [n_pieces, n_frames, n_bands].

    The parameters of h are the means over the style's pieces, weighted by length. m changes with
    time: a shorter style is repeated.
    """
    distributions, _ = network.encode(network.add_silence(style.spectrograms), sampled=sampled)
    n_pieces, n_frames, _ = np.shape(distributions[latent].mean)
    shares = np.array(style.lengths) / sum(style.lengths)
    # Frames behind the end of a recording have no style.
    counts = [min(n_frames, count_frames(n, layer)) for n in style.lengths]
    places = [(piece, frame) for piece in range(n_pieces) for frame in range(counts[piece])]
    places = np.resize(places, (len(content.spectrograms) * n_frames, 2))

    def fit_to_content(values):
        values = np.array(values)
        if latent == "h":
            mean = np.tensordot(shares, values, axes=1)
            return ops.convert_to_tensor(
                np.broadcast_to(mean, (len(content.spectrograms), *mean.shape))
            )
        frames = values[places[:, 0], places[:, 1]]
        return ops.convert_to_tensor(frames.reshape(-1, *values.shape[1:]))

    replacement = Normal(*(fit_to_content(values) for values in distributions[latent]))
    return np.array(network(content.spectrograms, sampled=sampled, style={latent: replacement}))


def reconstruct(network, content: Pieces, *, sampled: bool) -> np.ndarray:
    """Decode the content with its own h and m."""
    return np.array(network(content.spectrograms, sampled=sampled))


def count_frames(n_samples: int, layer) -> int:
    """Count the frames of a piece that are not behind its end."""
    return 1 + n_samples // layer.hop


def join_spectrogram(levels, lengths, layer) -> np.ndarray:
    """Join pieces without the frames behind their ends, in dB to the loudest: [frames, n_bands]."""
    parts = [x[: count_frames(n, layer)] for x, n in zip(levels, lengths, strict=True)]
    return -layer.range_db * np.concatenate(parts)


def invert_spectrogram(levels, content: Pieces, layer) -> np.ndarray:
    """Turn pieces into a waveform, float32 [samples], as loud as the content.

    Mel bands back to bins by non-negative least squares, phases by Griffin and Lim's algorithm
    (librosa), with the same random start at each call.
    """
    import librosa

    parts = []
    for x, length, peak in zip(levels, content.lengths, content.peaks, strict=True):
        fall = x[: count_frames(length, layer)].T  # [bands, frames]
        power = peak * 10 ** (-layer.range_db * fall / 10)
        if layer.is_linear:
            spectrum = np.sqrt(power)
        else:
            spectrum = librosa.feature.inverse.mel_to_stft(
                power, sr=layer.sample_rate_hz, n_fft=layer.n_fft, power=2.0
            )
        parts.append(
            librosa.griffinlim(
                spectrum, n_iter=ROUNDS, hop_length=layer.hop, length=length, random_state=0
            )
        )
    return np.concatenate(parts).astype("float32")

"""Windows, power spectra and mel filterbanks of the feature layers, in TensorFlow and in NumPy."""

import contextlib

import numpy as np
import scipy.fft
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view

_as_products = False


def hann_window(n_samples) -> np.ndarray:
    """Return the periodic Hann window [n_samples]."""
    return np.hanning(n_samples + 1)[:-1].astype("float32")


def power_spectrum(frames, n_fft):
    """Return power spectra [..., bins] of frames [..., samples], padded with zeros to n_fft."""
    if not _as_products:
        spectrum = tf.signal.rfft(frames, [n_fft])
        return tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
    angles = 2 * np.pi / n_fft * np.outer(np.arange(frames.shape[-1]), np.arange(n_fft // 2 + 1))
    real, imaginary = (f(angles).astype("float32") for f in (np.cos, np.sin))
    return (frames @ real) ** 2 + (frames @ imaginary) ** 2


@contextlib.contextmanager
def matrix_product_spectra():
    """Compute the power spectra of graphs built in this context as matrix products.

    ONNX and TensorFlow Lite lack the Fourier transform, or restrict its length.
    """
    global _as_products
    _as_products = True
    try:
        yield
    finally:
        _as_products = False


def split_frames(waveform, n_samples, hop) -> np.ndarray:
    """Return the frames [frames, n_samples] of a waveform [samples], as a view of its memory."""
    return sliding_window_view(waveform, n_samples)[::hop]


def numpy_power_spectrum(frames) -> np.ndarray:
    """Return power spectra [frames, bins] of frames [frames, n_fft], by SciPy's transform."""
    spectrum = scipy.fft.rfft(frames)
    return spectrum.real**2 + spectrum.imag**2


def slaney_filterbank(sample_rate_hz, n_fft, n_bands, low_hz, high_hz) -> np.ndarray:
    """Return librosa's mel filters [bins, n_bands]: Slaney's scale, triangles of equal area."""
    # The import takes half a second, and cached features need no filterbank.
    import librosa.filters

    bands = librosa.filters.mel(
        sr=sample_rate_hz, n_fft=n_fft, n_mels=n_bands, fmin=low_hz, fmax=high_hz
    )
    return bands.T.copy()


def htk_filterbank(sample_rate_hz, n_fft, n_bands, low_hz, high_hz) -> np.ndarray:
    """Return HTK's mel filters [bins, n_bands], as in openSMILE's cMelspec.

    Triangles of height 1 over mel(f) = 1127 ln(1 + f / 700), without the bin of 0 Hz.
    """
    bins_hz = np.arange(n_fft // 2 + 1) * sample_rate_hz / n_fft
    low, high = (1127 * np.log1p(hz / 700) for hz in (low_hz, high_hz))
    width = (high - low) / (n_bands + 1)
    centres = low + width * np.arange(1, n_bands + 1)
    distance = np.abs(1127 * np.log1p(bins_hz / 700)[:, None] - centres)
    weights = np.maximum(0, 1 - distance / width)
    weights[0] = 0
    return weights.astype("float32")


def audeep_filterbank(sample_rate_hz, n_fft, n_bands) -> np.ndarray:
    """Return auDeep's mel filters [bins, n_bands].

    Triangles of height 1 between bins, over mel(f) = 2595 lg(1 + f / 700), up to half the rate.
    """
    highest = 2595 * np.log10(1 + sample_rate_hz / 2 / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, highest, n_bands + 2) / 2595) - 1)
    edges = np.floor((n_fft + 1) * edges_hz / sample_rate_hz)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]  # bins, [n_bands]
    bins = np.arange(n_fft // 2 + 1)[:, None]
    rising = (bins - left) / np.maximum(centre - left, 1)
    falling = (right - bins) / np.maximum(right - centre, 1)
    inside = (left <= bins) & (bins < right)
    return np.where(inside, np.where(bins < centre, rising, falling), 0).astype("float32")

"""Decoding of any file that libsndfile reads to float32 mono at the paper's sampling rate.

soundfile and soxr are used here and in sound_file.py alone. tensorflow-io, the alternative to
soundfile, is in tfio_decoder.py. Every unusable file is a DataError of one line with the file and
the reason.
"""

import itertools

import numpy as np
import soundfile
import soxr

from tfser.audio.sound_file import (
    MP3_SPARE_FRAMES,
    UNKNOWN_FRAMES,
    as_data_error,
    check_header,
    open_sound,
    open_source,
    read_blocks,
    truncated_error,
)
from tfser.errors import DataError
from tfser.storage import s3

SHORTEST_SECONDS = 0.025  # one analysis window of the papers
SPARE_SECONDS = 0.1  # an end time so far past the end of the file is rounded, not wrong


def load_audio(path, *, sample_rate_hz=16000, start_seconds=None, end_seconds=None) -> np.ndarray:
    """Load a file, or its part from start to end, as mono float32 [samples].

    Channels are averaged; other rates are resampled (soxr HQ). Raises DataError for a file that
    is missing, truncated, silent, not finite, not sound, or shorter than 25 ms.
    """
    path = s3.to_path(path)
    with as_data_error(path):
        waveform, rate_hz = _decode(path, start_seconds, end_seconds)
    return _check_waveform(path, waveform, rate_hz, sample_rate_hz)


def load_waveforms(cuts, *, sample_rate_hz, decoder="soundfile"):
    """Yield the waveform of each cut, or the DataError of `load_audio`.

    Args:
        cuts: with path, start_seconds and end_seconds, such as utterances.
        decoder: "soundfile", or "tensorflow-io" in the graph of a tf.data pipeline: the same
            samples, bit for bit of a lossless format, one file after the other.
    """
    if decoder == "tensorflow-io":
        yield from _load_with_tensorflow_io(cuts, sample_rate_hz)
        return
    for cut in cuts:
        times = {"start_seconds": cut.start_seconds, "end_seconds": cut.end_seconds}
        try:
            yield load_audio(cut.path, sample_rate_hz=sample_rate_hz, **times)
        except DataError as error:
            yield error


def _load_with_tensorflow_io(cuts, sample_rate_hz):
    from tfser.audio import tfio_decoder  # which imports TensorFlow

    # The parts of a long recording are neighbours: each recording is decoded once.
    files = [(path, list(group)) for path, group in itertools.groupby(cuts, lambda cut: cut.path)]
    outputs = tfio_decoder.decode_files([path for path, _ in files])
    for (path, parts), (samples, rate_hz, problem) in zip(files, outputs, strict=True):
        for cut in parts:
            try:
                if problem:
                    raise DataError(problem)
                start, end = _part_samples(
                    path, len(samples), rate_hz, cut.start_seconds, cut.end_seconds
                )
                part = samples[start:end]
                mono = part[:, 0] if part.shape[1] == 1 else part.mean(axis=1)
                yield _check_waveform(path, mono, rate_hz, sample_rate_hz)
            except DataError as error:
                yield error


def _check_waveform(path, waveform, rate_hz, sample_rate_hz):
    """Resample a waveform [samples]; raise DataError if it is silent, not finite or too short."""
    if not np.isfinite(waveform).all():
        raise DataError(f"{path}: has NaN or infinite samples")
    if not waveform.any() and len(waveform):
        raise DataError(f"{path}: silent, all {len(waveform)} samples are zero")
    if rate_hz != sample_rate_hz:
        waveform = soxr.resample(waveform, rate_hz, sample_rate_hz, quality="HQ")
    if len(waveform) < round(SHORTEST_SECONDS * sample_rate_hz):
        raise DataError(
            f"{path}: too short, {len(waveform)} samples at {sample_rate_hz} Hz; "
            f"one window takes {SHORTEST_SECONDS * 1000:.0f} ms"
        )
    return waveform


def duration_seconds(path, *, limit_seconds=np.inf) -> float:
    """Return the duration of a file, by decoding where the header has no length (mp3, streams).

    limit_seconds: stop counting at this duration, or soon after it.

    Raises DataError as `load_audio`.
    """
    path = s3.to_path(path)
    with as_data_error(path):
        source, head = open_source(path)
        with open_sound(path, source, head) as file:
            n_frames = file.frames
            if file.format == "MP3" or n_frames == UNKNOWN_FRAMES:
                limit = min(UNKNOWN_FRAMES, limit_seconds * file.samplerate)
                n_frames = 0
                for block in read_blocks(file, UNKNOWN_FRAMES):
                    n_frames += len(block)
                    if n_frames > limit:
                        break
            return n_frames / file.samplerate


def decoder_versions() -> dict[str, str]:
    """Return {name: version} of the libraries that decide the samples."""
    return {
        "soundfile": soundfile.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }


def _decode(path, start_seconds, end_seconds):
    """Return the waveform [samples] and the rate in Hz of a file, not resampled."""
    source, head = open_source(path)
    with open_sound(path, source, head) as file:
        check_header(path, file, head)
        rate_hz, claimed = file.samplerate, file.frames
        start, end = _part_samples(path, claimed, rate_hz, start_seconds, end_seconds)
        if start:
            file.seek(start)
        n_expected = end - start
        waveform = _read(file, n_expected)
    spare = MP3_SPARE_FRAMES if file.format == "MP3" else 0
    is_known = claimed != UNKNOWN_FRAMES or end_seconds is not None
    if len(waveform) < n_expected - spare and is_known:
        raise truncated_error(path, len(waveform), n_expected)
    return waveform, rate_hz


def _part_samples(path, claimed, rate_hz, start_seconds, end_seconds):
    """Return the first sample of a part and the sample after its last.

    claimed: number of samples of the file.

    Raises DataError for a part that is empty or passes the end of the file.
    """
    start = round((start_seconds or 0.0) * rate_hz)
    end = claimed if end_seconds is None else round(end_seconds * rate_hz)
    part = f"the part from {start_seconds} to {end_seconds} s"
    if start >= claimed or end > claimed + SPARE_SECONDS * rate_hz:
        raise DataError(f"{path}: {part} passes the end at {claimed / rate_hz:.2f} s")
    if not 0 <= start < end:
        raise DataError(f"{path}: {part} is empty; start must lie before end")
    return start, min(end, claimed)


def _read(file, n_samples):
    """Read up to `n_samples` as mono; memory grows with the samples of the file, not the header."""
    return np.concatenate([np.zeros(0, "float32"), *read_blocks(file, n_samples)])

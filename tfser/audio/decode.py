"""Decoding of recordings to float32 mono at the paper's sampling rate.

sound_file.py opens files. tensorflow-io, the alternative to libsndfile, is in tfio_decoder.py.
Every unusable file is a DataError of one line with the file and the reason.
"""

import contextlib
import itertools

import numpy as np
import soundfile
import soxr

from tfser.audio import waveform_checks
from tfser.audio.libsndfile import UNKNOWN_FRAMES, as_data_error
from tfser.audio.sound_file import open_sound
from tfser.audio.waveform_checks import NOISE
from tfser.audio.whole_file import truncated_error
from tfser.errors import DataError
from tfser.storage import s3

SHORTEST_SECONDS = 0.025  # one analysis window of the papers
SPARE_SECONDS = 0.1  # an end time so far past the end of the file is rounded, not wrong


def load_audio(
    path, *, sample_rate_hz=16000, start_seconds=None, end_seconds=None, channel=0
) -> np.ndarray:
    """Load a file, or its part from start to end, as mono float32 [samples].

    channel: 1 for the first of the file; 0: the mean of all. Other rates are resampled (soxr HQ).

    Raises DataError for a file that is missing, truncated, silent, not finite, not sound, or
    shorter than 25 ms.
    """
    with open_recording(path, start_seconds, end_seconds, channel) as recording:
        return recording.convert(recording.blocks(), sample_rate_hz)


def load_waveforms(cuts, *, sample_rate_hz, decoder="soundfile", channel=0):
    """Yield the waveform of each cut, or the DataError of `load_audio`.

    Args:
        cuts: with path, start_seconds and end_seconds, such as utterances.
        decoder: "soundfile", or "tensorflow-io" in the graph of a tf.data pipeline: the same
            samples, bit for bit of a lossless format, one file after the other.
        channel: see `load_audio`.
    """
    if decoder == "tensorflow-io":
        yield from _load_with_tensorflow_io(cuts, sample_rate_hz, channel)
        return
    for path, parts in itertools.groupby(cuts, lambda cut: cut.path):
        yield from _load_parts(path, list(parts), sample_rate_hz, channel)


def _load_parts(path, cuts, sample_rate_hz, channel):
    """Yield the waveforms of the parts of a recording; one without seeks is decoded once."""
    starts = [cut.start_seconds or 0.0 for cut in cuts]
    if len(cuts) > 1 and starts == sorted(starts):
        with contextlib.suppress(DataError), open_recording(path, channel=channel) as recording:
            if recording.stop == UNKNOWN_FRAMES:
                yield from _load_from_stream(recording, cuts, sample_rate_hz)
                return
    for cut in cuts:
        times = {"start_seconds": cut.start_seconds, "end_seconds": cut.end_seconds}
        try:
            yield load_audio(path, sample_rate_hz=sample_rate_hz, channel=channel, **times)
        except DataError as error:
            yield error


def _load_from_stream(recording, cuts, sample_rate_hz):
    """Yield the waveform of each part of an open recording, in the order of their starts."""
    path, rate_hz, failure = recording.path, recording.rate_hz, None
    for cut in cuts:
        times = cut.start_seconds, cut.end_seconds
        try:
            start, stop = _part_samples(path, recording.stop, rate_hz, *times)
            if failure is None:
                try:
                    samples = recording.read_part(start, stop)
                except DataError as error:
                    failure = error
            if failure:
                raise failure
            _part_samples(path, recording.stop, rate_hz, *times)  # the end may be known now
            yield recording.convert([samples], sample_rate_hz)
        except DataError as error:
            yield error


def _load_with_tensorflow_io(cuts, sample_rate_hz, channel):
    from tfser.audio import tfio_decoder  # which imports TensorFlow

    # The parts of a long recording are neighbours: each recording is decoded once.
    files = [(path, list(group)) for path, group in itertools.groupby(cuts, lambda cut: cut.path)]
    outputs = tfio_decoder.decode_files([path for path, _ in files])
    for (path, parts), (samples, rate_hz, noise, problem) in zip(files, outputs, strict=True):
        for cut in parts:
            try:
                if problem:
                    raise DataError(problem)
                start, end = _part_samples(
                    path, len(samples), rate_hz, cut.start_seconds, cut.end_seconds
                )
                mono = waveform_checks.mix(path, [samples[start:end]], samples.shape[1], channel)
                yield check_waveform(path, mono, rate_hz, sample_rate_hz, noise)
            except DataError as error:
                yield error


@contextlib.contextmanager
def open_recording(path, start_seconds=None, end_seconds=None, channel=0):
    """Open a file, or its part from start to end, as a `Recording`.

    Raises DataError as `load_audio`.
    """
    path = s3.to_path(path)
    with as_data_error(path), open_sound(path) as sound:
        start, stop = _part_samples(
            path, sound.n_samples, sound.rate_hz, start_seconds, end_seconds
        )
        yield Recording(path, sound, start, stop, channel)


class Recording:
    """An open recording or a part of it, read from its start to its end.

    start, stop: its first sample, and the sample after the last; stop is UNKNOWN_FRAMES until the
        end of a recording of unknown length has been read.
    """

    def __init__(self, path, sound, start, stop, channel):
        self.path, self.rate_hz, self.start, self.stop = path, sound.rate_hz, start, stop
        self._sound, self._channel = sound, channel
        self._blocks = sound.read_blocks(start, stop)
        self._buffer, self._first = np.zeros((0, sound.n_channels), "float32"), start

    def blocks(self):
        """Yield all samples block by block; see `read`."""
        end = self.start
        for block in self._blocks:
            yield block
            end += len(block)
        if end < self.stop:
            self._end_early(end)

    def read(self, start, stop) -> np.ndarray:
        """Return the samples from `start` to `stop`, or to the end [n, channels].

        `start` must not fall from call to call: samples before it are forgotten.

        Raises DataError for a recording that ends before its header, or the part, says.
        """
        self._buffer, self._first = self._buffer[start - self._first :], start
        self.read_ahead(stop)
        return self._buffer[: stop - start]

    def read_part(self, start, stop) -> np.ndarray:
        """Return the samples as `read`; those between the last call and `start` are not kept."""
        while self._first + len(self._buffer) < start:
            block = next(self._blocks, None)
            if block is None:
                self._end_early(self._first + len(self._buffer))
                return self._buffer[:0]
            self._first, self._buffer = self._first + len(self._buffer), block
        return self.read(start, stop)

    def read_ahead(self, stop) -> None:
        """Read up to the sample `stop`, without forgetting any."""
        blocks, end = [self._buffer], self._first + len(self._buffer)
        while end < stop and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            end += len(block)
        if len(blocks) > 1:
            self._buffer = np.concatenate(blocks)
        if end < stop:
            self._end_early(end)

    def _mix(self, blocks):
        return waveform_checks.mix(self.path, blocks, self._sound.n_channels, self._channel)

    def _end_early(self, end):
        """Set the end, or raise DataError if samples are missing."""
        if self.stop != UNKNOWN_FRAMES and end < self.stop - self._sound.n_spare:
            raise truncated_error(self.path, end - self.start, self.stop - self.start)
        if end <= self.start:
            raise DataError(f"{self.path}: has no samples after {self.start / self.rate_hz:.2f} s")
        self.stop = end

    def convert(self, blocks, sample_rate_hz) -> np.ndarray:
        """Return blocks [n, channels] as a mono waveform; see `check_waveform`."""
        sound = self._sound
        waveform = waveform_checks.mix(self.path, blocks, sound.n_channels, self._channel)
        return check_waveform(self.path, waveform, self.rate_hz, sample_rate_hz, sound.noise)


def check_waveform(path, waveform, rate_hz, sample_rate_hz, noise=NOISE) -> np.ndarray:
    """Resample a waveform [samples].

    noise: see `waveform_checks.find_fault`.

    Raises DataError if the waveform is silent, not finite, of integers, or too short.
    """
    n_samples = round(len(waveform) * sample_rate_hz / rate_hz)
    if n_samples < round(SHORTEST_SECONDS * sample_rate_hz):
        raise DataError(
            f"{path}: too short, {n_samples} samples at {sample_rate_hz} Hz; "
            f"one window takes {SHORTEST_SECONDS * 1000:.0f} ms"
        )
    if fault := waveform_checks.find_fault(waveform, noise):
        raise DataError(f"{path}: {fault}")
    waveform_checks.check_rate(path, rate_hz, sample_rate_hz)
    if rate_hz != sample_rate_hz:
        waveform = soxr.resample(waveform, rate_hz, sample_rate_hz, quality="HQ")
    return waveform


def duration_seconds(path, *, limit_seconds=np.inf) -> float:
    """Return the duration of a file, by decoding where the header has no length (streams).

    limit_seconds: stop counting at this duration, or soon after it.

    Raises DataError as `load_audio`.
    """
    path = s3.to_path(path)
    with as_data_error(path), open_sound(path) as sound:
        if sound.n_samples != UNKNOWN_FRAMES:
            return sound.n_samples / sound.rate_hz
        n_samples = 0
        for block in sound.read_blocks(0, UNKNOWN_FRAMES):
            n_samples += len(block)
            if n_samples > limit_seconds * sound.rate_hz:
                break
        return n_samples / sound.rate_hz


def decoder_versions() -> dict[str, str]:
    """Return {name: version} of the libraries that decide the samples."""
    return {
        "soundfile": soundfile.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }


def _part_samples(path, claimed, rate_hz, start_seconds, end_seconds):
    """Return the first sample of a part and the sample after its last.

    claimed: number of samples of the file.

    Raises DataError for a part that is empty or passes the end of the file.
    """
    start = round((start_seconds or 0.0) * rate_hz)
    end = claimed if end_seconds is None else round(end_seconds * rate_hz)
    last = "the end" if end_seconds is None else f"{end_seconds} s"
    part = f"the part from {start_seconds or 0.0} to {last}"
    if start >= claimed or end > claimed + SPARE_SECONDS * rate_hz:
        raise DataError(
            f"{path}: {part} passes the end at {claimed / rate_hz:.2f} s; are the times in seconds?"
        )
    if not 0 <= start < end:
        raise DataError(f"{path}: {part} is empty; start must lie before end")
    return start, min(end, claimed)

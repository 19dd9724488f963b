"""Decodes speech: any file libsndfile reads -> float32 mono at the paper's sampling rate.

The only module that knows soundfile and soxr; tensorflow-io, which may decode in soundfile's
place, is in tfser/audio/tfio_decoder.py. Every unusable file is a DataError of one line that names
the file and the reason.
"""

import contextlib
import io
import itertools
import re

import numpy as np
import soundfile
import soxr

from tfser.errors import DataError
from tfser.storage import s3

HEAD_BYTES = 1024  # enough to tell what a file is
SHORTEST_SECONDS = 0.025  # one analysis window of the papers
LOWEST_RATE_HZ = 2000  # below it a header is damaged, not a recording of speech
SPARE_SECONDS = 0.1  # an end this far past the file's is a rounded time, not a wrong one
BLOCK_SAMPLES = 2**22  # over all channels: 16 MB at a time, whatever a header claims
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile, for a FLAC stream whose header leaves the length open
STREAMED_BYTES = 0x7FFF0000  # sox and ffmpeg write sizes above it into the headers of streams
BAD_SEEK = 39  # libsndfile's SFE_BAD_SEEK
MP3_SPARE_FRAMES = 2 * 1152  # an mp3's length is an estimate, its last packets may be padding


def load(path, *, sample_rate_hz=16000, start_seconds=None, end_seconds=None) -> np.ndarray:
    """Reads a file, or the part of it from start to end, as mono float32 [samples].

    Channels are averaged; other rates are resampled (soxr HQ). Raises DataError for anything
    that is missing, truncated, silent, not finite, not sound, or shorter than 25 ms.
    """
    path = s3.path(path)
    with _errors_of(path):
        waveform, rate_hz = _decode(path, start_seconds, end_seconds)
    return _usable(path, waveform, rate_hz, sample_rate_hz)


def waveforms(cuts, *, sample_rate_hz, decoder="soundfile"):
    """Yields what `load` gives for each cut, or the DataError that it raises.

    Args:
        cuts: with path, start_seconds and end_seconds, such as utterances.
        decoder: "soundfile", or "tensorflow-io" in the graph of a tf.data pipeline: the same
            samples, bit for bit where the format is lossless, one file after the other.
    """
    if decoder == "tensorflow-io":
        yield from _by_tensorflow_io(cuts, sample_rate_hz)
        return
    for cut in cuts:
        times = {"start_seconds": cut.start_seconds, "end_seconds": cut.end_seconds}
        try:
            yield load(cut.path, sample_rate_hz=sample_rate_hz, **times)
        except DataError as error:
            yield error


def _by_tensorflow_io(cuts, sample_rate_hz):
    from tfser.audio import tfio_decoder  # it imports TensorFlow

    # The parts of a long recording stand beside each other: it is decoded once.
    files = [(path, list(group)) for path, group in itertools.groupby(cuts, lambda cut: cut.path)]
    decoded = tfio_decoder.decoded([path for path, _ in files])
    for (path, of_file), (samples, rate_hz, problem) in zip(files, decoded, strict=True):
        for cut in of_file:
            try:
                if problem:
                    raise DataError(problem)
                start, end = _part(path, len(samples), rate_hz, cut.start_seconds, cut.end_seconds)
                mono = (
                    samples[start:end, 0]
                    if samples.shape[1] == 1
                    else (samples[start:end].mean(axis=1))
                )
                yield _usable(path, mono, rate_hz, sample_rate_hz)
            except DataError as error:
                yield error


def _usable(path, waveform, rate_hz, sample_rate_hz):
    """The waveform [samples] at another rate; DataError where nobody could hear speech in it."""
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


def duration_seconds(path) -> float:
    """How long a file is: counted where its header does not know (mp3, streams), which reads it.

    Raises DataError as `load` does.
    """
    path = s3.path(path)
    with _errors_of(path):
        source, head = _source(path)
        with _open(path, source, head) as file:
            n_frames = file.frames
            if file.format == "MP3" or n_frames == UNKNOWN_FRAMES:
                n_frames = sum(len(block) for block in _blocks(file, UNKNOWN_FRAMES))
            return n_frames / file.samplerate


def versions() -> dict[str, str]:
    """Of what decodes and resamples, which decides the samples: {name: version}."""
    return {
        "soundfile": soundfile.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
    }


@contextlib.contextmanager
def _errors_of(path):
    """What libraries say of a file, as a DataError of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: cannot be decoded ({error.error_string.strip('.')}); "
            "truncated or damaged, copy it again"
        ) from None


def _decode(path, start_seconds, end_seconds):
    """Returns (waveform [samples], rate in Hz), as the file holds them."""
    source, head = _source(path)
    with _open(path, source, head) as file:
        _check_header(path, file, head)
        rate_hz, claimed = file.samplerate, file.frames
        start, end = _part(path, claimed, rate_hz, start_seconds, end_seconds)
        if start:
            file.seek(start)
        wanted = end - start
        waveform = _read(file, wanted)
    spare = MP3_SPARE_FRAMES if file.format == "MP3" else 0
    if len(waveform) < wanted - spare and (claimed != UNKNOWN_FRAMES or end_seconds is not None):
        raise _truncated(path, len(waveform), wanted)
    return waveform, rate_hz


def facts(path, content: bytes) -> tuple:
    """What decoding.py must know of a file: (format and subtype, rate in Hz, frames, channels).

    Raises DataError as `load` does. A FLAC is read to its end for that: where its frames are
    damaged tensorflow-io has zeros, and where they end early it does not come back.
    """
    with _errors_of(path):
        if not content:
            raise DataError(f"{path}: empty file")
        with _open(path, _named(path, content), content[:HEAD_BYTES]) as file:
            _check_header(path, file, content[:HEAD_BYTES])
            n_frames = file.frames
            if file.format == "FLAC":
                n_frames = sum(len(block) for block in _blocks(file, n_frames))
                if n_frames < file.frames < UNKNOWN_FRAMES:
                    raise _truncated(path, n_frames, file.frames)
            return (file.format, file.subtype), file.samplerate, n_frames, file.channels


def _source(path):
    """(what soundfile opens, the first bytes): a file of this machine is not read as a whole."""
    if isinstance(path, s3.Remote):
        content = path.read_bytes()
        source, head = _named(path, content), content[:HEAD_BYTES]
    else:
        with open(path, "rb") as raw:
            source, head = path, raw.read(HEAD_BYTES)
    if not head:
        raise DataError(f"{path}: empty file")
    return source, head


def _named(path, content):
    """Bytes as an open file with the name that soundfile looks at."""
    file = io.BytesIO(content)
    file.name = str(path)
    return file


def _check_header(path, file, head):
    if file.samplerate < LOWEST_RATE_HZ:
        raise DataError(f"{path}: a sampling rate of {file.samplerate} Hz is not speech")
    if file.frames == 0:
        raise DataError(f"{path}: has no samples, only a header")
    _refuse_truncated(path, file, head)


def _part(path, claimed, rate_hz, start_seconds, end_seconds):
    """The first sample of a part and the one after its last, of `claimed`."""
    start = round((start_seconds or 0.0) * rate_hz)
    end = claimed if end_seconds is None else round(end_seconds * rate_hz)
    part = f"the part from {start_seconds} to {end_seconds} s"
    if start >= claimed or end > claimed + SPARE_SECONDS * rate_hz:
        raise DataError(f"{path}: {part} passes the end at {claimed / rate_hz:.2f} s")
    if not 0 <= start < end:
        raise DataError(f"{path}: {part} is empty; start must lie before end")
    return start, min(end, claimed)


def _truncated(path, n_samples, wanted):
    return DataError(
        f"{path}: truncated, only {n_samples} of {wanted} samples are there; copy it again"
    )


def _open(path, source, head):
    try:
        file = soundfile.SoundFile(source)
    except TypeError:  # soundfile asks for rate and channels of anything named .raw
        raise DataError(f"{path}: raw samples without a header; convert to wav") from None
    except soundfile.LibsndfileError as error:
        if head.startswith(b"version https://git-lfs"):
            raise DataError(f"{path}: a git-LFS pointer, not the sound; run git lfs pull") from None
        if head.startswith(b"NIST_1A"):  # its header is text too
            raise DataError(
                f"{path}: a sphere file with a header that is wrong or of compressed sound "
                f"({error.error_string.strip('.')}); copy it again or run sph2pipe -p -f wav on it"
            ) from None
        start = head[:40].decode("ascii", "replace")
        if all(c.isprintable() or c.isspace() for c in start) and "\ufffd" not in start:
            raise DataError(f"{path}: text, not sound: {' '.join(start.split())!r}") from None
        raise
    if file.frames == 0 and file.format == "WAV":
        return _streamed_wav(source) or file
    return file


def _streamed_wav(source):
    """Opens a wav whose header was written before its data, or returns None if it has none.

    Programs that write to a pipe leave 0 as the size of the data, and libsndfile believes it;
    with the other usual placeholder, 2^32 - 1, it reads to the end.
    """
    whole = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
    content = bytearray(whole)
    data = content.find(b"data\0\0\0\0")
    rest = content[data + 8 :]
    next_chunk = rest[:4].isalnum() and int.from_bytes(rest[4:8], "little") + 8 <= len(rest)
    if data < 0 or not rest or next_chunk:  # then the wav really is empty
        return None
    content[data + 4 : data + 8] = b"\xff\xff\xff\xff"
    return soundfile.SoundFile(io.BytesIO(content))


def _read(file, wanted):
    """Reads up to `wanted` frames as mono: memory follows what is there."""
    return np.concatenate([np.zeros(0, "float32"), *_blocks(file, wanted)])


def _blocks(file, wanted):
    """Yields up to `wanted` frames as mono, block by block."""
    size = max(1, BLOCK_SAMPLES // file.channels)
    n_read = 0
    while n_read < wanted:
        # After each block soundfile seeks to where it stands, which FLAC cannot at the end of a
        # stream whose header does not know its length. The samples are in `block` by then, and
        # since FLAC holds integers, NaN marks the rows that were not reached.
        block = np.full((min(size, wanted - n_read), file.channels), np.nan, "float32")
        try:
            block = file.read(out=block)
        except soundfile.LibsndfileError as error:
            if file.format != "FLAC" or error.code != BAD_SEEK:
                raise
            block = block[~np.isnan(block[:, 0])]
            wanted = n_read + len(block)
        if not len(block):
            break
        yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
        n_read += len(block)


def _refuse_truncated(path, file, head):
    """Compares the sizes that the header promises with what libsndfile found in the file."""
    if file.format == "NIST":  # libsndfile takes the size of the file instead
        promised = re.search(rb"sample_count -i (\d+)", head)
        missing = int(promised[1]) - file.frames if promised else 0
        unit = "samples"
    else:
        sizes = r"(?m)^ *(?:data|SSND|riff) : (\d+) \(should be (\d+)\)"
        pairs = [(int(p), int(held)) for p, held in re.findall(sizes, file.extra_info)]
        missing = max((p - held for p, held in pairs if p < STREAMED_BYTES), default=0)
        missing -= 8 * file.channels  # a part of one frame, or an odd byte, is nobody's speech
        unit = "bytes"
    if missing > 0:
        raise DataError(
            f"{path}: truncated, {missing} {unit} fewer than its header promises; copy it again"
        )

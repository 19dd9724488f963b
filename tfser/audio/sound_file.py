"""Sound files: open one with libsndfile, check its header, read it block by block."""

import contextlib
import io
import re

import numpy as np
import soundfile

from tfser.errors import DataError
from tfser.storage import s3

HEAD_BYTES = 1024  # enough to recognize the format
LOWEST_RATE_HZ = 2000  # a header with a lower rate is damaged, or the file is not speech
BLOCK_SAMPLES = 2**22  # over all channels: 16 MB at a time, for any length in the header
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's length of a FLAC stream without a length in its header
STREAMED_BYTES = 0x7FFF0000  # sox and ffmpeg write larger sizes into the headers of streams
BAD_SEEK = 39  # libsndfile's SFE_BAD_SEEK
MP3_SPARE_FRAMES = 2 * 1152  # the length of an mp3 is an estimate, its last packets may be padding


@contextlib.contextmanager
def as_data_error(path):
    """Raise the errors of Python and libsndfile as a DataError of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: cannot be decoded ({error.error_string.strip('.')}); "
            "truncated or damaged, copy it again"
        ) from None


def read_header(path, content: bytes) -> tuple:
    """Return ((format, subtype), rate in Hz, frames, channels) of a file's content.

    Raises DataError as `load_audio`. A FLAC is read to its end: tensorflow-io decodes damaged
    frames to zeros, and hangs at a truncated FLAC.
    """
    with as_data_error(path):
        if not content:
            raise DataError(f"{path}: empty file")
        with open_sound(path, _named_bytes(path, content), content[:HEAD_BYTES]) as file:
            check_header(path, file, content[:HEAD_BYTES])
            n_frames = file.frames
            if file.format == "FLAC":
                n_frames = sum(len(block) for block in read_blocks(file, n_frames))
                if n_frames < file.frames < UNKNOWN_FRAMES:
                    raise truncated_error(path, n_frames, file.frames)
            return (file.format, file.subtype), file.samplerate, n_frames, file.channels


def open_source(path):
    """Return a source for soundfile and the first bytes; a local file is not read to its end.

    Raises DataError for an empty file.
    """
    if isinstance(path, s3.S3Path):
        content = path.read_bytes()
        source, head = _named_bytes(path, content), content[:HEAD_BYTES]
    else:
        with open(path, "rb") as raw:
            source, head = path, raw.read(HEAD_BYTES)
    if not head:
        raise DataError(f"{path}: empty file")
    return source, head


def _named_bytes(path, content):
    """Return bytes as an open file with the name from which soundfile takes the format."""
    file = io.BytesIO(content)
    file.name = str(path)
    return file


def check_header(path, file, head):
    """Raise DataError for a header without speech, or a truncated file."""
    if file.samplerate < LOWEST_RATE_HZ:
        raise DataError(f"{path}: a sampling rate of {file.samplerate} Hz is not speech")
    if file.frames == 0:
        raise DataError(f"{path}: has no samples, only a header")
    _refuse_truncated(path, file, head)


def truncated_error(path, n_samples, n_expected):
    """Return the DataError of a truncated file."""
    return DataError(
        f"{path}: truncated, only {n_samples} of {n_expected} samples are there; copy it again"
    )


def open_sound(path, source, head):
    """Open a file with libsndfile; raise DataError with the reason for a file without sound."""
    try:
        file = soundfile.SoundFile(source)
    except TypeError:  # soundfile needs rate and channels of a file named .raw
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
        return _open_streamed_wav(source) or file
    return file


def _open_streamed_wav(source):
    """Open a wav with 0 as the size of its data; return None if there is no data.

    Programs that write to a pipe leave 0 as the size, and libsndfile then reads nothing. With the
    other usual placeholder, 2^32 - 1, libsndfile reads to the end.
    """
    content = source.getvalue() if isinstance(source, io.BytesIO) else source.read_bytes()
    content = bytearray(content)
    data = content.find(b"data\0\0\0\0")
    rest = content[data + 8 :]
    next_chunk = rest[:4].isalnum() and int.from_bytes(rest[4:8], "little") + 8 <= len(rest)
    if data < 0 or not rest or next_chunk:  # the wav is empty
        return None
    content[data + 4 : data + 8] = b"\xff\xff\xff\xff"
    return soundfile.SoundFile(io.BytesIO(content))


def read_blocks(file, n_samples):
    """Yield up to `n_samples` as mono [samples], block by block."""
    size = max(1, BLOCK_SAMPLES // file.channels)
    n_read = 0
    while n_read < n_samples:
        # After each block soundfile seeks to its position. The seek fails at the end of a FLAC
        # stream without a length in its header. `block` has the samples by then, and since FLAC
        # holds integers, NaN marks the rows that were not read.
        block = np.full((min(size, n_samples - n_read), file.channels), np.nan, "float32")
        try:
            block = file.read(out=block)
        except soundfile.LibsndfileError as error:
            if file.format != "FLAC" or error.code != BAD_SEEK:
                raise
            block = block[~np.isnan(block[:, 0])]
            n_samples = n_read + len(block)
        if not len(block):
            break
        yield block[:, 0] if file.channels == 1 else block.mean(axis=1)
        n_read += len(block)


def _refuse_truncated(path, file, head):
    """Raise DataError if the header has larger sizes than libsndfile finds in the file."""
    if file.format == "NIST":  # libsndfile takes the size of the file instead
        match = re.search(rb"sample_count -i (\d+)", head)
        missing = int(match[1]) - file.frames if match else 0
        unit = "samples"
    else:
        sizes = r"(?m)^ *(?:data|SSND|riff) : (\d+) \(should be (\d+)\)"
        pairs = [(int(p), int(held)) for p, held in re.findall(sizes, file.extra_info)]
        missing = max((p - held for p, held in pairs if p < STREAMED_BYTES), default=0)
        missing -= 8 * file.channels  # less than a frame, or an odd byte, is no speech
        unit = "bytes"
    if missing > 0:
        raise DataError(
            f"{path}: truncated, {missing} {unit} fewer than its header promises; copy it again"
        )

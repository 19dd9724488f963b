"""Sound files: open one with libsndfile, check its header, read it block by block."""

import contextlib
import io
import re

import numpy as np
import soundfile

from tfser.errors import DataError
from tfser.storage import s3

HEAD_BYTES = 1024  # enough to tell what a file is
LOWEST_RATE_HZ = 2000  # below it a header is damaged, not a recording of speech
BLOCK_SAMPLES = 2**22  # over all channels: 16 MB at a time, whatever a header claims
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile, for a FLAC stream whose header leaves the length open
STREAMED_BYTES = 0x7FFF0000  # sox and ffmpeg write sizes above it into the headers of streams
BAD_SEEK = 39  # libsndfile's SFE_BAD_SEEK
MP3_SPARE_FRAMES = 2 * 1152  # an mp3's length is an estimate, its last packets may be padding


@contextlib.contextmanager
def as_data_error(path):
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


def read_header(path, content: bytes) -> tuple:
    """What decoding.py must know of a file: (format and subtype, rate in Hz, frames, channels).

    Raises DataError as `load` does. A FLAC is read to its end for that: where its frames are
    damaged tensorflow-io has zeros, and where they end early it does not come back.
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
    """(what soundfile opens, the first bytes): a file of this machine is not read as a whole."""
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
    """Bytes as an open file with the name that soundfile looks at."""
    file = io.BytesIO(content)
    file.name = str(path)
    return file


def check_header(path, file, head):
    """Raise DataError for a header that is no recording of speech, or a truncated file."""
    if file.samplerate < LOWEST_RATE_HZ:
        raise DataError(f"{path}: a sampling rate of {file.samplerate} Hz is not speech")
    if file.frames == 0:
        raise DataError(f"{path}: has no samples, only a header")
    _refuse_truncated(path, file, head)


def truncated_error(path, n_samples, wanted):
    """Return the DataError of a file that ends early."""
    return DataError(
        f"{path}: truncated, only {n_samples} of {wanted} samples are there; copy it again"
    )


def open_sound(path, source, head):
    """Open a file with libsndfile; raise DataError with the reason where it is no sound."""
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
        return _open_streamed_wav(source) or file
    return file


def _open_streamed_wav(source):
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


def read_blocks(file, wanted):
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

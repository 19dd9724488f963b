"""libsndfile: open a sound file, and read it block by block."""

import contextlib
import io

import numpy as np
import soundfile

from tfser.errors import DataError

BLOCK_SAMPLES = 2**22  # over all channels: 16 MB at a time, for any length in the header
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's length of a FLAC stream without a length in its header
UNRECOGNIZED, OTHER_MP3 = 1, 7  # libsndfile's errors at the first bytes of a file
REASONS = dict.fromkeys(
    (UNRECOGNIZED, OTHER_MP3), "no format by its first bytes that libsndfile reads"
)
REPAIR = ", or see what ffmpeg -i old.wav new.wav makes of it"
RAW = "; samples without a header need ffmpeg -f s16le -ar 16000 -ac 1 -i old.wav new.wav"
GSM_FRAME_BYTES = 33
BAD_SEEK = 39  # libsndfile's SFE_BAD_SEEK


@contextlib.contextmanager
def as_data_error(path):
    """Raise the errors of Python and libsndfile as a DataError of one line."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except soundfile.LibsndfileError as error:
        reason = REASONS.get(error.code, error.error_string.strip("."))
        raise DataError(
            f"{path}: cannot be decoded ({reason}); truncated or damaged, copy it again"
            + (RAW if error.code in REASONS else REPAIR)
        ) from None


def open_file(path, source, head):
    """Open a file with libsndfile; raise DataError with the reason for a file without sound."""
    try:
        file = soundfile.SoundFile(source)
        if file.format == "RAW" and not _has_gsm_frames(file, head):
            file.close()  # guessed from a name such as a.au, a.snd, a.vox
            raise soundfile.LibsndfileError(UNRECOGNIZED)
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


def _has_gsm_frames(file, head) -> bool:
    """Return true for frames of GSM 6.10 without a header, which have a signature each."""
    starts = range(0, len(head), GSM_FRAME_BYTES)
    return file.subtype == "GSM610" and all(head[i] >> 4 == 0xD for i in starts)


def _open_streamed_wav(source):
    """Open a wav with 0 as the size of its data; return None if there is no data.

    Programs that write to a pipe leave 0 as the size, and libsndfile then reads nothing. With the
    other usual placeholder, 2^32 - 1, libsndfile reads to the end.
    """
    if isinstance(source, io.BytesIO):
        content = source.getvalue()
    else:
        with open(source, "rb") as raw:
            content = raw.read()
    content = bytearray(content)
    data = content.find(b"data\0\0\0\0")
    rest = content[data + 8 :]
    next_chunk = rest[:4].isalnum() and int.from_bytes(rest[4:8], "little") + 8 <= len(rest)
    if data < 0 or not rest or next_chunk:  # the wav is empty
        return None
    content[data + 4 : data + 8] = b"\xff\xff\xff\xff"
    return soundfile.SoundFile(io.BytesIO(content))


def read_blocks(file, start, stop):
    """Yield the samples from `start` to `stop` [n, channels] block by block."""
    if start:
        file.seek(start)
    size, n_samples, n_read = max(1, BLOCK_SAMPLES // file.channels), stop - start, 0
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
        yield block
        n_read += len(block)

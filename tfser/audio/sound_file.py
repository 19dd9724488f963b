"""Sound files: open a recording, whatever decodes it.

libsndfile decodes; ffmpeg, where it is installed, what libsndfile does not read.
"""

import contextlib
import functools
import io
import os
from typing import NamedTuple

from tfser.audio import ffmpeg, libsndfile, whole_file
from tfser.audio.libsndfile import UNKNOWN_FRAMES
from tfser.audio.waveform_checks import NOISE, NOISE_OF_8_BITS
from tfser.errors import DataError
from tfser.storage import s3

HEAD_BYTES = 1024  # enough to recognize the format


class Sound(NamedTuple):
    """An open recording.

    Attributes:
        n_samples: of each channel; UNKNOWN_FRAMES where only reading to the end tells.
        n_spare: so many samples fewer are no loss.
        noise: see `waveform_checks.find_fault`.
        read_blocks: function of (first sample, sample after the last), called once, that yields
            blocks [n, channels], float32.
    """

    rate_hz: int
    n_channels: int
    n_samples: int
    n_spare: int
    noise: float
    read_blocks: object


@contextlib.contextmanager
def open_sound(path):
    """Open a recording as a `Sound`, a local file without reading it to its end.

    Raises DataError with the reason for a file without sound, or one that is not whole.
    """
    with whole_file.open_content(path) as content:
        head = bytes(content[:HEAD_BYTES])
        foreign = whole_file.foreign_format(path, content, head)
        if not foreign:
            is_local = not isinstance(path, s3.S3Path)
            source = os.fsencode(path) if is_local else _named_bytes(path, content)
            file, n_samples, _ = whole_file.open_whole(path, content, head, source)
    if not foreign:
        with file:
            yield _file_sound(file, n_samples)
    elif ffmpeg.is_installed():
        with ffmpeg.open_stream(path, foreign) as stream:
            yield _stream_sound(path, *stream)
    else:
        raise foreign_error(path, foreign)


def read_header(path, content: bytes) -> tuple:
    """Return ((format, subtype), rate in Hz, frames, channels) of a file's content.

    Raises DataError as `load_audio`, and for a file of which tensorflow-io would decode a part. A
    FLAC is read to its end: tensorflow-io decodes damaged frames to zeros, and hangs at a truncated
    FLAC.
    """
    with libsndfile.as_data_error(path):
        if not content:
            raise DataError(f"{path}: empty file")
        head = content[:HEAD_BYTES]
        if foreign := whole_file.foreign_format(path, content, head):
            raise foreign_error(path, foreign)
        file, n_samples, is_mended = whole_file.open_whole(
            path, content, head, _named_bytes(path, content)
        )
        with file:
            if is_mended:
                raise DataError(
                    f"{path}: its header has a wrong length; --set audio.decoder=soundfile reads it"
                )
            if file.format == "FLAC":
                expected, n_samples = n_samples, 0
                for block in libsndfile.read_blocks(file, 0, expected):
                    n_samples += len(block)
                if n_samples < expected < UNKNOWN_FRAMES:
                    raise whole_file.truncated_error(path, n_samples, expected)
            return (file.format, file.subtype), file.samplerate, n_samples, file.channels


def foreign_error(path, name) -> DataError:
    """Return the DataError of a format that libsndfile does not read."""
    return DataError(
        f"{path}: {name}, which libsndfile does not read; convert it by {ffmpeg.fix(path)}, "
        f"{ffmpeg.INSTALL}"
    )


def _named_bytes(path, content):
    """Return bytes as an open file with the name from which soundfile takes the format."""
    file = io.BytesIO(content)
    file.name = str(path)
    return file


def _file_sound(file, n_samples) -> Sound:
    spare = whole_file.MP3_SPARE_FRAMES if file.subtype.startswith("MPEG") else 0
    noise = NOISE_OF_8_BITS if file.subtype in ("PCM_U8", "PCM_S8") else NOISE
    read = functools.partial(libsndfile.read_blocks, file)
    return Sound(file.samplerate, file.channels, n_samples, spare, noise, read)


def _stream_sound(path, rate_hz, n_channels, blocks) -> Sound:
    """Return the Sound of a stream of ffmpeg, which has no length and no seek."""
    whole_file.check_rate(path, rate_hz)

    def read(start, stop):
        position = 0
        for block in blocks:
            part = block[max(start - position, 0) : stop - position]
            position += len(block)
            if len(part):
                yield part
            if position >= stop:
                return

    return Sound(rate_hz, n_channels, UNKNOWN_FRAMES, 0, NOISE, read)

"""Checks that a sound file is whole, and that libsndfile reads all of it."""

import contextlib
import functools
import io
import mmap
import os
import re
import stat

import soundfile

from tfser.audio import chunks, file_formats, flac, libsndfile, mpeg, ogg, rare_formats
from tfser.audio.libsndfile import UNKNOWN_FRAMES
from tfser.errors import DataError
from tfser.storage import s3

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 2000, 768000  # of speech; another header is damaged
STREAMED_BYTES = 0x7FFF0000  # sox and ffmpeg write larger sizes into the headers of streams
MP3_SPARE_FRAMES = 2 * 1152  # the length of an mp3 is an estimate, its last packets may be padding
MOST_OGG_SAMPLES = 8192  # of a byte: more than a packet of Vorbis or Opus has
ENDLESS_BYTES = 2**40
WHOLE_FILE_CHECKS = 256  # results in memory: the parts of a recording need one check


@contextlib.contextmanager
def open_content(path):
    """Open the content of a file, as bytes or as a memory map; raise DataError if it is empty."""
    if isinstance(path, s3.S3Path):
        content = path.read_bytes()
        if not content:
            raise DataError(f"{path}: empty file")
        yield content
        return
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise DataError(f"{path}: a folder, not a file")
    if not stat.S_ISREG(mode):  # to open a pipe would wait for ever
        raise DataError(f"{path}: a pipe or device, not a file")
    with open(path, "rb") as raw:
        if not os.fstat(raw.fileno()).st_size:
            raise DataError(f"{path}: empty file")
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def truncated_error(path, n_samples, n_expected):
    """Return the DataError of a truncated file."""
    return DataError(
        f"{path}: truncated, only {n_samples} of {n_expected} samples are there; copy it again"
    )


def _check(function, path, content):
    """Return function(content), of a local file once for all its parts."""
    if isinstance(path, s3.S3Path) or isinstance(content, bytes):
        return function(content)
    status = os.stat(path)
    return _check_version(function, path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(WHOLE_FILE_CHECKS)
def _check_version(function, path, *_):
    with open_content(path) as content:
        return function(content)


def foreign_format(path, content, head) -> str:
    """Name a format that libsndfile does not read; raise DataError for a damaged container."""
    if what := file_formats.describe_other(head):
        raise DataError(f"{path}: {what}")
    name = file_formats.identify(head)
    if head.startswith(ogg.MAGIC):
        damage = _check(ogg.find_damage, path, content)
        if damage == ogg.CHAINED:
            return f"Ogg of {ogg.CHAINED}"
        if damage:
            raise DataError(f"{path}: {damage}; copy it again")
    elif not name and (damage := chunks.find_damage(content)):
        if damage == chunks.VOC_IN_PARTS:
            return damage
        raise DataError(f"{path}: {damage}")
    return name


def open_whole(path, content, head, source):
    """Return (SoundFile, samples, true if the length in the header was wrong)."""
    file = libsndfile.open_file(path, source, head)
    try:
        check_rate(path, file.samplerate)
        if file.frames == 0:
            raise DataError(f"{path}: has no samples, only a header")
        _refuse_truncated(path, file, head, content)
        rare_formats.check_length(path, file, len(content))
        if file.format == "MP3":
            return _open_whole_mp3(path, content, file)
        if file.subtype.startswith("MPEG"):  # mp3 in a wav
            return _open_whole_mp3(path, content[content.find(b"data") + 8 :], file)
        if file.format == "FLAC":
            return _open_whole_flac(path, content, file)
        if file.format == "OGG" and file.frames > MOST_OGG_SAMPLES * len(content):
            raise DataError(
                f"{path}: damaged, its last page counts {file.frames} samples, more than its "
                f"{len(content)} bytes can have; copy it again"
            )
        return file, file.frames, False
    except BaseException:
        file.close()
        raise


def check_rate(path, rate_hz: int) -> None:
    """Raise DataError for a sampling rate that no recording of speech has."""
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        raise DataError(f"{path}: a sampling rate of {rate_hz} Hz is not speech; a damaged header?")


def _open_whole_mp3(path, content, file):
    frames = _check(mpeg.count_frames, path, content)
    if frames is None:
        raise DataError(
            f"{path}: an mp3 of free format or of one frame, whose length is not known; decode it "
            "to wav, by lame --decode"
        )
    if frames.has_others:
        raise DataError(
            f"{path}: its sampling rate or number of channels changes, as in recordings one after "
            "the other; separate them, or convert it by ffmpeg -i old.mp3 -ar 16000 -ac 1 new.wav"
        )
    if frames.n_lost_bytes > mpeg.SPARE_BYTES:
        raise DataError(
            f"{path}: damaged, {frames.n_lost_bytes} of its bytes are no frames; copy it again"
        )
    if (frames.n_promised or 0) > frames.n_frames + 2:
        promised = frames.n_promised * frames.frame_samples
        raise truncated_error(path, frames.n_samples, promised)
    # A right header trims the encoder's padding, up to a few frames.
    if frames.n_promised and frames.n_frames <= frames.n_promised + 2:
        return file, file.frames, False
    if 0 <= file.frames - frames.n_samples <= MP3_SPARE_FRAMES:
        return file, file.frames, False
    file.close()
    return soundfile.SoundFile(_EndlessBytes(content[frames.first :])), frames.n_samples, True


class _EndlessBytes(io.BytesIO):
    """The frames of an mp3 as a file that seems far longer: libsndfile then reads them all."""

    def seek(self, offset, whence=io.SEEK_SET):
        if whence == io.SEEK_END:
            offset, whence = offset + ENDLESS_BYTES, io.SEEK_SET
        return super().seek(offset, whence)

    def readinto(self, buffer):
        if self.tell() < ENDLESS_BYTES - mpeg.ID3V1_BYTES:
            return super().readinto(buffer)
        buffer[:] = bytes(len(buffer))  # at the end, where libsndfile looks for a tag, is none
        return len(buffer)


def _open_whole_flac(path, content, file):
    start = flac.find_header(content)
    if content.find(flac.MAGIC + b"\0\0\0\x22", start + 4) >= 0:
        raise DataError(f"{path}: a second recording follows the first; separate them")
    if damage := flac.find_block_damage(content, start):
        raise DataError(f"{path}: {damage}; copy it again")
    if file.frames == UNKNOWN_FRAMES or flac.ends_at(content, start, file.frames):
        return file, file.frames, False
    copy = flac.without_count(content, start)
    with soundfile.SoundFile(io.BytesIO(copy)) as whole:
        n_samples = sum(len(block) for block in libsndfile.read_blocks(whole, 0, UNKNOWN_FRAMES))
    if n_samples < file.frames:
        raise truncated_error(path, n_samples, file.frames)
    if n_samples == file.frames:
        return file, n_samples, False
    file.close()
    return soundfile.SoundFile(io.BytesIO(copy)), n_samples, True


def _refuse_truncated(path, file, head, content):
    """Raise DataError if the header has larger sizes than libsndfile finds in the file."""
    if file.format == "NIST":  # libsndfile takes the size of the file instead
        match = re.search(rb"sample_count -i (\d+)", head)
        missing = int(match[1]) - file.frames if match else 0
        unit = "samples"
        if content.find(b"NIST_1A", 1) > 0:
            raise DataError(f"{path}: a second recording follows the first; separate them")
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

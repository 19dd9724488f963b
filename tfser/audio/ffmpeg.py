"""Decoding by ffmpeg, where it is installed, of what libsndfile does not read.

ffmpeg writes the samples into a pipe. It runs without a shell, and reads no file but the one it is
given: no playlists, no networks.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tfser.audio.notices import warn_once
from tfser.errors import DataError
from tfser.storage import s3

# Demuxers of recordings; those that open other files (hls, concat, dash) are left out.
DEMUXERS = (
    "mov,matroska,webm,asf,amr,amrnb,amrwb,ogg,aac,ac3,eac3,dts,wv,tta,ape,mpc,mpc8,tak,shn,rm,dsf,"
    "iff,flv,avi,mpeg,mpegts,caf,wav,w64,aiff,au,voc,mp3,flac,qcp,gsm,nistsphere"
)
INSTALL = "or install ffmpeg, and it is decoded by itself"
BLOCK_BYTES = 2**22
HEADER_BYTES = 24  # of Sun's .au, with the rate and the number of channels


def fix(path) -> str:
    """Return the command that converts a recording to wav."""
    path = Path(path)
    target = path.with_suffix(".wav").name
    if target == path.name:
        target = f"{path.stem}-converted.wav"
    return f"ffmpeg -i {shlex.quote(path.name)} {shlex.quote(target)}"


def is_installed() -> bool:
    """Return true if there is an ffmpeg on the PATH."""
    return shutil.which("ffmpeg") is not None


@contextlib.contextmanager
def open_stream(path, name: str):
    """Yield (rate in Hz, channels, generator of blocks [n, channels] float32) of a recording.

    name: of the format, for the warning that ffmpeg decodes.

    Raises DataError with ffmpeg's reason, also from the generator.
    """
    warn_once(f"ffmpeg {name}", "%s: %s, which libsndfile does not read: ffmpeg decodes this file "
              "and all others of its format", path, name)  # fmt: skip
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        process = subprocess.Popen(
            _command(_local_path(path, stack)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        stack.callback(_end, process)
        header = process.stdout.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise _error(path, name, process, errors)
        first, _, _, rate_hz, n_channels = np.frombuffer(header[4:], ">u4").tolist()
        process.stdout.read(first - HEADER_BYTES)
        yield rate_hz, n_channels, _read_blocks(path, name, process, errors, n_channels)


def _command(path) -> list:
    source = b"file:" + os.fsencode(os.path.abspath(path))
    return [
        "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file",
        "-format_whitelist", DEMUXERS, "-i", source, "-map", "0:a:0",
        "-c:a", "pcm_f32be", "-f", "au", "-",
    ]  # fmt: skip


def _local_path(path, stack):
    """Return the path, or that of a temporary copy of an object of S3."""
    if not isinstance(path, s3.S3Path):
        return path
    copy = stack.enter_context(tempfile.NamedTemporaryFile())
    copy.write(path.read_bytes())
    copy.flush()
    return copy.name


def _read_blocks(path, name, process, errors, n_channels):
    size = BLOCK_BYTES // (4 * n_channels) * 4 * n_channels
    while content := process.stdout.read(size):
        whole = len(content) // (4 * n_channels) * 4 * n_channels
        yield np.frombuffer(content[:whole], ">f4").astype("float32").reshape(-1, n_channels)
    if process.wait() or errors.tell():
        raise _error(path, name, process, errors)


def _error(path, name, process, errors) -> DataError:
    process.wait()
    errors.seek(0)
    lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    reason = lines[0].rpartition(": ")[2] if lines else f"exit code {process.returncode}"
    return DataError(
        f"{path}: {name}, which ffmpeg cannot decode whole ({reason}); truncated or damaged, copy "
        f"it again, or see what {fix(path)} makes of it"
    )


def _end(process) -> None:
    process.kill()
    process.stdout.close()
    process.wait()

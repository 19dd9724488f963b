"""Lengths of rare formats that libsndfile reads, by its description of an open file.

libsndfile takes the size of the file where it differs from the length in the header.
"""

import re

from tfser.audio.notices import warn_once
from tfser.errors import DataError

# The number of samples in libsndfile's description; the last one counts.
IN_HEADER = {
    "AVR": r"Frames +: (\d+)",
    "MPC2K": r"Frames +: (\d+)",
    "MAT4": r"Cols +: (\d+)",
    "MAT5": r"Cols +: (\d+)",
    "WVE": r"Data length (\d+) should be",
}
WITHOUT_LENGTH = ("IRCAM", "PAF", "PVF")
SDS_BLOCK = 60  # samples at most, the last block is padded
WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
SPARE_BYTES = 4096  # of headers


def check_length(path, file, n_bytes: int) -> None:
    """Raise DataError for a rare format that is truncated, longer than its header, or without rate.

    file: an open `SoundFile` of `n_bytes`. Warns of a format without a length.
    """
    if file.format == "XI":
        raise DataError(
            f"{path}: an instrument (xi), which has no sampling rate; convert it to wav"
        )
    if file.format in WITHOUT_LENGTH:
        warn_once(
            f"no length of {file.format}",
            "%s: the header of %s has no length, so that a truncated file is not found",
            *(path, file.format),
        )
    found, n_samples, spare = file.frames, file.frames, 0
    numbers = re.findall(IN_HEADER.get(file.format, "$^"), file.extra_info)
    if numbers:
        n_samples = int(numbers[-1])
    elif file.format == "SDS":  # its header counts, and the description has what is there
        found, spare = int(re.findall(r"Frames +: (\d+)", file.extra_info)[-1]), SDS_BLOCK
    if found < n_samples:
        raise DataError(
            f"{path}: truncated, only {found} of {n_samples} samples are there; copy it again"
        )
    n_more = n_bytes - n_samples * file.channels * WIDTHS.get(file.subtype, 8)
    is_longer = file.format in ("MAT4", "MAT5") and n_more > SPARE_BYTES
    if found > n_samples + spare or is_longer:
        raise DataError(
            f"{path}: more sound follows the {n_samples} samples that its header promises; "
            "separate the recordings"
        )

"""Length of a FLAC by its last frame, read without decoding.

libsndfile stops at the number of samples in a FLAC's header.
"""

MAGIC = b"fLaC"
TAIL_BYTES = 1 << 16  # has the last frame, unless the header says that frames are larger
HEADER_BYTES = 42  # MAGIC, the head of STREAMINFO, and STREAMINFO


def find_header(content) -> int:
    """Return the position of a FLAC's header, after an ID3 tag; -1: there is none."""
    return content.find(MAGIC) if content[:3] == b"ID3" else content[:4].find(MAGIC)


def count_samples(content, start) -> int:
    """Return the number of samples by the header at `start`; 0: unknown."""
    return int.from_bytes(content[start + 21 : start + 26], "big") & (1 << 36) - 1


def without_count(content, start) -> bytearray:
    """Return a copy whose header says that the number of samples is unknown."""
    copy = bytearray(content)
    copy[start + 21 : start + 26] = bytes([copy[start + 21] & 0xF0, 0, 0, 0, 0])
    return copy


def find_block_damage(content, start) -> str:
    """Return how the first frame differs from the header's size of blocks; "": it does not.

    libFLAC multiplies the numbers of frames by that size.
    """
    size = int.from_bytes(content[start + 8 : start + 10], "big")
    position, is_last = start + len(MAGIC), False
    while not is_last and position + 4 <= len(content):
        is_last = content[position] & 0x80
        position += 4 + int.from_bytes(content[position + 1 : position + 4], "big")
    frame = content[position : position + 16]
    if frame[:2] != b"\xff\xf8":  # blocks of one size
        return ""
    first = _frame_end(frame, size)
    is_only = first is not None and count_samples(content, start) in (0, first)
    if first is None or first == size or is_only:
        return ""
    return f"damaged, its header has blocks of {size} samples, and the first has {first}"


def ends_at(content, start, n_samples) -> bool:
    """Return true if the last frame of a FLAC ends with sample `n_samples`."""
    block_samples = int.from_bytes(content[start + 8 : start + 10], "big")
    frame_bytes = int.from_bytes(content[start + 15 : start + 18], "big")
    tail = content[-TAIL_BYTES - 2 * frame_bytes :]
    position = len(tail)
    while (position := tail.rfind(b"\xff", 0, position)) >= 0:
        if _frame_end(tail[position : position + 16], block_samples) == n_samples:
            return True
    return False


def _frame_end(header, block_samples) -> int | None:
    """Return the number of the sample after the frame with a header; None: it is no header."""
    if len(header) < 6 or header[1] not in (0xF8, 0xF9):
        return None
    code, n_more, first = header[2] >> 4, 0, header[4]
    if code == 0 or first in (0x80, 0xFF):
        return None
    number = first  # coded as UTF-8 codes a character
    if first >= 0xC0:
        n_more = next((n for n in range(1, 7) if not first << (n + 1) & 0x80), 0)
        number = first & (0x3F >> n_more)
        for byte in header[5 : 5 + n_more]:
            number = number << 6 | byte & 0x3F
    after = header[5 + n_more : 7 + n_more]
    if code == 1:
        n_samples = 192
    elif code <= 5:
        n_samples = 576 << (code - 2)
    elif code <= 7:
        n_samples = 1 + int.from_bytes(after[: code - 5], "big")
    else:
        n_samples = 256 << (code - 8)
    is_first_sample = header[1] == 0xF9  # else the number of the frame
    return number * (1 if is_first_sample else block_samples) + n_samples

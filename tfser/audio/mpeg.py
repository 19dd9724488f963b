"""Frames of MPEG audio (mp3, mp2), counted without decoding.

libsndfile estimates the length of a file without a Xing or VBRI header from its first frames, and
believes a wrong one.
"""

import functools
from typing import NamedTuple

VERSIONS = {3: 1, 2: 2, 0: 2.5}  # bits of a frame's header -> MPEG version
RATES_HZ = (44100, 48000, 32000)  # of MPEG 1
KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
ID3V1_BYTES = 128
TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # of which only the start is looked at
SPARE_BYTES = 4096  # so much padding or rest of a frame is no loss


class Frame(NamedTuple):
    """Size of a frame, and what is equal in all frames of a recording."""

    n_bytes: int
    n_samples: int
    kind: tuple  # (version, layer, rate in Hz)


class Frames(NamedTuple):
    """Frames of a file.

    Attributes:
        n_frames: without the frame of a Xing or VBRI header.
        n_samples: of each channel, of all frames.
        frame_samples: of a frame.
        first: position of the first frame with sound.
        n_promised: frames by the Xing or VBRI header; None: the file has no such header.
        n_lost_bytes: bytes among or after the frames that are neither frame, tag nor zeros.
        has_others: some frames have another rate, layer or number of channels than the first.
    """

    n_frames: int
    n_samples: int
    frame_samples: int
    first: int
    n_promised: int | None
    n_lost_bytes: int
    has_others: bool


def count_frames(content) -> Frames | None:
    """Count the frames of a file's content (bytes or a memory map); None: it has none."""
    position = _find_frame(content, _skip_id3v2(content, 0), None)
    if position is None:
        return None
    frame = parse_frame(content[position : position + 3])
    n_promised = _promised_frames(content[position : position + frame.n_bytes], frame)
    if n_promised is not None:
        position += frame.n_bytes
    is_mono = _is_mono(content, position)
    first, n_frames, n_lost, size, has_others = position, 0, 0, len(content), False
    while position + 4 <= size:
        found = parse_frame(content[position : position + 3])
        if found and found.kind == frame.kind:
            n_frames += position + found.n_bytes <= size
            has_others |= _is_mono(content, position) != is_mono
            position += found.n_bytes
        elif (after_tag := _skip_id3v2(content, position)) > position:
            position = after_tag
        elif content[position : position + 11].startswith(TAGS):
            after_tag = _find_frame(content, position, frame.kind)
            position = size if after_tag is None else after_tag
        else:
            after_loss = _find_frame(content, position, frame.kind)
            after_loss = _end_of_sound(content, position) if after_loss is None else after_loss
            has_others |= _find_frame(content[position:after_loss], 0, None) is not None
            n_lost += len(content[position:after_loss].strip(b"\0"))
            position = max(after_loss, position + 1)
    n_samples = n_frames * frame.n_samples
    return Frames(n_frames, n_samples, frame.n_samples, first, n_promised, n_lost, has_others)


def _is_mono(content, position) -> bool:
    """Return true if the frame at a position has one channel."""
    return content[position + 3] >> 6 == 3


@functools.cache
def parse_frame(header: bytes) -> Frame | None:
    """Parse the first 3 bytes of a frame; None: no frame, or one of free format."""
    if len(header) < 3 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = VERSIONS.get(header[1] >> 3 & 3), 4 - (header[1] >> 1 & 3)
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version is None or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    rate_hz = RATES_HZ[rate] // {1: 1, 2: 2, 2.5: 4}[version]
    low = version != 1  # sampling rates of half and a quarter
    bits_per_second = 1000 * KBITS[(2, min(layer, 2)) if low else (1, layer)][bits - 1]
    padding = header[2] >> 1 & 1
    n_samples = 384 if layer == 1 else 576 if layer == 3 and low else 1152
    if layer == 1:
        n_bytes = 4 * (12 * bits_per_second // rate_hz + padding)
    else:
        n_bytes = n_samples // 8 * bits_per_second // rate_hz + padding
    return Frame(n_bytes, n_samples, (version, layer, rate_hz))


def _find_frame(content, start, kind):
    """Return the position of the next frame (of a kind) that another frame or the end follows."""
    position = content.find(b"\xff", start)
    while position >= 0:
        frame = parse_frame(content[position : position + 3])
        if frame and kind in (None, frame.kind):
            after = position + frame.n_bytes
            following = parse_frame(content[after : after + 3])
            if after == len(content) or following and following.kind == frame.kind:
                return position
        position = content.find(b"\xff", position + 1)
    return None


def _skip_id3v2(content, position):
    """Return the position after ID3v2 tags, or `position`."""
    while content[position : position + 3] == b"ID3" and position + 10 <= len(content):
        flags, *size = content[position + 5 : position + 10]
        n_bytes = sum(byte << 7 * (3 - i) for i, byte in enumerate(size))  # 7 bits in a byte
        position += 10 + n_bytes + (10 if flags & 0x10 else 0)
    return min(position, len(content))


def _end_of_sound(content, position):
    """Return the position of the tags at the end of a file, else the file's end."""
    starts = [content.find(tag, position) for tag in (b"APETAGEX", b"LYRICSBEGIN")]
    starts.append(len(content) - ID3V1_BYTES if content[-ID3V1_BYTES:][:3] == b"TAG" else -1)
    return min([start for start in starts if start >= position], default=len(content))


def _promised_frames(first, frame):
    """Return the number of frames by the Xing or VBRI header in the first frame, or None.

    A header without the number gives 0.
    """
    position = max(first.find(b"Xing", 4, 48), first.find(b"Info", 4, 48))
    if position > 0 and frame.kind[1] == 3:
        has_number = first[position + 7] & 1
        return int.from_bytes(first[position + 8 : position + 12], "big") if has_number else 0
    if first[36:40] == b"VBRI":
        return int.from_bytes(first[50:54], "big")
    return None

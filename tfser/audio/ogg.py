"""Pages of Ogg files (Vorbis, Opus), checked without decoding.

libsndfile leaves out damaged pages and all recordings after the first, and believes the length that
the last page has.
"""

import zlib

MAGIC = b"OggS"
FIRST, LAST = 2, 4  # flags of a page
NO_PACKET_ENDS = 2**64 - 1  # as the granule position of a page
SPARE_BYTES = 1024  # after the last page
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))  # each byte's bits
CHAINED = "several recordings one after the other"


def find_damage(content) -> str:
    """Return why a file's content (bytes or a memory map) is not whole; "": it is.

    CHAINED: it is whole, but has more than one recording.
    """
    position, size, has_sound, numbers, granules = 0, len(content), False, {}, {}
    while content[position : position + 4] == MAGIC:
        header = content[position : position + 27]
        n_segments = header[26] if len(header) == 27 else 0
        end = position + 27 + n_segments
        end += sum(content[position + 27 : end])
        if len(header) < 27 or end > size:
            return f"truncated, its last page lacks {max(end, position + 27) - size} bytes"
        if _checksum(content[position:end]) != int.from_bytes(header[22:26], "little"):
            return f"damaged, the page at byte {position} has a wrong checksum"
        serial, number = header[14:18], int.from_bytes(header[18:22], "little")
        granule = int.from_bytes(header[6:14], "little")
        if header[5] & FIRST:
            if has_sound:
                return CHAINED
        else:
            has_sound = True
            if number != numbers.get(serial, number - 1) + 1:
                return f"damaged, pages before byte {position} are missing"
        if granule != NO_PACKET_ENDS:
            if granule < granules.get(serial, 0):
                return (
                    f"damaged, the page at byte {position} counts fewer samples than a page before"
                )
            granules[serial] = granule
        numbers[serial], position = number, end
    if len(content[position:].strip(b"\0")) > SPARE_BYTES:
        return f"damaged, {size - position} bytes from byte {position} are no pages"
    return ""


def _checksum(page) -> int:
    """Return the CRC-32 of a page, with its field of the checksum zero.

    Ogg's CRC is zlib's with the bits of each byte and of the result reversed, without inversion.
    """
    page = (page[:22] + b"\0\0\0\0" + page[26:]).translate(REVERSED)
    reversed_crc = zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reversed_crc.to_bytes(4, "little").translate(REVERSED), "big")

"""Sizes of the chunks of wav, aiff, caf, w64, au and voc files, compared with the files' sizes.

libsndfile reads the sound that a size names, and ignores what follows.
"""

import re

SPARE_BYTES = 1024  # so much after the sound is no loss
STREAMED_BYTES = 0x7FFF0000  # sox and ffmpeg write larger sizes into the headers of streams
TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
RECORDINGS = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b".snd", b"riff", b"fLaC", b"OggS",
              b"NIST", b"Crea")  # fmt: skip
VOC_IN_PARTS = "voc in several parts"  # libsndfile reads the heads of the parts as samples
NAME = re.compile(rb"[\x20-\x7e]{4}")


def find_damage(content) -> str:
    """Return why a file's content (bytes or a memory map) is not one whole sound; "": it is.

    VOC_IN_PARTS: it is whole, but libsndfile does not read it.
    """
    head = content[:32]
    if head.startswith(b"Creative Voice File\x1a"):
        return _check_voc(content)
    if head[:4] in (b".snd", b"dns."):
        order = "big" if head[:4] == b".snd" else "little"
        first, n_bytes = (int.from_bytes(head[i : i + 4], order) for i in (4, 8))
        return _check_sizes(content, first, None if n_bytes == 2**32 - 1 else n_bytes, None)
    walk = _find_layout(head)
    if walk is None:
        return ""
    position, names = walk[0], (b"data", b"SSND", b"BODY")
    n_bytes_ds64 = 0
    while position + 8 <= len(content):
        name, first, n_bytes, following = _read_chunk(content, position, walk)
        if name == b"ds64":
            n_bytes_ds64 = int.from_bytes(content[first + 8 : first + 16], "little")
        if name in names:
            if head[:4] == b"RF64" and n_bytes == 2**32 - 1:
                n_bytes = n_bytes_ds64
            elif head[:4] in (b"RIFF", b"RIFX") and (n_bytes >= STREAMED_BYTES or not n_bytes):
                return ""  # sound_file.py reads it to the end
            elif head[:4] == b"caff" and n_bytes == 2**64 - 1:
                return ""
            return _check_sizes(content, first, n_bytes, walk)
        if following <= position:
            return ""
        position = following
    return ""


def _find_layout(head):
    """Return (first chunk's position, bytes of a name, of a size, byte order, multiple) or None."""
    if head[:4] in (b"RIFF", b"RF64") or head[:4] == b"RIFX":
        return 12, 4, 4, "big" if head[:4] == b"RIFX" else "little", 2
    if head[:4] == b"FORM":
        return 12, 4, 4, "big", 2
    if head[:4] == b"caff":
        return 8, 4, 8, "big", 1
    if head.startswith(b"riff\x2e\x91\xcf\x11"):  # w64
        return 40, 16, 8, "little", 8
    return None


def _read_chunk(content, position, walk):
    """Return the name of a chunk, its first byte, its size, and the position of the next chunk."""
    _, n_name, n_size, order, multiple = walk
    first = position + n_name + n_size
    n_bytes = int.from_bytes(content[position + n_name : first], order)
    if n_name == 16:  # the size of w64 includes its own head
        n_bytes = max(n_bytes - 24, 0)
    following = first + n_bytes
    return content[position : position + 4], first, n_bytes, following + -following % multiple


def _check_sizes(content, first, n_bytes, walk) -> str:
    """Return what does not fit between a sound's size and the file; n_bytes None: no size."""
    size = len(content)
    if n_bytes is None:
        return ""
    end = first + n_bytes
    if end - size > 8:  # less is no speech
        return f"truncated, {end - size} bytes fewer than its header promises; copy it again"
    rest = end
    while walk and rest + 8 <= size:
        # Some programs leave out the byte that makes a size even.
        starts = {rest, rest + -rest % walk[4]}
        chunks = [(start, _read_chunk(content, start, walk)) for start in sorted(starts)]
        for start, (name, _, n_chunk, following) in chunks:
            if name in RECORDINGS:
                return "a second recording follows the first; separate them"
            if name == b"data" and n_chunk:
                return "has its sound in several parts; ffmpeg -i old.wav new.wav joins them"
            if NAME.fullmatch(name) and following <= size + 1 and following > start:
                rest = following
                break
        else:
            break
    return _check_rest(content, rest, n_bytes)


def _check_rest(content, rest, n_bytes) -> str:
    tail = content[rest : rest + SPARE_BYTES + 1]
    if len(tail) <= SPARE_BYTES or tail.startswith(TAGS):
        return ""
    if tail.startswith(RECORDINGS):
        return "a second recording follows the first; separate them"
    n_more = len(content[rest:].strip(b"\0"))
    if n_more <= SPARE_BYTES:
        return ""
    return (
        f"{n_more} bytes follow the {n_bytes} bytes of sound that its header promises: a wrong "
        "size, or a second recording; ffmpeg -ignore_length 1 -i old.wav new.wav reads a wav whole"
    )


def _check_voc(content) -> str:
    """Return why a Creative Voice File is not one whole block of sound; "": it is."""
    position, size, n_sounds = int.from_bytes(content[20:22], "little"), len(content), 0
    while position < size and content[position]:  # a block of kind 0 is the end
        kind = content[position]
        n_bytes = int.from_bytes(content[position + 1 : position + 4], "little")
        n_sounds += kind in (1, 2, 9)
        position += 4 + n_bytes
    if position - size > 8:
        return f"truncated, {position - size} bytes fewer than its header promises; copy it again"
    if n_sounds > 1:
        return VOC_IN_PARTS
    return _check_rest(content, min(position + 1, size), position)

"""Names of file formats that libsndfile does not read, by a file's first bytes."""

from pathlib import PurePath

# Start of the file -> its format. Files of these formats may hold a recording.
RECORDINGS = {
    b"\x1aE\xdf\xa3": "Matroska",
    b"0&\xb2u\x8ef\xcf\x11": "WMA (ASF)",
    b"#!AMR": "AMR",
    b"ADIF": "AAC",
    b"\x0bw": "AC-3",
    b"\x7f\xfe\x80\x01": "DTS",
    b"wvpk": "WavPack",
    b"TTA1": "True Audio",
    b"MAC ": "Monkey's Audio",
    b"MPCK": "Musepack",
    b"MP+": "Musepack",
    b"tBaK": "TAK",
    b"OFR ": "OptimFROG",
    b"ajkg": "Shorten",
    b".RMF": "RealAudio",
    b".ra\xfd": "RealAudio",
    b"DSD ": "DSD",
    b"FRM8": "DSD",
    b"FLV\x01": "Flash video",
    b"\0\0\x01\xba": "MPEG video",
    b"#!SILK_V3": "SILK (WeChat)",
    b"\x02#!SILK_V3": "SILK (WeChat)",
}
NO_RECORDINGS = {
    b"PK\x03\x04": "a zip archive; unpack it",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"\x93NUMPY": "an array of NumPy; write it as wav by soundfile.write",
    b"MThd": "notes (MIDI), not sound",
    b"%PDF": "a PDF, not sound",
    b"\x89PNG": "a picture, not sound",
    b"\xff\xd8\xff": "a picture, not sound",
    b"bplist": "a property list, not sound",
    b"\0\x05\x16\x07": "the companion file of a Mac (AppleDouble), not sound; copy the recording",
}
SOUND_IN_OGG = {b"Speex   ": "Speex", b"\x7fFLAC": "FLAC in Ogg", b"\x80theora": "Theora (video)",
                b"fishead": "Ogg with a skeleton", b"PCM     ": "PCM in Ogg"}  # fmt: skip
# Formats of libsndfile by the first bytes: enough to tell a recording of any name.
READABLE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b".snd", b"dns.", b"riff\x2e\x91\xcf\x11",
            b"fLaC", b"OggS", b"ID3", b"NIST_1A", b"Creative Voice File")  # fmt: skip
# Codecs of libsndfile in containers.
WAV_CODECS = (0x01, 0x02, 0x03, 0x06, 0x07, 0x11, 0x31, 0x40, 0x45, 0x55, 0x64, 0xFFFE)
WAV_FOREIGN = {
    0x22: " (TrueSpeech)", 0x42: " (G.723.1)", 0x50: " (MPEG)", 0x83: " (G.729)", 0xFF: " (AAC)",
    0x161: " (WMA)", 0x162: " (WMA)", 0x2000: " (AC-3)",
}  # fmt: skip
AIFC_CODECS = ("NONE", "sowt", "twos", "raw ", "in24", "in32", "42ni", "23ni", "fl32", "FL32",
               "fl64", "FL64", "ulaw", "ULAW", "alaw", "ALAW", "ima4", "GSM ", "DWVW")  # fmt: skip
CAF_CODECS = ("lpcm", "ulaw", "alaw", "alac")
# Names of recordings that libsndfile reads, except .raw, whose samples have no header.
SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2",
    ".mp1", ".mpga", ".aiff", ".aif", ".aifc", ".afc", ".au", ".snd", ".caf", ".voc", ".sph",
    ".nist", ".sf", ".ircam", ".svx", ".8svx", ".16sv", ".iff", ".avr", ".paf", ".fap", ".pvf",
    ".wve", ".xi", ".sds", ".htk", ".amb", ".raw", ".pcm",
)  # fmt: skip
FOREIGN_SUFFIXES = (
    ".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".3gpp", ".3g2", ".aac", ".adts", ".webm",
    ".weba", ".mka", ".mkv", ".wma", ".asf", ".wmv", ".amr", ".awb", ".spx", ".ac3", ".eac3",
    ".dts", ".wv", ".tta", ".ape", ".mpc", ".tak", ".ofr", ".shn", ".ra", ".rm", ".dsf", ".dff",
    ".flv", ".avi", ".mpg", ".mpeg", ".ogv", ".ogx", ".silk", ".slk", ".gsm", ".qcp", ".dss",
    ".ds2", ".vox", ".g722", ".opu",
)  # fmt: skip


def identify(head: bytes) -> str:
    """Name the format of a recording that libsndfile does not read, else ""."""
    kind = head[4:8]
    if kind == b"ftyp":
        brand = head[8:12]
        return {b"M4A ": "M4A", b"M4B ": "M4A", b"qt  ": "QuickTime"}.get(
            brand, "3GP" if brand.startswith(b"3g") else "MP4"
        )
    if kind in (b"moov", b"mdat", b"wide") or head[4:12] == b"free\0\0\0\0":
        return "QuickTime"
    if head[:4] == b"OggS":
        return next(
            (name for start, name in SOUND_IN_OGG.items() if head[28:].startswith(start)), ""
        )
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"QLCM"):
        return {b"AVI ": "AVI", b"QLCM": "QCP"}[head[8:12]]
    if codec := _foreign_codec(head):
        return codec
    if head[:1] == b"\xff" and head[1:2] and head[1] & 0xF6 == 0xF0:
        return "AAC"
    if head[:4] == b"\x1aE\xdf\xa3" and b"webm" in head[:64]:
        return "WebM"
    if head[:1] == b"\x47" and head[188:189] == head[376:377] == b"\x47":
        return "MPEG video"
    return next((name for start, name in RECORDINGS.items() if head.startswith(start)), "")


def _foreign_codec(head) -> str:
    """Name the codec in a container that libsndfile reads, where it has none for the codec."""
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE" and b"fmt " in head:
        start = head.index(b"fmt ") + 8
        tag = int.from_bytes(head[start : start + 2], "little")
        if tag and tag not in WAV_CODECS and len(head) >= start + 16:
            return f"wav of codec 0x{tag:04x}{WAV_FOREIGN.get(tag, '')}"
    if head[:4] == b"FORM" and head[8:12] == b"AIFC" and b"COMM" in head:
        start = head.index(b"COMM") + 26
        codec = head[start : start + 4].decode("latin-1")
        if codec not in AIFC_CODECS:
            return f"aiff of codec {codec!r}"
    if head[:4] == b"caff" and head[8:12] == b"desc":
        codec = head[28:32].decode("latin-1")
        if codec not in CAF_CODECS:
            return f"caf of codec {codec!r}"
    return ""


def describe_other(head: bytes) -> str:
    """Describe a file without a recording by its first bytes, else ""."""
    return next((what for start, what in NO_RECORDINGS.items() if head.startswith(start)), "")


def has_audio_suffix(name: str) -> bool:
    """Return true if the name of a file is that of a recording."""
    return PurePath(name).suffix.lower() in SUFFIXES + FOREIGN_SUFFIXES


def has_audio_head(head: bytes) -> bool:
    """Return true if the first bytes of a file are those of a recording."""
    return head.startswith(READABLE) or bool(identify(head))

"""Recordings: damaged, cut, silent, at a wrong scale, of formats that libsndfile does not read."""

import csv
import functools
import io
import os
import struct

import numpy as np
import soundfile
from cases.case import Case

from tfser.audio import ogg

RATE = 16000
RUN = "made_before/runs/epr"


def speech(seconds=2.0, seed=0):
    """Return noise [samples] that rises and falls as syllables do."""
    t = np.arange(round(seconds * RATE)) / RATE
    noise = np.random.default_rng(seed).standard_normal(len(t))
    return (0.1 * noise * (1 + np.sin(2 * np.pi * 4 * t))).astype("float32")


def write(samples=None, rate=RATE, change=bytes, **options):
    """Return a function that writes a recording to a path, its bytes changed."""
    samples = speech() if samples is None else samples

    def make(path):
        soundfile.write(os.fsencode(path), samples, rate, **options)
        path.write_bytes(change(bytearray(path.read_bytes())))

    return make


def with_bytes(content):
    """Return a function that writes a file."""
    return lambda path: path.write_bytes(content)


def predict_folder(makers, *flags):
    """Return the arguments of tfser-predict on a folder of {name: function that writes it}."""

    def arguments(folder):
        (folder / "in").mkdir()
        for name, make in makers.items():
            make(folder / "in" / name)
        return ["--run", folder / RUN, "--folder", folder / "in", *flags]

    return arguments


def rows_of(answer):
    """Return the rows that tfser-predict has printed, by the file's name."""
    return {os.path.basename(row["file"]): row for row in csv.DictReader(answer.out.splitlines())}


def usable(seconds):
    """Return a check: the files of {name: seconds} have this duration, and no error."""

    def check(answer, _):
        rows = rows_of(answer)
        for name, end in seconds.items():
            assert not rows[name]["error"] and rows[name]["predicted"], rows[name]
            assert abs(float(rows[name]["end"]) - end) < 0.002, rows[name]

    return check


def errors(reasons):
    """Return a check: each file of {name: reason} has one row, with this error."""

    def check(answer, _):
        rows = list(csv.DictReader(answer.out.splitlines()))
        assert sorted(os.path.basename(row["file"]) for row in rows) == sorted(reasons)
        for row in rows:
            assert reasons[os.path.basename(row["file"])] in row["error"], row
            assert not row["predicted"], row

    return check


def once(text, then=None):
    """Return a check: stderr has a text once."""

    def check(answer, folder):
        assert answer.err.count(text) == 1, answer.err
        if then:
            then(answer, folder)

    return check


def without_xing(content):
    """Remove the frame with the Xing header from an mp3."""
    from tfser.audio import mpeg

    return content[mpeg.count_frames(bytes(content)).first :]


def with_xing_count(count):
    """Return a function that writes another number of frames into a Xing header."""

    def change(content):
        at = max(content.find(b"Xing"), content.find(b"Info"))
        content[at + 8 : at + 12] = count.to_bytes(4, "big")
        return content

    return change


def with_id3(content):
    """Add ID3 tags before and after an mp3."""
    return b"ID3\4\0\0\0\0\x10\0" + bytes(2048) + content + b"TAG" + bytes(125)


def with_flac_count(count):
    """Return a function that writes another number of samples into a FLAC's header."""

    def change(content):
        content[21] = content[21] & 0xF0 | count >> 32
        content[22:26] = (count & 0xFFFFFFFF).to_bytes(4, "big")
        return content

    return change


def with_granule(granule):
    """Return a function that writes another length into an Ogg's last page, and its checksum."""

    def change(content):
        at = content.rfind(b"OggS")
        content[at + 6 : at + 14] = granule.to_bytes(8, "little")
        page = bytes(content[at:])
        content[at + 22 : at + 26] = ogg._checksum(page).to_bytes(4, "little")
        return content

    return change


def with_size(at, size, order="little"):
    """Return a function that writes a size of 4 bytes."""

    def change(content):
        content[at : at + 4] = size.to_bytes(4, order)
        return content

    return change


def half(content):
    """Cut a file in half."""
    return content[: len(content) // 2]


def twice(content):
    """Write a file twice, one copy after the other."""
    return content + content


def damaged(content):
    """Change a byte in the middle."""
    content[len(content) // 2] ^= 0xFF
    return content


def quiet_then_loud():
    """Return a recording whose bit rate rises: its mp3 seems longer by the first frames."""
    x = speech(6.0)
    x[: 2 * RATE] *= 0.001
    return x


def make_ffmpeg(folder, *, fails=False):
    """Write an `ffmpeg` that answers with a second of sound, or fails."""
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    sound = struct.pack(">4s5I", b".snd", 24, 0xFFFFFFFF, 6, RATE, 1)
    (folder / "sound.au").write_bytes(sound + speech(1.0).astype(">f4").tobytes())
    line = "echo 'x: moov atom not found' >&2; exit 1" if fails else f"cat {folder / 'sound.au'}"
    program.write_text(f'#!/bin/sh\necho "$@" >> {folder / "called"}\n{line}\n')
    program.chmod(0o755)


def with_ffmpeg(makers, *, fails=False, installed=True):
    """Return arguments as `predict_folder`; the PATH, which the test restores, has an ffmpeg."""

    def arguments(folder):
        make_ffmpeg(folder, fails=fails)
        os.environ["PATH"] = f"{folder / 'bin'}:/bin:/usr/bin" if installed else str(folder)
        return predict_folder(makers)(folder)

    return arguments


def check_ffmpeg_call(answer, folder):
    """The file is given by its absolute path, and as no other protocol."""
    usable({"a.m4a": 1.0, "b.m4a": 1.0})(answer, folder)
    called = (folder / "called").read_text()
    assert f"file:{folder / 'in' / 'a.m4a'}" in called and "-protocol_whitelist file" in called


def followed_by(samples, **options):
    """Return a function that adds another recording of the format mp3 after the first."""

    def change(content):
        other = io.BytesIO()
        soundfile.write(other, samples, options.pop("rate", RATE), format="MP3", **options)
        return content + other.getvalue()

    return change


def of_free_format(content):
    """Remove the bit rates from the frames of an mp3."""
    from tfser.audio import mpeg

    content, position = bytearray(without_xing(content)), 0
    while frame := mpeg.parse_frame(bytes(content[position : position + 3])):
        content[position + 2] &= 0x0F
        position += frame.n_bytes
    return content


def with_ape(content):
    """Add an APE tag of 3 kB after an mp3."""
    size = struct.pack("<II", 2000, 3000)
    start, end = (b"APETAGEX" + size + struct.pack("<II", 1, flags) + bytes(8)
                  for flags in (1 << 31, 0))  # fmt: skip
    return content + start + bytes(3000 - 32) + end


def with_large_id3(content):
    """Add an ID3 tag of 300 kB with what looks like frames before an mp3."""
    size = bytes([0, 18, 39, 96])  # 300,000, 7 bits in a byte
    return b"ID3\3\0\0" + size + b"\xff\xfb\x90\x64" * 75_000 + content


def with_chunk(chunk):
    """Return a function that adds a chunk before the format of a wav."""

    def change(content):
        return bytearray(content[:12] + chunk + content[12:])

    return change


M4A = b"\0\0\0\x1cftypM4A " + bytes(200)
STEREO = np.stack([speech(), -speech()], axis=1)
LEFT = np.stack([speech(), 0 * speech()], axis=1)
CENTRE = np.zeros((2 * RATE, 6))
CENTRE[:, 2] = speech()
GBK = os.fsdecode(b"\xb0\xa1.wav")


def channel_is_taken(answer, folder):
    """Channel 1 of stereo and the mono file get the same answer."""
    rows = rows_of(answer)
    columns = ("predicted", "confidence", "end")
    assert [rows["l.wav"][c] for c in columns] == [rows["m.wav"][c] for c in columns]
    assert "silent" not in answer.err


def names_are_escaped(answer, _):
    """The output is UTF-8, with the bytes of the name."""
    assert rows_of(answer)[r"\xb0\xa1.wav"]["predicted"]


MP3 = functools.partial(write, quiet_then_loud(), bitrate_mode="VARIABLE")
RIGHT = {  # recordings with odd headers: file, seconds
    "xing.mp3": (MP3(), 6.0),
    "no-xing.mp3": (MP3(change=without_xing), 6.084),
    "tags.mp3": (MP3(change=lambda content: with_id3(without_xing(content))), 6.084),
    "few.mp3": (MP3(change=with_xing_count(20)), 6.084),
    "twice.mp3": (MP3(change=twice), 12.204),
    "few.flac": (write(change=with_flac_count(9000)), 2.0),
    "unknown.flac": (write(change=with_flac_count(0)), 2.0),
    "a.caf": (write(), 2.0),
    "b.snd": (write(format="AU"), 2.0),
    "c.aifc": (write(format="AIFF"), 2.0),
    "d.voc": (write(), 2.0),
    "e.mp2": (write(format="MP3"), 2.0),
    "f": (write(format="WAV"), 2.0),
    "g.WAVE": (write(format="WAV"), 2.0),
    "8khz.mp3": (write(rate=8000, change=without_xing), 4.176),
    "large-id3.mp3": (MP3(change=lambda content: with_large_id3(without_xing(content))), 6.084),
    "ape.mp3": (MP3(change=with_ape), 6.0),
    "zeros.mp3": (MP3(change=lambda content: content + bytes(100_000)), 6.0),
    "list.wav": (write(change=with_chunk(b"LIST\x1a\0\0\0INFOISFT\x0e\0\0\0Lavf58.29.100\0")), 2.0),
    "data-in-bext.wav": (write(change=with_chunk(b"bext\x10\0\0\0data" + bytes(12))), 2.0),
    "adpcm.wav": (write(subtype="IMA_ADPCM"), 2.034),
    "alaw.wav": (write(subtype="ALAW"), 2.0),
    "h.avr": (write(), 2.0),
    "i.sds": (write(), 2.0),
    "j.mpc": (write(format="MPC2K"), 2.0),
    "k.wve": (write(rate=8000, subtype="ALAW"), 4.0),
    "l.htk": (write(), 2.0),
    "m.gsm": (write(rate=8000, format="RAW", subtype="GSM610"), 4.0),
    "m.wav": (write(format="MAT4", subtype="PCM_16"), 2.0),
    "n.wav": (write(format="MAT5", subtype="PCM_16"), 2.0),
}
RARE = {
    "avr": {},
    "sds": {},
    "mpc": {"format": "MPC2K"},
    "wve": {"rate": 8000, "subtype": "ALAW"},
    "mat4.wav": {"format": "MAT4", "subtype": "PCM_16"},
    "mat5.wav": {"format": "MAT5", "subtype": "PCM_16"},
}
WRONG = {  # recordings that cannot be used: file, reason
    "many.mp3": (MP3(change=with_xing_count(2000)), "truncated, only"),
    "half.mp3": (MP3(change=half), "truncated, only"),
    "huge.flac": (write(change=with_flac_count(2**36 - 1)), "only 32000 of 68719476735 samples"),
    "twice.flac": (write(change=twice), "a second recording follows"),
    "blocks.flac": (write(change=with_size(8, 2**32 - 1)), "header has blocks of 65535 samples"),
    "huge.ogg": (write(change=with_granule(2**62)), "more than its"),
    "hour.ogg": (write(change=with_granule(3600 * RATE)), "truncated, only"),
    "few.ogg": (write(speech(20.0), change=with_granule(16)), "counts fewer samples"),
    "half.ogg": (write(change=half), "truncated, its last page lacks"),
    "damaged.ogg": (write(change=damaged), "wrong checksum"),
    "half.opus": (
        write(change=half, format="OGG", subtype="OPUS"),
        "truncated, its last page lacks",
    ),
    "short.wav": (write(change=with_size(40, 2000)), "bytes follow the 2000 bytes of sound"),
    "twice.wav": (write(change=twice), "a second recording follows"),
    "half.au": (write(change=half), "truncated, 32"),
    "short.au": (write(change=with_size(8, 2000, "big")), "bytes follow the 2000"),
    "half.voc": (write(change=half), "truncated, 32"),
    "half.rf64": (write(change=half, format="RF64"), "truncated, 32"),
    "twice.aiff": (write(change=twice), "a second recording follows"),
    "twice.w64": (write(change=twice), "a second recording follows"),
    "half.caf": (write(change=half), "truncated, "),
    "cancel.wav": (write(STEREO), "cancel each other, their mean is as good as silent; take one"),
    "cancel-floats.wav": (write(STEREO, subtype="FLOAT"), "cancel each other"),
    "integers.wav": (write(speech() * 32768, subtype="FLOAT"), "divide them by 32768"),
    "few-integers.wav": (write(np.rint(speech() * 9), subtype="FLOAT"), "divide them by 32768"),
    "1e19.wav": (write(speech() * 1e19, subtype="FLOAT"), "damaged, or no sound"),
    "1e-40.wav": (write(speech() * 1e-39, subtype="DOUBLE"), "as good as silent"),
    "bit.wav": (write((speech() > 0).astype("int16")), "as good as silent"),
    "bit8.wav": (write((speech() > 0) / 128, subtype="PCM_U8"), "as good as silent"),
    "offset.wav": (write(np.full(RATE, 0.3)), "as good as silent"),
    "zip.wav": (with_bytes(b"PK\3\4" * 99), "a zip archive; unpack it"),
    "rates.mp3": (MP3(change=followed_by(speech(1.0), rate=22050)), "rate or number of channels"),
    "stereo.mp3": (MP3(change=followed_by(np.stack([speech()] * 2, 1))), "number of channels"),
    "free.mp3": (write(change=of_free_format, bitrate_mode="CONSTANT"), "of free format"),
    "page.mp3": (with_bytes(b"<html>404\0"), "no format by its first bytes"),
    "samples.pcm": (with_bytes(speech().tobytes()), "samples without a header need ffmpeg -f"),
    "page.au": (with_bytes(b"<html>404</html>" * 99), "text, not sound: '<html>404"),
    "samples.snd": (with_bytes(speech().tobytes()), "samples without a header need ffmpeg -f"),
    "samples.vox": (with_bytes(bytes(range(256)) * 99), "no format by its first bytes"),
    "samples.gsm": (with_bytes(bytes(range(256)) * 99), "no format by its first bytes"),
    "instrument.xi": (write(subtype="DPCM_16"), "which has no sampling rate"),
    "10MHz.wav": (write(rate=10_000_000), "10000000 Hz is not speech"),
    **{
        f"{change.__name__}.{suffix}": (write(change=change, **options), reason)
        for suffix, options in RARE.items()
        for change, reason in ((half, "truncated, only"), (twice, "more sound follows"))
    },
}
FOREIGN = {  # first bytes of formats that libsndfile does not read
    "M4A": b"\0\0\0\x1cftypM4A ",
    "WebM": b"\x1aE\xdf\xa3\x9fB\x82\x84webm",
    "Matroska": b"\x1aE\xdf\xa3\x9fB\x82\x88matroska",
    "WMA (ASF)": b"0&\xb2u\x8ef\xcf\x11\xa6\xd9",
    "AMR": b"#!AMR\n",
    "AAC": b"\xff\xf1\x5c\x40",
    "3GP": b"\0\0\0\x18ftyp3gp4",
    "QuickTime": b"\0\0\0\x14ftypqt  ",
    "WavPack": b"wvpk",
    "SILK (WeChat)": b"\x02#!SILK_V3",
}
TWO_M4A = {name: with_bytes(M4A) for name in ("a.m4a", "b.m4a")}
OTHERS = {"notes.txt": with_bytes(b"no sound"), "x.json": with_bytes(b"{}")}

CASES = [
    Case(
        "recordings with odd headers are read whole",
        "predict",
        predict_folder({name: make for name, (make, _) in RIGHT.items()} | OTHERS),
        0,
        r"passed over 2 files that are no recordings \(1 .txt, 1 .json\)",
        usable({name: seconds for name, (_, seconds) in RIGHT.items()}),
    ),
    Case(
        "recordings that cannot be used have one row each",
        "predict",
        predict_folder({name: make for name, (make, _) in WRONG.items()}),
        3,
        f"{len(WRONG)} of {len(WRONG)} recordings",
        errors({name: reason for name, (_, reason) in WRONG.items()}),
    ),
    Case(
        "formats whose header has no length are one warning each",
        "predict",
        predict_folder({f"{n}.{s}": write() for n in "ab" for s in ("ircam", "paf", "pvf")}),
        0,
        "the header of PVF has no length",
        once("the header of IRCAM has no length"),
    ),
    Case(
        "two recordings at 8 kHz are one warning",
        "predict",
        predict_folder({"a.wav": write(rate=8000), "b.wav": write(rate=8000)}),
        0,
        "a recording at 8000 Hz",
        once("are empty", usable({"a.wav": 4.0, "b.wav": 4.0})),
    ),
    Case(
        "speech on one channel of two is one warning",
        "predict",
        predict_folder({"a.wav": write(LEFT), "b.wav": write(LEFT)}),
        0,
        "1 of 2 channels are silent, and the mean of all is 6 dB below channel 1",
        once("are silent"),
    ),
    Case(
        "speech on the centre of six channels",
        "predict",
        predict_folder({"a.wav": write(CENTRE)}),
        0,
        "5 of 6 channels are silent, and the mean of all is 16 dB below channel 3",
        once("--channel 3"),
    ),
    Case(
        "a channel by its number",
        "predict",
        predict_folder({"l.wav": write(LEFT), "m.wav": write()}, "--channel", 1),
        0,
        "",
        channel_is_taken,
    ),
    Case(
        "a channel that is not there",
        "predict",
        predict_folder({"m.wav": write()}, "--channel", 2),
        3,
        "",
        errors({"m.wav": "has 1 channel(s), none of number 2"}),
    ),
    Case(
        "a channel below zero",
        "predict",
        predict_folder({"m.wav": write()}, "--channel=-1"),
        2,
        "--channel -1: give 1 or more",
    ),
    Case(
        "a folder without recordings",
        "predict",
        predict_folder(OTHERS),
        3,
        r"no recordings under .*; it has 2 files that are no recordings",
    ),
    Case(
        "foreign formats are named without ffmpeg",
        "predict",
        with_ffmpeg(
            {f"{i}.wav": with_bytes(head + bytes(300)) for i, head in enumerate(FOREIGN.values())},
            installed=False,
        ),
        3,
        "",
        errors(
            {
                f"{i}.wav": f"{name}, which libsndfile does not read; convert it by ffmpeg -i"
                for i, name in enumerate(FOREIGN)
            }
        ),
    ),
    Case(
        "foreign formats are decoded with ffmpeg",
        "predict",
        with_ffmpeg(TWO_M4A),
        0,
        "M4A, which libsndfile does not read: ffmpeg decodes this file",
        once("ffmpeg decodes", check_ffmpeg_call),
    ),
    Case(
        "a file that ffmpeg does not decode",
        "predict",
        with_ffmpeg({"a.m4a": with_bytes(M4A)}, fails=True),
        3,
        "",
        errors({"a.m4a": "which ffmpeg cannot decode whole (moov atom not found)"}),
    ),
    Case(
        "a name that is not UTF-8",
        "predict",
        predict_folder({GBK: write()}),
        0,
        "is not UTF-8",
        names_are_escaped,
    ),
]

"""Every file a corpus may hold, good and bad, written here."""

import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from cases.audio import M4A, make_ffmpeg

from tfser.audio import decode as audio
from tfser.audio import ffmpeg, libsndfile
from tfser.errors import DataError

RATE = 16000


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype("float32")


@pytest.fixture
def wav(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise, RATE, "PCM_16")
    return tmp_path / "a.wav"


@pytest.fixture
def flac(tmp_path, noise):
    soundfile.write(tmp_path / "a.flac", noise, RATE, "PCM_16")
    return tmp_path / "a.flac"


def refused(path, reason, **cut):
    with pytest.raises(DataError, match=reason) as caught:
        audio.load_audio(path, **cut)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message


def with_flac_frames(flac, n_frames):
    """Writes another number of samples into the FLAC's header: 36 bits from byte 21.5."""
    content = bytearray(flac.read_bytes())
    content[21] = content[21] & 0xF0 | n_frames >> 32
    content[22:26] = (n_frames & 0xFFFFFFFF).to_bytes(4, "big")
    flac.write_bytes(content)


@pytest.mark.parametrize(
    "suffix, subtype, tolerance",
    [
        ("wav", "PCM_16", 4e-5),
        ("wav", "PCM_24", 1e-6),
        ("wav", "DOUBLE", 0),
        ("wav", "FLOAT", 0),
        ("wav", "ULAW", 2e-2),
        ("flac", "PCM_24", 1e-6),
        ("aiff", "PCM_16", 4e-5),
        ("w64", "PCM_16", 4e-5),
        ("ogg", "VORBIS", 1),
    ],
)
def test_formats(tmp_path, noise, suffix, subtype, tolerance):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, RATE, subtype)
    waveform = audio.load_audio(path)
    assert waveform.dtype == np.float32 and waveform.shape == (RATE,)
    np.testing.assert_allclose(waveform, noise, atol=tolerance, rtol=0)


def test_channels_are_averaged(tmp_path, noise):
    channels = np.stack([noise * k for k in range(8)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE, "FLOAT")
    np.testing.assert_allclose(audio.load_audio(tmp_path / "a.wav"), noise * 3.5, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_are_resampled(tmp_path, rate):
    def tone(rate_hz):
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype("float32")

    soundfile.write(tmp_path / "a.wav", tone(rate), rate, "FLOAT")
    waveform = audio.load_audio(tmp_path / "a.wav")
    assert len(waveform) == RATE
    np.testing.assert_allclose(waveform[500:-500], tone(RATE)[500:-500], atol=1e-4)
    assert len(audio.load_audio(tmp_path / "a.wav", sample_rate_hz=rate)) == rate


def test_long_files_are_read_in_blocks(tmp_path, noise, monkeypatch):
    stereo = np.stack([noise, -noise / 2], axis=1)
    for name in ("a.wav", "a.flac"):
        soundfile.write(tmp_path / name, stereo, RATE)
        whole = audio.load_audio(tmp_path / name)
        monkeypatch.setattr(libsndfile, "BLOCK_SAMPLES", 999)
        np.testing.assert_array_equal(audio.load_audio(tmp_path / name), whole)
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_part_is_what_the_whole_has_there(name, request):
    path = request.getfixturevalue(name)
    whole = audio.load_audio(path)
    part = audio.load_audio(path, start_seconds=0.25, end_seconds=0.75)
    np.testing.assert_array_equal(part, whole[4000:12000])
    np.testing.assert_array_equal(audio.load_audio(path, start_seconds=0.9), whole[14400:])
    np.testing.assert_array_equal(audio.load_audio(path, end_seconds=0.1), whole[:1600])
    np.testing.assert_array_equal(audio.load_audio(path, end_seconds=1.05), whole)  # rounded up


@pytest.mark.parametrize("block_bytes", [400, 2**22])
def test_a_stream_is_decoded_once_for_its_parts(tmp_path, monkeypatch, block_bytes):
    make_ffmpeg(tmp_path)  # its answer is a second
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    monkeypatch.setattr(ffmpeg, "BLOCK_BYTES", block_bytes)
    (tmp_path / "a.m4a").write_bytes(M4A)
    whole = audio.load_audio(tmp_path / "a.m4a")
    times = [(None, 0.2), (0.1, 0.4), (0.1, 0.3), (0.6, 0.61), (0.7, 1.05), (0.8, None), (0.9, 1.3),
             (2.0, 3.0), (0.5, 0.6)]  # fmt: skip
    cuts = [SimpleNamespace(path=tmp_path / "a.m4a", start_seconds=s, end_seconds=e)
            for s, e in times]  # fmt: skip
    parts = list(audio.load_waveforms(cuts[:-1], sample_rate_hz=RATE))
    assert len((tmp_path / "called").read_text().splitlines()) == 2
    for part, (start, end) in zip(parts, times, strict=False):
        if isinstance(part, DataError):
            assert (start, end) in [(0.6, 0.61), (0.9, 1.3), (2.0, 3.0)]
        else:
            expected = whole[round((start or 0) * RATE) : end and round(end * RATE)]
            np.testing.assert_array_equal(part, expected)
    assert [type(part) for part in parts].count(DataError) == 3
    assert "passes the end at 1.00 s" in str(parts[6])
    assert len(list(audio.load_waveforms(cuts, sample_rate_hz=RATE))) == len(cuts)  # not in order


def test_a_stream_that_fails_has_no_part_after_it(tmp_path, monkeypatch):
    make_ffmpeg(tmp_path)
    program = tmp_path / "bin" / "ffmpeg"
    program.write_text(program.read_text() + "echo 'x: bad frame' >&2; exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
    (tmp_path / "a.m4a").write_bytes(M4A)
    cuts = [SimpleNamespace(path=tmp_path / "a.m4a", start_seconds=s, end_seconds=e)
            for s, e in [(0, 0.5), (0.5, None), (0.6, None)]]  # fmt: skip
    first, *others = audio.load_waveforms(cuts, sample_rate_hz=RATE)
    assert len(first) == 8000
    assert ["cannot decode whole (bad frame)" in str(other) for other in others] == [True, True]


@pytest.mark.parametrize("name, kind", [("a.sph", "NIST"), ("a.wav", "WAV"), ("a.flac", "FLAC")])
def test_of_a_long_file_only_the_part_is_read(tmp_path, monkeypatch, name, kind):
    talk = np.random.default_rng(0).integers(-9999, 9999, 60 * RATE, "int16")
    soundfile.write(tmp_path / name, talk, RATE, "PCM_16", format=kind)
    read, decode = [], soundfile.SoundFile.read

    def counted(file, *args, **options):
        samples = decode(file, *args, **options)
        read.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    part = audio.load_audio(tmp_path / name, start_seconds=50.25, end_seconds=50.75)
    np.testing.assert_array_equal(part, talk[804000:812000] / np.float32(2**15))
    assert read == [8000]


@pytest.mark.parametrize(
    "cut, reason",
    [
        ({"start_seconds": 1.0}, "passes the end at 1.00 s"),
        ({"end_seconds": 1.2}, "passes the end at 1.00 s"),
        ({"start_seconds": 0.5, "end_seconds": 0.5}, "is empty"),
        ({"start_seconds": -1.0}, "is empty"),
        ({"start_seconds": 0.5, "end_seconds": 0.51}, "too short, 160 samples"),
    ],
)
def test_impossible_parts(wav, cut, reason):
    refused(wav, reason, **cut)


def test_a_wav_that_breaks_off(wav):
    content = wav.read_bytes()
    wav.write_bytes(content[: len(content) // 2])
    refused(wav, "truncated, .* copy it again")
    refused(wav, "truncated", end_seconds=0.1)  # also where the part is there


@pytest.mark.parametrize("suffix, name", [("aiff", None), ("w64", None), ("sph", "NIST")])
def test_others_that_break_off(tmp_path, noise, suffix, name):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise, RATE, "PCM_16", format=name)
    assert len(audio.load_audio(path)) == RATE
    path.write_bytes(path.read_bytes()[:20000])
    refused(path, "truncated")


@pytest.mark.parametrize(
    "right, wrong, reason",
    [
        (b"-s3 pcm", b"-s26 pcm,embedded-shorten-v2.00", "unimplemented format"),
        (b"sample_rate -i 16000", b"sample_rate -i 00000", "SF_INFO"),
        (b"sample_n_bytes -i 2", b"sample_n_bytes -i 9", "unsupported compression"),
        (b"channel_count -i 1", b"channel_count -i 0", "error"),
    ],
)
def test_a_sphere_file_with_a_wrong_header(tmp_path, noise, right, wrong, reason):
    path = tmp_path / "a.sph"
    soundfile.write(path, noise, RATE, "PCM_16", format="NIST")
    content = path.read_bytes()
    assert content.count(right) == 1
    path.write_bytes(content.replace(right, wrong))
    refused(path, f"sphere file with a header .*{reason}.* sph2pipe")
    path.write_bytes(content[:300])
    refused(path, "sphere file with a header that is wrong .*copy it again")
    path.write_bytes(content[:1024])
    refused(path, "only a header")
    path.write_bytes(bytes(1024) + content[1024:])
    refused(path, "no format by its first bytes")


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_a_wav_from_a_pipe_has_no_size(wav, noise, size):
    content = bytearray(wav.read_bytes())
    content[4:8] = content[40:44] = size.to_bytes(4, "little")
    wav.write_bytes(content)
    np.testing.assert_allclose(audio.load_audio(wav), noise, atol=4e-5)


def test_a_flac_that_breaks_off(flac):
    content = flac.read_bytes()
    flac.write_bytes(content[: len(content) // 2])
    refused(flac, "truncated or damaged")
    flac.write_bytes(content[:100])
    refused(flac, "cannot be decoded|truncated")


def test_a_flac_of_unknown_length_is_read_to_its_end(flac, monkeypatch):
    whole = audio.load_audio(flac)
    with_flac_frames(flac, 0)  # libsndfile then claims 2^63 - 1 frames
    np.testing.assert_array_equal(audio.load_audio(flac), whole)
    np.testing.assert_array_equal(audio.load_audio(flac, start_seconds=0.5), whole[8000:])
    np.testing.assert_array_equal(audio.load_audio(flac, end_seconds=0.5), whole[:8000])
    refused(flac, "truncated, only 16000 of 32000", end_seconds=2.0)
    monkeypatch.setattr(libsndfile, "BLOCK_SAMPLES", 4000)  # the end of a block is that of the file
    np.testing.assert_array_equal(audio.load_audio(flac), whole)


@pytest.mark.parametrize("claimed", [2**36 - 1, RATE + 100])
def test_a_flac_that_promises_too_much(flac, claimed):
    with_flac_frames(flac, claimed)
    start = time.perf_counter()
    refused(flac, f"truncated, only 16000 of {claimed}")
    assert time.perf_counter() - start < 2


def test_flipped_byte_in_a_flac(flac):
    content = bytearray(flac.read_bytes())
    content[len(content) // 2] ^= 0xFF
    flac.write_bytes(content)
    refused(flac, "truncated or damaged")


def test_missing_folder_and_empty(tmp_path):
    refused(tmp_path / "none.wav", "No such file")
    refused(tmp_path, "a folder, not a file")
    (tmp_path / "empty.wav").touch()
    refused(tmp_path / "empty.wav", "empty file")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    refused(tmp_path / "a.wav", "only a header")
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content + b"LIST\4\0\0\0INFO")  # not the data of a pipe
    refused(tmp_path / "a.wav", "only a header")


@pytest.mark.parametrize(
    "samples, reason",
    [
        (np.zeros(RATE), "silent, all 16000 samples are zero"),
        (np.full(RATE, np.nan), "NaN or infinite"),
        (np.r_[np.ones(RATE), np.inf], "NaN or infinite"),
        (np.ones(3), "too short, 3 samples"),
        (np.ones(399), "too short, 399 samples at 16000 Hz; one window takes 25 ms"),
    ],
)
def test_useless_samples(tmp_path, samples, reason):
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    refused(tmp_path / "a.wav", reason)


def test_one_window_is_enough(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(400)), RATE, "FLOAT")
    assert len(audio.load_audio(tmp_path / "a.wav")) == 400


@pytest.mark.parametrize(
    "content, reason",
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
            "run git lfs pull",
        ),
        (b"<!DOCTYPE html>\n<title>404</title>", "text, not sound: '<!DOCTYPE html>"),
        (bytes(range(128, 256)) * 20, "no format by its first bytes"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cannot be decoded"),
    ],
)
def test_no_sound_at_all(tmp_path, content, reason):
    (tmp_path / "a.wav").write_bytes(content)
    refused(tmp_path / "a.wav", reason)
    (tmp_path / "a.raw").write_bytes(content)
    refused(tmp_path / "a.raw", "without a header")


def test_absurd_rate(wav):
    content = bytearray(wav.read_bytes())
    content[24:28] = (1).to_bytes(4, "little")
    wav.write_bytes(content)
    refused(wav, "a sampling rate of 1 Hz")


def test_threads(wav, flac):
    expected = [audio.load_audio(wav), audio.load_audio(flac)]
    differing = []

    def work():
        for _ in range(20):
            for path, waveform in zip((wav, flac), expected, strict=True):
                if not np.array_equal(audio.load_audio(path), waveform):
                    differing.append(path)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not differing


def test_real_speech(shared_data):
    emodb = audio.load_audio(shared_data / "emodb/wav/03a01Fa.wav")  # 22.05 kHz
    assert len(emodb) == 2 * RATE and 0.01 < np.abs(emodb).max() <= 1
    stereo = [
        p for p in sorted(shared_data.glob("RAVDESS/*/*.flac")) if soundfile.info(p).channels == 2
    ]
    for path in stereo:
        both = soundfile.read(path, dtype="float32")[0]
        np.testing.assert_allclose(audio.load_audio(path), both.mean(axis=1), atol=1e-7)


def test_does_not_import_tensorflow():
    code = (
        "import sys, tfser.audio.decode; print(sorted(m for m in sys.modules if m == 'tensorflow'))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.fullmatch(r"\[\]\s*", answer.stdout), answer

"""A recording is read to its end, whatever its header says, or refused."""

import os

import numpy as np
import pytest
import soundfile

from tfser.audio import decode, flac, mpeg, ogg, sound_file
from tfser.errors import DataError
from tfser.inference.windows import read_windows

RATE = 16000


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal(7 * RATE)).astype("float32")


def read(path, window=1.0, hop=None, start=None, end=None):
    with decode.open_recording(path, start, end) as recording:
        return list(read_windows(recording, RATE, window, hop))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_windows_equal_parts(tmp_path, samples, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, samples, RATE)
    for hop in (None, 0.4):
        windows = read(path, 1.0, hop, 0.5, 6.25)
        assert windows[0][:2] == (0.5, 1.5) and windows[-1][1] == 6.25
        for start, end, waveform in windows:
            part = decode.load_audio(path, start_seconds=start, end_seconds=end)
            np.testing.assert_allclose(waveform, part, atol=1e-6)


def test_a_stream_of_unknown_length(tmp_path, samples):
    """FLAC with 0 samples in its header: windows as where the header has the number."""
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, RATE)
    expected = read(path, 2.0)
    path.write_bytes(flac.without_count(path.read_bytes(), 0))
    for got, wanted in zip(read(path, 2.0), expected, strict=True):
        assert got[:2] == wanted[:2]
        np.testing.assert_array_equal(got[2], wanted[2])
    [(start, end, waveform)] = read(path, None)  # a minute or less
    assert (start, end, len(waveform)) == (0.0, 7.0, 7 * RATE)


def test_a_recording_ends_at_its_first_missing_window(tmp_path, samples):
    path = tmp_path / "a.ogg"
    soundfile.write(path, samples, RATE)
    content = bytearray(path.read_bytes())
    last = content.rfind(b"OggS")
    content[last + 6 : last + 14] = (3600 * RATE).to_bytes(8, "little")
    content[last + 22 : last + 26] = ogg._checksum(bytes(content[last:])).to_bytes(4, "little")
    path.write_bytes(content)
    windows = read(path, 2.0)
    assert [len(w) for *_, w in windows[:-1]] == [2 * RATE] * 3
    assert windows[-1][0] == 6.0 and "truncated, only" in str(windows[-1][2])


def test_an_mp3_without_a_xing_header_is_the_whole_recording(tmp_path, samples):
    samples[: 3 * RATE] *= 1e-3  # the first frames are small
    path = tmp_path / "a.mp3"
    soundfile.write(path, samples, RATE, bitrate_mode="VARIABLE")
    right = decode.load_audio(path)
    content = path.read_bytes()
    frames = mpeg.count_frames(content)
    assert frames.n_promised == frames.n_frames and frames.n_lost_bytes == 0
    path.write_bytes(content[frames.first :])
    whole = decode.load_audio(path)
    assert len(whole) == frames.n_samples
    delay = len(whole) - len(right)  # of the encoder, at both ends: the header would trim it
    lags = [np.dot(whole[lag : lag + 90000], right[:90000]) for lag in range(delay + 1)]
    lag = int(np.argmax(lags))
    assert np.corrcoef(whole[lag : lag + len(right)], right)[0, 1] > 0.999
    part = decode.load_audio(path, start_seconds=5.0, end_seconds=6.0)
    np.testing.assert_allclose(part[1152:], whole[5 * RATE + 1152 : 6 * RATE], atol=1e-3)


@pytest.mark.parametrize("header, size, samples", [
    (b"\xff\xfb\x90", 417, 1152),  # MPEG 1, layer 3, 128 kbit/s, 44.1 kHz
    (b"\xff\xfb\x92", 418, 1152),  # with padding
    (b"\xff\xf3\x48", 144, 576),  # MPEG 2, layer 3, 32 kbit/s, 16 kHz
    (b"\xff\xfd\x84", 384, 1152),  # MPEG 1, layer 2, 128 kbit/s, 48 kHz
    (b"\xff\xe3\x48", 288, 576),  # MPEG 2.5, layer 3, 32 kbit/s, 8 kHz
])  # fmt: skip
def test_frames_of_mpeg(header, size, samples):
    frame = mpeg.parse_frame(header)
    assert (frame.n_bytes, frame.n_samples) == (size, samples)


@pytest.mark.parametrize("header", [b"\xff\xf1\x5c", b"\xff\xfb\x00", b"\xff\xfb\xf0", b"\0\0\0"])
def test_no_frames_of_mpeg(header):
    assert mpeg.parse_frame(header) is None


def test_the_checksum_of_ogg(tmp_path, samples):
    soundfile.write(tmp_path / "a.ogg", samples, RATE)
    content = (tmp_path / "a.ogg").read_bytes()
    assert ogg.find_damage(content) == ""
    assert ogg.find_damage(content + content) == ogg.CHAINED
    pages = [i for i in range(len(content)) if content.startswith(b"OggS", i)]
    without = content[: pages[2]] + content[pages[3] :]
    assert "are missing" in ogg.find_damage(without)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(DataError, match="a pipe or device"):
        decode.load_audio(tmp_path / "a.wav")


def test_tensorflow_io_is_not_given_a_wrong_length(tmp_path, samples):
    """Its decoders would give a part of the file, or never end."""
    path = tmp_path / "a.flac"
    soundfile.write(path, samples, RATE)
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] & 0xF0]) + (9000).to_bytes(4, "big")
    with pytest.raises(DataError, match="wrong length; --set audio.decoder=soundfile reads it"):
        sound_file.read_header(path, bytes(content))
    with pytest.raises(DataError, match="M4A, which libsndfile does not read"):
        sound_file.read_header(path, b"\0\0\0\x1cftypM4A " + bytes(99))

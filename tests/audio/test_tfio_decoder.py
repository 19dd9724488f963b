"""tensorflow-io decodes in tf.data's graph what soundfile does: same samples, same errors."""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from running import called

from tfser.audio import decode, sound_file
from tfser.cache import feature_cache
from tfser.cli import train
from tfser.config.hparams import hparams_folder, load_hparams
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError, UsageError
from tfser.features.log_mel import LogMel
from tfser.storage import run_directory, s3

RATE = 16000
MODELS = [path.stem for path in hparams_folder().glob("*.toml") if "." not in path.stem]
with_tensorflow_io = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_io") is None, reason="no tensorflow-io here: make test-io"
)


def noise(n_channels=1, n_samples=RATE):
    shape = (n_samples, n_channels)
    return np.random.default_rng(0).uniform(-0.9, 0.9, shape).astype("float32")


def cut(path, start=None, end=None):
    return Utterance(path, str(path), "s", start_seconds=start, end_seconds=end)


def heard(*cuts, rate=RATE):
    return list(decode.load_waveforms(cuts, sample_rate_hz=rate, decoder="tensorflow-io"))


def by_soundfile(*cuts, rate=RATE):
    return list(decode.load_waveforms(cuts, sample_rate_hz=rate))


@with_tensorflow_io
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(
    "suffix, subtype",
    [
        *(("wav", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("flac", s) for s in ("PCM_S8", "PCM_16", "PCM_24")),
    ],
)
def test_lossless_files_bit_for_bit(tmp_path, suffix, subtype, n_channels):
    samples = noise(n_channels)
    samples[:2] = [[1.0], [-1.0]]  # the ends of the scale
    soundfile.write(tmp_path / f"a.{suffix}", samples, RATE, subtype)
    [waveform] = heard(cut(tmp_path / f"a.{suffix}"))
    [expected] = by_soundfile(cut(tmp_path / f"a.{suffix}"))
    assert waveform.dtype == np.float32 and waveform.shape == (RATE,)
    np.testing.assert_array_equal(waveform, expected)


@with_tensorflow_io
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(
    "suffix, rate", [("ogg", RATE), ("mp3", RATE), ("ogg", 44100), ("mp3", 44100)]
)
def test_lossy_files_to_a_hundred_thousandth(tmp_path, suffix, rate, n_channels):
    soundfile.write(tmp_path / f"a.{suffix}", noise(n_channels, 2 * rate), rate)
    [waveform] = heard(cut(tmp_path / f"a.{suffix}"), rate=rate)
    [expected] = by_soundfile(cut(tmp_path / f"a.{suffix}"), rate=rate)
    assert waveform.shape == expected.shape == (2 * rate,)
    np.testing.assert_allclose(waveform, expected, rtol=0, atol=1e-5)


@with_tensorflow_io
def test_parts_and_other_rates(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(2, 3 * 22050), 22050)
    soundfile.write(tmp_path / "b.flac", noise(1, 3 * 48000), 48000)
    cuts = [
        cut(tmp_path / "a.wav", 0.25, 0.75),
        cut(tmp_path / "a.wav", 2.5),
        cut(tmp_path / "a.wav", 2.0, 3.05),  # rounded up
        cut(tmp_path / "b.flac", None, 1.0),
        cut(tmp_path / "a.wav"),
    ]
    for waveform, expected in zip(heard(*cuts), by_soundfile(*cuts), strict=True):
        np.testing.assert_array_equal(waveform, expected)


@with_tensorflow_io
def test_a_long_recording_is_decoded_once_for_its_parts(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    read, facts = [], sound_file.read_header
    monkeypatch.setattr(
        sound_file, "read_header", lambda path, content: read.append(path) or facts(path, content)
    )
    assert [
        len(w) for w in heard(*(cut(tmp_path / "a.wav", k / 10, (k + 1) / 10) for k in range(9)))
    ] == [1600] * 9
    assert read == [tmp_path / "a.wav"]


@with_tensorflow_io
def test_real_speech(shared_data):
    files = sorted(shared_data.glob("emodb/wav/*.wav"))[:40:4]
    files += sorted(shared_data.glob("RAVDESS/*/*.flac"))[:40:4]
    files += sorted(shared_data.glob("LibriSpeech/**/*.flac"))[:40:4]
    cuts = [cut(path) for path in files]
    for waveform, expected in zip(heard(*cuts), by_soundfile(*cuts), strict=True):
        np.testing.assert_array_equal(waveform, expected)


def broken_wav(path, samples):
    soundfile.write(path, samples, RATE, format="WAV")
    path.write_bytes(path.read_bytes()[: len(samples)])


def half_a_flac(path, samples):
    soundfile.write(path, samples, RATE, format="FLAC")
    path.write_bytes(path.read_bytes()[: len(samples)])


def flipped_flac(path, samples):
    soundfile.write(path, samples, RATE, format="FLAC")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def flac_that_promises_too_much(path, samples):  # tensorflow-io never comes back from it
    soundfile.write(path, samples, RATE, format="FLAC")
    content = bytearray(path.read_bytes())
    content[22:26] = (RATE + 100).to_bytes(4, "big")
    path.write_bytes(content)


@with_tensorflow_io
@pytest.mark.parametrize(
    "name, make, reason",
    [
        ("a.wav", broken_wav, "truncated, .* copy it again"),
        ("a.flac", half_a_flac, "truncated or damaged"),
        ("a.flac", flipped_flac, "truncated or damaged"),
        ("a.flac", flac_that_promises_too_much, "truncated, only 16000 of 16100 samples"),
        ("a.wav", lambda path, _: path.touch(), "empty file"),
        ("a.wav", lambda path, _: path.write_text("<html>404"), "text, not sound: '<html>404'"),
        ("a.wav", lambda path, _: path.write_text("version https://git-lfs"), "run git lfs pull"),
        ("a.raw", lambda path, _: path.write_bytes(bytes(99)), "raw samples without a header"),
        (
            "a.wav",
            lambda path, _: path.write_bytes(bytes(range(256))),
            "no format by its first bytes",
        ),
        ("a.wav", lambda path, _: None, "No such file"),
        ("a.wav", lambda path, _: path.mkdir(), "a folder, not a file"),
        ("a.wav", lambda path, s: soundfile.write(path, s * 0, RATE), "silent, all 16000"),
        ("a.wav", lambda path, s: soundfile.write(path, s / 0, RATE, "FLOAT"), "NaN or infinite"),
        ("a.wav", lambda path, s: soundfile.write(path, s[:3], RATE), "too short, 3 samples"),
        ("a.wav", lambda path, s: soundfile.write(path, s[:0], RATE), "only a header"),
        ("a.wav", lambda path, s: soundfile.write(path, s, 1), "a sampling rate of 1 Hz"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_bad_file_has_soundfiles_error_and_the_others_go_on(tmp_path, name, make, reason):
    soundfile.write(tmp_path / "good.wav", noise(), RATE)
    make(tmp_path / name, noise())
    good, bad = cut(tmp_path / "good.wav"), cut(tmp_path / name)
    before, error, after = heard(good, bad, good)
    assert isinstance(error, DataError) and len(before) == len(after) == RATE
    with pytest.raises(DataError, match=f"{tmp_path / name}: .*{reason}"):
        raise error
    [expected] = by_soundfile(bad)
    assert str(error) == str(expected) and "\n" not in str(error)


@with_tensorflow_io
@pytest.mark.parametrize(
    "times, reason",
    [
        ((1.0, None), "passes the end at 1.00 s"),
        ((0.5, 0.5), "is empty"),
        ((0.5, 0.51), "too short"),
    ],
)
def test_impossible_parts(tmp_path, times, reason):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    [error], [expected] = (f(cut(tmp_path / "a.wav", *times)) for f in (heard, by_soundfile))
    assert reason in str(error) and str(error) == str(expected)


@with_tensorflow_io
@pytest.mark.parametrize(
    "name, subtype",
    [("a.wav", "ULAW"), ("a.aiff", "PCM_16"), ("a.ogg", "OPUS"), ("a.w64", "PCM_16")],
)
def test_what_tensorflow_io_has_no_decoder_for(tmp_path, name, subtype):
    soundfile.write(tmp_path / name, noise(), RATE, subtype)
    [error] = heard(cut(tmp_path / name))
    assert str(error).startswith(f"{tmp_path / name}: tensorflow-io has no decoder for ")
    assert str(error).endswith(f"{subtype}; --set audio.decoder=soundfile reads it")


@with_tensorflow_io
def test_what_one_decoder_left_out_the_other_reads(tmp_path):
    for name, subtype in (("a.wav", "PCM_16"), ("b.wav", "ULAW")):
        soundfile.write(tmp_path / name, noise(), RATE, subtype)
    utterances = [Utterance(tmp_path / f"{n}.wav", n, "speaker") for n in "ab"]
    cache = {"cache": tmp_path / "cache", "max_bad": 1}

    def found(decoder):
        return [
            u.name
            for u in feature_cache.load_features(
                utterances, log_mel(), decoder=decoder, **cache
            ).utterances
        ]

    assert found("tensorflow-io") == ["a"]
    assert found("soundfile") == ["a", "b"]  # under the same key
    assert found("tensorflow-io") == ["a", "b"]


@with_tensorflow_io
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24"])
def test_a_wav_of_an_odd_number_of_bytes(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", noise(n_samples=8001), RATE, subtype)
    [waveform], [expected] = (f(cut(tmp_path / "a.wav")) for f in (heard, by_soundfile))
    np.testing.assert_array_equal(waveform, expected)


@with_tensorflow_io
def test_wavs_of_other_programs(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:12] + b"LIST\4\0\0\0INFO" + content[12:])
    for name, size in (("b.wav", 0), ("c.wav", 0xFFFFFFFF)):  # written to a pipe: no size
        piped = bytearray(content)
        piped[4:8] = piped[40:44] = size.to_bytes(4, "little")
        (tmp_path / name).write_bytes(piped)
    soundfile.write(tmp_path / "d.wav", noise(), RATE, "PCM_24", format="WAVEX")
    cuts = [cut(tmp_path / f"{name}.wav") for name in "abcd"]
    for waveform, expected in zip(heard(*cuts), by_soundfile(*cuts), strict=True):
        np.testing.assert_array_equal(waveform, expected)
    soundfile.write(tmp_path / "e.wav", noise(), RATE, "PCM_16", endian="BIG")
    assert "e.wav: tensorflow-io has no decoder for WAV PCM_16; --set" in str(
        heard(cut(tmp_path / "e.wav"))[0]
    )


@with_tensorflow_io
def test_a_flac_whose_header_leaves_the_length_open(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(), RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    [error] = heard(cut(tmp_path / "a.flac"))
    assert str(error) == (
        f"{tmp_path / 'a.flac'}: tensorflow-io finds 0 of 16000 samples; "
        "--set audio.decoder=soundfile reads it"
    )


def log_mel():
    return LogMel(
        sample_rate_hz=RATE, window_seconds=0.025, hop_seconds=0.010, taper="hann", n_fft=512,
        mel="slaney", n_bands=64, low_hz=0.0, high_hz=8000.0, floor=1e-6, min_frames=32,
    )  # fmt: skip


@with_tensorflow_io
def test_features_of_lossless_files_are_those_that_soundfile_has_left(tmp_path):
    files = [tmp_path / f"{n}.{'flac' if n % 2 else 'wav'}" for n in range(5)]
    for n, path in enumerate(files):
        soundfile.write(path, noise(n_samples=6000 + 100 * n), RATE)
    cuts = [Utterance(path, path.stem, "s") for path in files]
    first = feature_cache.load_features(
        cuts, log_mel(), cache=tmp_path / "a", decoder="tensorflow-io"
    )
    second = feature_cache.load_features(cuts, log_mel(), cache=tmp_path / "b")
    np.testing.assert_array_equal(first.frames, second.frames)
    names = [sorted(p.relative_to(tmp_path / f) for p in (tmp_path / f).rglob("*")) for f in "ab"]
    assert names[0] == names[1] and len(names[0]) == 1 + 5 + 1


def test_the_key_has_the_decoder_where_it_changes_samples(tmp_path):
    for suffix in ("wav", "ogg"):
        soundfile.write(tmp_path / f"a.{suffix}", noise(), RATE)
    lossless, lossy = ([Utterance(tmp_path / f"a.{s}", "a", "s")] for s in ("wav", "ogg"))
    layer = log_mel()
    assert feature_cache.cache_key(lossless, layer) == feature_cache.cache_key(
        lossless, layer, "tensorflow-io"
    )
    assert feature_cache.cache_key(lossy, layer) != feature_cache.cache_key(
        lossy, layer, "tensorflow-io"
    )
    # As it was before there was a choice: caches stay valid.
    content = (tmp_path / "a.ogg").read_bytes()
    listed = [["a", "a.ogg", None, None, len(content), hashlib.sha256(content).hexdigest()]]
    decisive = {"store": feature_cache.VERSION, "feature": layer.settings(), "utterances": listed}
    before = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    assert feature_cache.cache_key(lossy, layer) == before


@pytest.mark.parametrize("model", MODELS)
def test_every_system_has_the_choice(model):
    usual = load_hparams(model, "emodb")
    assert usual["audio"] == {"decoder": "soundfile", "channel": 0}
    # Runs that were started before there was a choice have no such section, and go on.
    before = {"hparams": {name: section for name, section in usual.items() if name != "audio"}}
    assert run_directory.describe_differences(before, {"hparams": usual}) == ""
    other = load_hparams(model, "emodb", overrides=['audio.decoder="tensorflow-io"'])
    assert other == usual | {"audio": {"decoder": "tensorflow-io", "channel": 0}}
    changed = run_directory.describe_differences(before, {"hparams": other})
    assert changed == "hparams.audio.decoder: soundfile -> tensorflow-io"
    with pytest.raises(UsageError, match="audio.decoder='tensorflowio' is not known .did you mean"):
        load_hparams(model, "emodb", overrides=["audio.decoder=tensorflowio"])


def test_without_tensorflow_io(tmp_path, monkeypatch):
    monkeypatch.setattr(s3.importlib.util, "find_spec", lambda name: None)
    answer = called(
        train.main, "--model", "epr", "--corpus", "emodb", "--data-root", tmp_path / "none",
        "--cache", tmp_path / "cache", "--set", "audio.decoder=tensorflow-io",
    )  # fmt: skip
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: audio.decoder=tensorflow-io needs tensorflow-io, which is not installed: "
        "pip install 'tfser[io]' -c constraints-io.txt, in an environment of its own\n"
    )


def test_a_tensorflow_io_of_another_tensorflow(tmp_path, monkeypatch):
    ops = tmp_path / "tensorflow_io" / "python" / "ops"
    ops.mkdir(parents=True)
    for folder in (tmp_path / "tensorflow_io", ops.parent):
        (folder / "__init__.py").touch()
    (ops / "__init__.py").write_text("raise NotImplementedError('unable to open file: a.so')")
    for name in [name for name in s3.sys.modules if name.partition(".")[0] == "tensorflow_io"]:
        monkeypatch.delitem(s3.sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    s3._tensorflow_with_io.cache_clear()
    with pytest.raises(UsageError, match=r"x: the tensorflow-io .* not load on TensorFlow 2\.\d+"):
        s3.import_tensorflow_io("x")
    for name in [name for name in s3.sys.modules if name.partition(".")[0] == "tensorflow_io"]:
        monkeypatch.delitem(s3.sys.modules, name)


def test_the_constraints_keep_what_tensorflow_io_needs():
    lines = (Path(__file__).parents[2] / "constraints-io.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert (pins["tensorflow"], pins["tensorflow-io"]) == ("2.16.2", "0.37.1")
    assert int(pins["numpy"].partition(".")[0]) < 2 and int(pins["pyarrow"].partition(".")[0]) < 22

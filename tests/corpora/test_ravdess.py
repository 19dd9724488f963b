"""RAVDESS: speech alone, each file once."""

from collections import Counter

from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance

SPEECH = "03-01-06-02-01-02-12"


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def test_names(tmp_path):
    touch(tmp_path, f"Actor_12/{SPEECH}.wav", "Actor_01/03-01-01-01-02-01-01.flac")
    assert load_corpus("ravdess", tmp_path) == [
        Utterance(
            tmp_path / "Actor_01/03-01-01-01-02-01-01.flac", "03-01-01-01-02-01-01", "01",
            "neutral", gender="male", text="dogs are sitting by the door", group="normal",
        ),
        Utterance(
            tmp_path / f"Actor_12/{SPEECH}.wav", SPEECH, "12", "fear",
            gender="female", text="kids are talking by the door", group="strong",
        ),
    ]  # fmt: skip


def test_all_emotions(tmp_path):
    touch(tmp_path, *(f"Actor_01/03-01-0{i}-01-01-01-01.wav" for i in range(1, 9)))
    assert [u.emotion for u in load_corpus("ravdess", tmp_path)] == [
        "neutral", "calm", "happiness", "sadness", "anger", "fear", "disgust",
        "surprise"]  # fmt: skip


def test_song_video_and_the_second_tree(tmp_path, caplog):
    touch(
        tmp_path,
        f"Actor_12/{SPEECH}.wav",
        f"audio_speech_actors_01-24/Actor_12/{SPEECH}.wav",
        "Actor_12/03-02-06-02-01-02-12.wav",  # song
        "Actor_12/02-01-06-02-01-02-12.wav",  # video alone
        "Actor_12/01-01-06-02-01-02-12.wav",  # audio and video
        "Actor_12/03-01-09-02-01-02-12.wav",
        "Actor_25/03-01-06-02-01-02-25.wav",
    )
    assert [u.path for u in load_corpus("ravdess", tmp_path)] == [
        tmp_path / f"Actor_12/{SPEECH}.wav"
    ]
    assert "6 of the 7 audio files" in caplog.text


def test_only_the_second_tree(tmp_path):
    touch(tmp_path, f"audio_speech_actors_01-24/Actor_12/{SPEECH}.wav")
    assert [u.name for u in load_corpus("ravdess", tmp_path)] == [SPEECH]


def test_the_real_corpus(shared_data):
    utterances = load_corpus("ravdess", shared_data / "RAVDESS")
    assert describe_corpus("ravdess", utterances) == (
        "ravdess: all 1,440 utterances, 24 speakers, 8 emotions: anger 192, calm 192, disgust 192, "
        "fear 192, happiness 192, neutral 96, sadness 192, surprise 192"
    )
    assert set(Counter(u.speaker for u in utterances).values()) == {60}
    assert Counter(u.gender for u in utterances) == {"male": 720, "female": 720}
    assert [u.name for u in utterances] == sorted(u.name for u in utterances)

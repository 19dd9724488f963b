"""CASIA: the release with its two parts, and the flat copies."""

import logging

import pytest

from tfser.corpora import casia
from tfser.corpora.loader import describe_corpus, load_corpus
from tfser.corpora.utterance import Utterance
from tfser.errors import DataError


def touch(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()


def same_text(path, speaker, native, emotion, number, gender):
    return Utterance(
        path, f"{speaker}-{native}-{number}", speaker, emotion,
        gender=gender, text=number, group="same-text",
    )  # fmt: skip


def test_speaker_folders(tmp_path, caplog):
    touch(
        tmp_path,
        "wangzhe/fear/500.wav",
        "liuchanhg/angry/202.wav",
        "liuchanhg/angry/201.wav",
        "ZhaoZuoxiang/surprise/201.WAV",
        "zhaoquanyin/neutral/350.wav",
        "liuchanhg/angry/201.lab",
        "liuchanhg/angry/201.peak",
        "liuchanhg/angry/_desktop.ini",
        "__MACOSX/liuchanhg/angry/._201.wav",
        "liuchanhg/.ipynb_checkpoints/angry/201.wav",
    )
    with caplog.at_level(logging.WARNING):
        utterances = load_corpus("casia", tmp_path)
    assert not caplog.messages  # clutter is no news
    assert utterances == [
        same_text(tmp_path / file, *labels)
        for file, *labels in [
            ("liuchanhg/angry/201.wav", "liuchanhg", "angry", "anger", "201", "female"),
            ("liuchanhg/angry/202.wav", "liuchanhg", "angry", "anger", "202", "female"),
            ("wangzhe/fear/500.wav", "wangzhe", "fear", "fear", "500", "male"),
            ("zhaoquanyin/neutral/350.wav", "zhaoquanyin", "neutral", "neutral", "350", "female"),
            (
                "ZhaoZuoxiang/surprise/201.WAV",
                "zhaozuoxiang",
                "surprise",
                "surprise",
                "201",
                "male",
            ),
        ]
    ]


def test_the_two_parts_of_the_release(tmp_path):
    touch(
        tmp_path,
        "CASIA情感语料库/相同文本300/ZhaoZuoxiang/sad/201.wav",
        "CASIA情感语料库/不同文本100/Zuoxiang.Zhao/sad/001.wav",
        "CASIA情感语料库/不同文本100/Chang.Liu/normal/100.wav",
        "CASIA情感语料库/不同文本100/Zhe.Wang/happy/7.wav",
        "CASIA情感语料库/不同文本100/Quanyin.Zhao/surprise/301.wav",
    )
    utterances = load_corpus("casia", tmp_path)
    assert [(u.name, u.speaker, u.emotion, u.group, u.text) for u in utterances] == [
        ("liuchanhg-neutral-100", "liuchanhg", "neutral", "different-text", "neutral-100"),
        ("wangzhe-happy-007", "wangzhe", "happiness", "different-text", "happy-007"),
        ("zhaoquanyin-surprise-301", "zhaoquanyin", "surprise", "different-text", "surprise-301"),
        ("zhaozuoxiang-sad-001", "zhaozuoxiang", "sadness", "different-text", "sad-001"),
        ("zhaozuoxiang-sad-201", "zhaozuoxiang", "sadness", "same-text", "201"),
    ]
    assert describe_corpus("casia", utterances) == (
        "casia: 1 of the paper's 7,200 utterances and 4 others, 4 speakers, 4 emotions: "
        "happiness 1, neutral 1, sadness 2, surprise 1"
    )


@pytest.mark.parametrize(
    ("file", "name", "group"),
    [
        ("201-angry-liuchanhg.wav", "liuchanhg-angry-201", "same-text"),
        ("angry/201-angry-liuchanhg.wav", "liuchanhg-angry-201", "same-text"),
        ("liuchanhg_201_fear.wav", "liuchanhg-fear-201", "same-text"),
        ("Happy_liuchanhg_440.wav", "liuchanhg-happy-440", "same-text"),
        ("202-neutral-ZhaoZuoxiang.wav", "zhaozuoxiang-neutral-202", "same-text"),
        ("happy/相同文本300_liuchanhg_happy_201.wav", "liuchanhg-happy-201", "same-text"),
        ("emotional_angry_Chang.Liu_001.wav", "liuchanhg-angry-001", "different-text"),
        ("neutral_Zhe.Wang_100.wav", "wangzhe-neutral-100", "different-text"),
        ("zhaoquanyin/201-surprise.flac", "zhaoquanyin-surprise-201", "same-text"),
    ],
)
def test_flat_names(tmp_path, file, name, group):
    touch(tmp_path, file)
    (utterance,) = casia.read(tmp_path)
    assert utterance.path == tmp_path / file
    assert (utterance.name, utterance.group) == (name, group)


def test_one_speaker_s_folder(tmp_path):
    touch(tmp_path, "CASIA/wangzhe/sad/201.wav")
    assert [u.name for u in load_corpus("casia", tmp_path / "CASIA" / "wangzhe")] == [
        "wangzhe-sad-201"
    ]


def test_the_folder_of_the_part_decides_when_it_is_the_root(tmp_path):
    touch(tmp_path, "不同文本100/Zhe.Wang/sad/250.wav")
    assert casia.read(tmp_path / "不同文本100")[0].group == "different-text"


def test_other_files_are_named(tmp_path, caplog):
    touch(tmp_path, "wangzhe/sad/201.wav", "wangzhe/test.wav", "zhaoyan/sad/201.wav")
    assert [u.name for u in load_corpus("casia", tmp_path)] == ["wangzhe-sad-201"]
    assert "2 of the 3 audio files" in caplog.text
    assert "wangzhe/test.wav" in caplog.text


def test_the_same_utterance_twice(tmp_path):
    touch(tmp_path, "a/wangzhe/sad/201.wav", "b/201-sad-wangzhe.wav")
    with pytest.raises(
        DataError, match="two files are utterance wangzhe-sad-201: .*keep one"
    ) as error:
        load_corpus("casia", tmp_path)
    assert error.value.exit_code == 3


def test_describe_a_free_copy(tmp_path):
    touch(tmp_path, *(f"{speaker}/{emotion}/{number}.wav"
                      for speaker in ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang")
                      for emotion in ("angry", "fear", "happy", "neutral", "sad", "surprise")
                      for number in range(201, 251)))  # fmt: skip
    assert describe_corpus("casia", load_corpus("casia", tmp_path)) == (
        "casia: 1,200 of the paper's 7,200 utterances, 4 speakers, 6 emotions: anger 200, "
        "fear 200, happiness 200, neutral 200, sadness 200, surprise 200"
    )


@pytest.mark.parametrize(
    ("word", "native", "emotion"),
    [
        ("surprised", "surprise", "surprise"),
        ("Anger", "angry", "anger"),
        ("fearful", "fear", "fear"),
        ("happiness", "happy", "happiness"),
        ("normal", "neutral", "neutral"),
        ("sadness", "sad", "sadness"),
        ("惊讶", "surprise", "surprise"),
        ("生气", "angry", "anger"),
    ],
)
def test_other_spellings(tmp_path, word, native, emotion):
    touch(tmp_path, f"wangzhe/{word}/201.wav", f"wangzhe_{word}_202.wav")
    assert [(u.name, u.emotion, u.speaker) for u in casia.read(tmp_path)] == [
        (f"wangzhe-{native}-201", emotion, "wangzhe"),
        (f"wangzhe-{native}-202", emotion, "wangzhe"),
    ]

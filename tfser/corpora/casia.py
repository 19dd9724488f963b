"""CASIA, the Chinese emotional corpus of the Institute of Automation, Chinese Academy of Sciences.

9,600 utterances, 16 kHz mono: 4 actors, 2 of them female, x 6 emotions x (300 neutral sentences,
the same for each emotion, and 100 emotional sentences, different for each emotion). The folders of
the release are 相同文本300 (same text) and 不同文本100 (different text), in `group`. Papers use the
7,200 utterances of the same text (Mao et al. 2020, section 3); free copies hold 1,200 of these.
Licence: by contract with the Chinese Linguistic Data Consortium (chineseldc.org), research only.

Layout `<speaker>/<emotion>/201.wav`, or one folder of 201-angry-liuchanhg.wav,
liuchanhg_201_fear.wav, Happy_liuchanhg_440.wav. The parts of a name may have any order.
"""

import os
import re
from pathlib import Path

from tfser.corpora.audio_folder import list_audio_files
from tfser.corpora.utterance import Utterance
from tfser.storage import file_names

EXPECTED = 7_200
SMALLEST = 1_200  # the free copies
OTHER_FILES = re.compile(r"(?!)")  # none that the reader leaves out by its name
PAPER_GROUP = "same-text"
LAYOUT = "<speaker>/<emotion>/<nnn>.wav, such as liuchanhg/angry/201.wav"

EMOTIONS = {"angry": "anger", "fear": "fear", "happy": "happiness", "neutral": "neutral",
            "sad": "sadness", "surprise": "surprise"}  # fmt: skip
# The release has normal for neutral in its different-text part, copies have spellings of their own.
SPELLINGS = {"anger": "angry", "生气": "angry", "愤怒": "angry",
             "afraid": "fear", "fearful": "fear", "scared": "fear", "恐惧": "fear", "害怕": "fear",
             "happiness": "happy", "joy": "happy",
             "高兴": "happy", "快乐": "happy", "开心": "happy",
             "calm": "neutral", "normal": "neutral", "中性": "neutral", "平静": "neutral",
             "sadness": "sad", "悲伤": "sad", "伤心": "sad", "难过": "sad",
             "surprised": "surprise", "surprising": "surprise", "suprise": "surprise",
             "惊讶": "surprise", "惊奇": "surprise", "吃惊": "surprise",
             } | {word: word for word in EMOTIONS}  # fmt: skip
# The different-text folders turn the names around: Chang.Liu.
SPEAKERS = {"liuchanhg": "liuchanhg", "liuchang": "liuchanhg", "changliu": "liuchanhg",
            "wangzhe": "wangzhe", "zhewang": "wangzhe",
            "zhaoquanyin": "zhaoquanyin", "quanyinzhao": "zhaoquanyin",
            "zhaozuoxiang": "zhaozuoxiang", "zuoxiangzhao": "zhaozuoxiang"}  # fmt: skip
GENDERS = {"liuchanhg": "female", "wangzhe": "male", "zhaoquanyin": "female",
           "zhaozuoxiang": "male"}  # fmt: skip


def read(root: Path) -> list[Utterance]:
    """Return the utterances in the order of speaker, emotion and sentence."""
    utterances = []
    for path in list_audio_files(root):
        inner = path.relative_to(root).parts[:-1]
        # First the file name, then the nearest folder; the root itself may be a speaker's folder.
        places = [path.stem, *reversed(inner), root.absolute().name]
        places = [decode_chinese(place) for place in places]
        words = [word for place in places for word in split_name(place)]
        native = next((SPELLINGS[word] for word in words if word in SPELLINGS), None)
        speaker = next((SPEAKERS[word] for word in words if word in SPEAKERS), None)
        numbers = [word for word in split_name(path.stem) if re.fullmatch(r"\d{1,3}", word)]
        if native is None or speaker is None or len(numbers) != 1:
            continue
        number = numbers[0].zfill(3)
        group = get_text_group(places, number)
        utterances.append(
            Utterance(
                path,
                name=f"{speaker}-{native}-{number}",
                speaker=speaker,
                emotion=EMOTIONS[native],
                gender=GENDERS[speaker],
                text=number if group == "same-text" else f"{native}-{number}",
                group=group,
            )
        )
    return sorted(utterances, key=lambda utterance: utterance.name)


def decode_chinese(name: str) -> str:
    """Return a name in Chinese, also where the disk has it in GB 18030, as old archives do."""
    if file_names.is_utf8(name):
        return name
    return os.fsencode(name).decode("gb18030", "replace")


def split_name(place: str) -> list[str]:
    """Split a file or folder name: "Chang.Liu_001" -> ["changliu", "001"]."""
    return re.split(r"[-_ ]+", place.lower().replace(".", ""))


def get_text_group(places: list[str], number: str) -> str:
    """Return the part of the release that has a file, by its folder or else by its number."""
    for place in places:
        if "不同文本" in place:
            return "different-text"
        if "相同文本" in place:
            return "same-text"
    return "same-text" if int(number) > 200 else "different-text"

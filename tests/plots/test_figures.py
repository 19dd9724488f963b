"""What the pictures show, read from the figures, and how they come to lie on the disk."""

import io
import logging
import sys

import matplotlib.image
import numpy as np
import pytest

from tfser.plots.figures import (
    DPI,
    draw_confusion_matrices,
    draw_confusion_matrix,
    draw_emotion_profile,
    draw_ratings,
    draw_training_curves,
    encode_png,
    line_style,
    save_figure,
    write_emotion_profile,
    write_training_curves,
)
from tfser.plots.spectrograms import (
    draw_attention,
    draw_image_grid,
    draw_map,
    draw_shifts,
    draw_spectrograms,
)

pytestmark = pytest.mark.usefixtures("with_pictures")
NAMES = ["anger", "fear", "joy"]
SEGMENTS = {"hop_seconds": 0.03, "segment_seconds": 0.335}
ROWS = [
    {"epoch": 1, "loss": 1.1, "dev_loss": 1.2, "accuracy": 0.3, "dev_accuracy": 0.3},
    {"epoch": 2, "loss": 0.8, "dev_loss": 0.9, "accuracy": 0.6, "dev_accuracy": 0.5},
    {"epoch": 3, "loss": 0.6, "dev_loss": 1.0, "accuracy": 0.7, "dev_accuracy": 0.6},
]


def profile(n_segments):
    return np.random.default_rng(0).dirichlet(np.ones(3), size=n_segments)


def is_png(content):
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.rstrip().endswith(b"IEND\xaeB`\x82")


def test_confusion_shows_percentages_of_rows_and_counts():
    axes = draw_confusion_matrix([[3, 1, 0], [0, 2, 0], [0, 0, 0]], NAMES, "title").axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts[:6] == ["75.0%", "3", "25.0%", "1", "0.0%", "0"]
    assert texts[8:10] == ["100.0%", "2"]
    assert texts[12:] == ["0.0%", "0"] * 3  # no utterance of the class: no division by zero
    assert axes.get_xlabel() == "predicted emotion" and axes.get_ylabel() == "true emotion"
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES


def test_profile_has_a_panel_for_each_round_and_the_time_of_segment_centres():
    figure = draw_emotion_profile({"VGG": profile(5), "VGG*2": profile(5)}, NAMES, "t", **SEGMENTS)
    first, second = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["VGG", "VGG*2"]
    *emotions, chance = second.lines
    assert [line.get_label() for line in emotions] == NAMES
    np.testing.assert_allclose(emotions[0].get_xdata(), 0.1675 + 0.03 * np.arange(5))
    np.testing.assert_allclose(chance.get_ydata(), 1 / 3)
    assert first.get_xlim() == second.get_xlim() == pytest.approx((0, 4 * 0.03 + 0.335))
    assert first.get_ylim()[0] <= 0 and first.get_ylim()[1] >= 1


def test_profile_of_a_lone_segment_is_drawn_as_points():
    figure = draw_emotion_profile({"VGG": profile(1)}, NAMES, "t", **SEGMENTS)
    assert figure.axes[0].lines[0].get_marker() == "o"


def test_profile_of_other_classes_is_an_error():
    with pytest.raises(ValueError, match=r"'VGG' is \(5, 3\), expected \[segments, 2\]"):
        draw_emotion_profile({"VGG": profile(5)}, NAMES[:2], "t", **SEGMENTS)


def test_no_two_emotions_look_alike():
    assert len({line_style(k)["color"] for k in range(8)}) == 8
    assert len({tuple(line_style(k).values()) for k in range(32)}) == 32


PANELS = {
    "loss (nats)": {"training": "loss", "dev": "dev_loss"},
    "accuracy of segments": {"training": "accuracy", "dev": "dev_accuracy"},
}


def test_training_curves_show_training_dev_and_the_loss_of_ignoring_the_input():
    loss, accuracy = draw_training_curves(ROWS, "t", PANELS, chance_loss=1.05, kept_epoch=2).axes
    lines = {line.get_label(): line for line in loss.lines}
    np.testing.assert_allclose(lines["ignoring the input, 1.05"].get_ydata(), 1.05)
    np.testing.assert_allclose(lines["training"].get_ydata(), [1.1, 0.8, 0.6])
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), [0.3, 0.5, 0.6])
    # No line of chance: an accuracy does not follow from an entropy.
    names = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert names == ["training", "dev", "kept: epoch 2"]


@pytest.mark.parametrize("kept_epoch", [1, 2, 3])
def test_training_curves_mark_the_epoch_they_are_told(kept_epoch):
    figure = draw_training_curves(ROWS, "t", PANELS, chance_loss=1.05, kept_epoch=kept_epoch)
    for axes, key in zip(figure.axes, ["dev_loss", "dev_accuracy"], strict=True):
        [star] = [a for a in axes.lines if a.get_label() == f"kept: epoch {kept_epoch}"]
        assert (*star.get_xdata(), *star.get_ydata()) == (kept_epoch, ROWS[kept_epoch - 1][key])


def test_dollars_in_names_are_no_formulas(tmp_path):
    names = ["a$\\frac$", "$$", "c"]
    figure = draw_confusion_matrix(np.eye(3, dtype=int), names, "x$_{y$ 5 $")
    save_figure(figure, tmp_path / "confusion.png")
    assert is_png((tmp_path / "confusion.png").read_bytes())


def test_pictures_are_written_whole_and_nothing_else_stays(tmp_path):
    figure = draw_confusion_matrix(np.eye(3, dtype=int), NAMES, "t")
    save_figure(figure, tmp_path / "confusion.png")
    write_emotion_profile({"VGG": profile(4)}, NAMES, tmp_path / "profile.png", "t", **SEGMENTS)
    curves = str(tmp_path / "curves.png")
    write_training_curves(ROWS, curves, "t", PANELS, chance_loss=1.05, kept_epoch=2)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["confusion.png", "curves.png", "profile.png"]
    assert all(is_png(file.read_bytes()) for file in tmp_path.iterdir())


def test_png_is_for_tensorboard():
    assert is_png(encode_png(draw_confusion_matrix(np.eye(3, dtype=int), NAMES, "t")))


def test_a_long_title_is_inside_the_picture():
    title = "a title of one line that is wider than the matrix of three classes below it"
    figure = draw_confusion_matrix(np.eye(3, dtype=int), NAMES, title)
    image = matplotlib.image.imread(io.BytesIO(encode_png(figure)))
    [axes, _] = figure.axes
    width = axes.title.get_window_extent(dpi=DPI).width
    assert width > figure.get_figwidth() * DPI  # else nothing is tested
    assert image.shape[1] >= width
    assert image[:, :8].min() == 1 and image[:, -8:].min() == 1  # no letter at the edges


def test_pyplot_and_its_global_state_are_not_touched():
    encode_png(draw_confusion_matrix(np.eye(3, dtype=int), NAMES, "t"))
    pyplot = sys.modules.get("matplotlib.pyplot")  # imported by another test, perhaps
    assert pyplot is None or not pyplot.get_fignums()


def test_shifts_are_in_their_cells():
    shifts = np.array([[1.0, -2.0, 0.5], [0.0, 0.25, -0.25]])
    axes, bar = draw_shifts(shifts, ["f0", "loudness"], NAMES, "t").axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["f0", "loudness"]
    cells = [text.get_text() for text in axes.texts]
    assert cells == ["+1.00", "-2.00", "+0.50", "+0.00", "+0.25", "-0.25"]
    assert axes.images[0].get_clim() == (-2.0, 2.0)  # white is 0
    assert "standard deviations" in bar.get_ylabel()
    small, _ = draw_shifts(0.04 * shifts, ["f0", "loudness"], NAMES, "t").axes
    assert [text.get_text() for text in small.texts][:3] == ["+0.040", "-0.080", "+0.020"]


def test_a_map_has_a_panel_for_each_label_that_tells_points_apart():
    points = np.random.default_rng(0).normal(size=(40, 2))
    labels = {
        "emotion": ["joy", "anger", "joy", "unknown"] * 10,
        "gender": ["female"] * 40,
        "speaker": [f"s{i}" for i in range(20)] * 2,
    }
    figure = draw_map(points, labels, "title")
    emotion, speaker = figure.axes
    assert emotion.get_title() == "emotion" and speaker.get_title() == "speaker (20)"
    assert [text.get_text() for text in emotion.get_legend().texts] == ["anger", "joy", "unknown"]
    assert speaker.get_legend() is None
    drawn = np.concatenate([group.get_offsets() for group in emotion.collections])
    assert len(drawn) == 40
    np.testing.assert_allclose(emotion.collections[0].get_offsets(), points[1::4])
    assert emotion.collections[2].get_facecolor()[0].tolist() == [0.8, 0.8, 0.8, 1.0]


def test_a_map_leaves_out_the_points_of_a_label():
    points = np.random.default_rng(0).normal(size=(40, 2))
    labels = {"emotion": ["joy", "anger", "joy", "neutral"] * 10, "arousal": ["low", "high"] * 20}
    emotion, arousal = draw_map(points, labels, "t", {"emotion": "neutral"}).axes
    assert emotion.get_title() == "emotion, without neutral" and arousal.get_title() == "arousal"
    drawn = [np.concatenate([g.get_offsets() for g in a.collections]) for a in (emotion, arousal)]
    assert [len(of_panel) for of_panel in drawn] == [30, 40]
    assert not {*map(tuple, points[3::4])} & {*map(tuple, drawn[0])}
    # One label is left, which tells no points apart.
    two = {"emotion": ["joy", "neutral"] * 20, "arousal": labels["arousal"]}
    [panel] = draw_map(points, two, "t", {"emotion": "neutral"}).axes
    assert panel.get_title() == "arousal"


def test_confusion_matrices_stand_beside_each_other():
    matrices = {"BL": [[3, 1], [0, 2]], "fT": [[4, 0], [1, 1]]}
    figure = draw_confusion_matrices(matrices, ["sad", "angry"], "both")
    panels = [axes for axes in figure.axes if axes.texts]
    assert [axes.get_title() for axes in panels] == ["BL", "fT"]
    shares = [[text.get_text() for text in axes.texts][::2] for axes in panels]
    assert shares == [["75.0%", "25.0%", "0.0%", "100.0%"], ["100.0%", "0.0%", "50.0%", "50.0%"]]
    assert figure.get_suptitle() == "both"


def test_attention_stands_above_the_frames_it_is_of():
    figure = draw_attention(
        np.zeros((150, 26)), [0.25, 0.75, 0.0], "t", hop_seconds=0.01, step_seconds=0.9
    )
    above, below = figure.axes[:2]
    [bars] = above.patches
    np.testing.assert_allclose(bars.get_data().edges, [0, 0.9, 1.8, 2.7])
    assert below.images[0].get_extent() == [0, 1.5, 0.5, 26.5]
    names = [text.get_text() for text in above.get_legend().texts]
    assert names == ["equal weights, 1/2", "end of the utterance"]
    assert all(line.get_xdata()[0] == 1.5 for line in below.lines)


def test_many_classes_have_no_numbers_and_few_names():
    names = [f"speaker-{k}" for k in range(60)]
    axes = draw_confusion_matrix(np.eye(60, dtype=int), names, "t", "speaker").axes[0]
    assert not axes.texts and len(axes.get_xticklabels()) == 30
    few = draw_confusion_matrix(np.eye(12, dtype=int), names[:12], "t").axes[0]
    assert len(few.texts) == 2 * 144 and len(few.get_xticklabels()) == 12


def test_ratings_lie_on_a_line_where_they_are_right():
    y = {"arousal": np.array([0.1, 0.9]), "valence": np.array([-0.5, 0.5])}
    axes = draw_ratings(y, {k: v + 0.1 for k, v in y.items()}, "title").axes
    assert [a.get_title() for a in axes] == ["arousal", "valence"]
    points = axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points, [[0.1, 0.2], [0.9, 1.0]])
    np.testing.assert_allclose(axes[1].lines[0].get_data(), [[-0.5, 0.6], [-0.5, 0.6]])


def test_spectrograms_share_a_scale():
    of = {"a": np.zeros((10, 4)), "b": np.full((20, 4), -80.0)}
    figure = draw_spectrograms(of, "title", hop_seconds=0.5, label="dB")
    *axes, bar = figure.axes
    assert [a.get_title() for a in axes] == ["a", "b"] and bar.get_ylabel() == "dB"
    for one in axes:
        assert one.images[0].get_clim() == (-80, 0)
    assert axes[0].images[0].get_extent()[:2] == [0, 5.0]


def test_pictures_have_a_row_each_and_low_frequencies_below():
    of = {"speech": np.random.default_rng(0).uniform(0, 2, (3, 8, 4)), "G(z)": np.zeros((3, 8, 4))}
    figure = draw_image_grid(of, "title")
    axes = figure.axes[:6]
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["speech", "G(z)"]
    assert all(a.images[0].origin == "lower" for a in axes)
    assert axes[4].images[0].get_clim() == (0, of["speech"].max())
    assert axes[0].images[0].norm(of["speech"].max() / 16) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["a" * 252 + ".png", "ü" * 140 + ".png"])
def test_a_long_name_is_cut(tmp_path, name):
    rows = [{"epoch": 1, "loss": 1.0}]
    write_training_curves(rows, tmp_path / name, "t", {"loss": {"training": "loss"}}, kept_epoch=1)
    [path] = tmp_path.iterdir()
    assert path.suffix == ".png" and path.name[:50] == name[:50]


def test_a_picture_that_cannot_be_written_is_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tfser"), "propagate", True)
    (tmp_path / "file").touch()
    path, panels = tmp_path / "file" / "history.png", {"loss": {"training": "loss"}}
    write_training_curves([{"epoch": 1, "loss": 1.0}], path, "title", panels, kept_epoch=1)
    assert f"{path} is not drawn: " in caplog.text
    write_training_curves([], tmp_path / "it.png", "title", panels, kept_epoch=1)
    assert "it.png is not drawn: " in caplog.text

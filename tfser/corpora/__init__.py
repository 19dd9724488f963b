"""Corpus readers: one module per corpus, with one `read(root)`; `load` reads any of them.

A reader lists all utterances of its corpus, with the labels of the corpus as lower-case nouns
(anger boredom calm disgust fear happiness neutral sadness surprise). A paper's hparams select
utterances and merge labels. No reader opens an audio file.
"""

from tfser import lazy_names

__all__, __getattr__, __dir__ = lazy_names.export(
    __name__,
    {
        "loader": ["load"],
        "utterance": ["Utterance"],
    },
)

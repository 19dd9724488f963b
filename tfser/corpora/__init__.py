"""Corpus readers: one module per corpus, with one `read(root)`.

A reader lists all utterances of its corpus, with the labels of the corpus as lower-case nouns
(anger boredom calm disgust fear happiness neutral sadness surprise). A paper's hparams select
utterances and merge labels. No reader opens an audio file.
"""

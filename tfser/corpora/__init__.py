"""Corpora: which file holds whom, saying what, and how. One module a corpus, with one `read(root)`.

A reader lists everything its corpus holds, with the corpus' own labels as lower-case nouns (anger
boredom calm disgust fear happiness neutral sadness surprise); which of it a paper uses, and what
it merges, is in the paper's hparams. Nothing here opens an audio file.
"""

"""Splits, scores and reports; the names below are imported when they are used.

Example:
    >>> import tfser
    >>> split = tfser.evaluation.leave_speakers_out(["03", "03", "08", "09"])[0]
    >>> split.train.tolist(), split.dev.tolist(), split.test.tolist()
    ([3], [2], [0, 1])
"""

from tfser import lazy_names

__all__, __getattr__, __dir__ = lazy_names.export(
    __name__,
    {
        "metrics": ["ccc", "confusion_matrix", "macro_f1", "uar", "wa"],
        "splits": ["leave_speakers_out", "speaker_group_k_fold", "stratified_k_fold"],
    },
)

"""Feature extraction: Keras layers on waveforms, and openSMILE; imported when they are used."""

from tfser import lazy_names

__all__, __getattr__, __dir__ = lazy_names.export(
    __name__,
    {
        "opensmile": ["OpenSmile"],
    },
    {
        "audeep": ["Spectrogram"],
        "log_mel": ["LogMel"],
        "magnitude_slices": ["Slices"],
        "mel_pieces": ["MelPieces"],
    },
)

"""Decoding of audio files to waveforms."""

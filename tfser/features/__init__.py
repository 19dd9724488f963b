"""Feature extraction: Keras layers on waveforms, and openSMILE."""

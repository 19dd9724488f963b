"""Linear SVM on a pretrained speech encoder, the strong baseline.

Needs: Resemblyzer's wheel (its weights alone), or an encoder as an ONNX file.

It is of no paper of the zoo. Implemented: Resemblyzer's speaker encoder (Wan et al., ICASSP 2018;
trained to tell speakers, on other corpora), mean and standard deviation of its layers' outputs per
utterance, under the z-score and the linear SVM of `svm`, with its protocols and its settings.
`encoder.path` takes another encoder instead.

Not in the original: statistics of all layers (the original takes the last output alone), in place
of Resemblyzer's voice activity detection nothing.

Where to look:
- the encoder: features.resemblyzer.SpeakerEncoder, features.onnx_encoder.OnnxEncoder;
- its choice: dataset.make_encoder; the SVM: models.svm;
- the whole in one graph, for exports: inference.make_inference_function.

This package re-exports nothing, so that its import needs neither TensorFlow nor Keras.
"""

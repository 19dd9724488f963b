"""The linear SVM on openSMILE functionals that papers compare with: the row beside every system.

6373 functionals an utterance (IS13: Schuller et al., Interspeech 2013), z-score with the training
part's statistics, scikit-learn's SVC with a linear kernel. No paper of the zoo; the recipe is the
field's usual baseline. `features.normalize = "speaker"` takes each speaker's own statistics
instead, the test speaker's too: transductive, no longer a system that could hear one utterance of
a stranger, and labelled so in every result.
"""

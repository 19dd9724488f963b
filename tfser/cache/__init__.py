"""The feature cache, and the tf.data pipelines that read it."""

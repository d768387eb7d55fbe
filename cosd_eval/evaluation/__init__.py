"""From task names to results on disk: lm-eval's tasks, our model adapter, the store, the runner."""

"""cosd-eval: evaluate language models that decode together."""

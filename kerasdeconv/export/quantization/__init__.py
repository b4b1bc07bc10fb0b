"""Quantization: ranges from samples, what each layer costs, and training that knows of it."""

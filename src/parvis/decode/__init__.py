"""Decoders: coroutines that yield passes and are sent predictions. One file per algorithm."""

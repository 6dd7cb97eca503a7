"""Parvis: autoregressive visual generation, made parallel."""

"""Weights on disk: model folders and maps between the authors' parameter names and ours."""

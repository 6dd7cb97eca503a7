"""Measuring: distances between sets of pictures, what a picture is nearest to, and how long pipelines take."""

from parvis.evaluate.features import FeatureNet, efficientnet_lite0, features_of, thumbnails
from parvis.evaluate.frechet import Frechet, Moments, Projection, compare, floor, frechet, moments, project
from parvis.evaluate.latency import Latency, race
from parvis.evaluate.nearest import Nearest, nearest

__all__ = [
    "FeatureNet",
    "Frechet",
    "Latency",
    "Moments",
    "Nearest",
    "Projection",
    "compare",
    "efficientnet_lite0",
    "features_of",
    "floor",
    "frechet",
    "moments",
    "nearest",
    "project",
    "race",
    "thumbnails",
]

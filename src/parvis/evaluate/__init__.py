"""Measuring: metrics of sets of pictures, what a picture is nearest to, and how long pipelines take.

Nothing here knows a model. Other parts are imported from where they are: ``evaluate.pictures``, ``evaluate.reference``,
``evaluate.nets``, ``evaluate.classifier``.
"""

from parvis.evaluate.certainty import Score, inception_score
from parvis.evaluate.features import FeatureNet, efficientnet_lite0, features_of, thumbnails
from parvis.evaluate.frechet import Frechet, Moments, Projection, compare, floor, frechet, moments, project
from parvis.evaluate.kernel import Kid, kid, mmd2
from parvis.evaluate.latency import Latency, race
from parvis.evaluate.manifold import Manifold, manifold
from parvis.evaluate.measure import Measured, Protocol, measure
from parvis.evaluate.nearest import Nearest, nearest

__all__ = [
    "FeatureNet",
    "Frechet",
    "Kid",
    "Latency",
    "Manifold",
    "Measured",
    "Moments",
    "Nearest",
    "Projection",
    "Protocol",
    "Score",
    "compare",
    "efficientnet_lite0",
    "features_of",
    "floor",
    "frechet",
    "inception_score",
    "kid",
    "manifold",
    "measure",
    "mmd2",
    "moments",
    "nearest",
    "project",
    "race",
    "thumbnails",
]

"""Training: one loop, whole checkpoints, runs that resume exactly."""

from parvis.train.config import FitConfig
from parvis.train.data import choose_caption, gather, shuffled, weighted
from parvis.train.ema import Ema
from parvis.train.loop import Fitted, fit

__all__ = ["Ema", "FitConfig", "Fitted", "choose_caption", "fit", "gather", "shuffled", "weighted"]

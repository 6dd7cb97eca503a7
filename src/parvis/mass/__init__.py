"""Sampling at scale: many pictures, each a function of its number alone, on any number of workers, resumed at will."""

from parvis.mass.plan import Plan, read_plan
from parvis.mass.work import Done, finish, missing, work

__all__ = ["Done", "Plan", "finish", "missing", "read_plan", "work"]

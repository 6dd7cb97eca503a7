"""Recipes: a function per result. Its docstring says what it makes; ``parvis train NAME`` runs it."""

from recipes.emoji import RECIPES

__all__ = ["RECIPES"]

"""``GET /v1/models``: what is served here, and what it can do."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query

from parvis.pipeline import Pipeline
from parvis.planners import PLANNERS
from parvis.serve.errors import Refused
from parvis.serve.service import Service

PAGE = 1000


def models(service: Service) -> APIRouter:
    """The routes that describe."""
    router = APIRouter(prefix="/v1/models")

    @router.get("")
    async def every() -> dict[str, Any]:
        """All models."""
        return {"object": "list", "data": [facts(name, one) for name, one in service.models.items()]}

    @router.get("/{model}")
    async def one(model: str) -> dict[str, Any]:
        """One model."""
        return facts(*service.model(model))

    @router.get("/{model}/words")
    async def words(
        model: str,
        offset: int = Query(0, ge=0, le=1 << 31),
        limit: int = Query(100, ge=1, le=PAGE),
        contains: str = Query("", max_length=80),
    ) -> dict[str, Any]:
        """The words that a model of captions knows, sorted; ``offset`` of the next page is in ``next``."""
        _, pipeline = service.model(model)
        if pipeline.words is None:
            raise Refused(404, f"{model} draws from {pipeline.system.takes}, it has no list of words", param="model")
        known = [word for word in pipeline.words.vocabulary if contains.lower() in word]
        end = offset + limit
        return {
            "object": "list",
            "data": known[offset:end],
            "total": len(known),
            "has_more": end < len(known),
            "next": end if end < len(known) else None,
        }

    return router


def facts(name: str, pipeline: Pipeline) -> dict[str, Any]:
    """A model as OpenAI describes one, and Parvis' facts beside it."""
    system = pipeline.system
    grid, factor, preset = system.grid, system.tokenizer.factor, system.preset
    about = pipeline.config.about if pipeline.config else {}
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "parvis",
        "x_system": system.name,
        "x_sizes": [f"{grid.width * factor}x{grid.height * factor}"],
        "x_grid": {
            "width": grid.width,
            "height": grid.height,
            "tokens": grid.tokens,
            "flat": grid.flat,
            "scales": [[height, width] for _, height, width in grid.scales],
        },
        "x_values": "codes" if system.tokenizer.channels is None else "latents",
        "x_passes_per_group": system.passes_per_group,
        "x_takes": system.takes,
        "x_words": len(pipeline.words.vocabulary) if pipeline.words else 0,
        "x_classes": list(system.classes),
        "x_class_count": getattr(system.models["main"].condition, "classes", 0),
        "x_preset": {
            "steps": preset.steps,
            "guidance_scale": preset.guidance,
            "temperature": preset.sampling.temperature,
            "top_k": preset.sampling.top_k,
            "top_p": preset.sampling.top_p,
        },
        "x_orders": sorted(PLANNERS) if system.takes_any_order else [],
        "x_edits": system.edits,
        "x_precision": str(pipeline.dtype).removeprefix("torch."),
        "x_licence": about.get("licence"),
    }

"""Key maps: names go there and back, and what does not fit is reported."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from parvis.errors import WeightsError
from parvis.weights.keys import KeyMap, is_bijection

MAP = KeyMap(
    rules=(
        ("token_emb.weight", "tokens.weight"),
        ("blocks.{i}.attn.{leaf}.{part}", "layers.{i}.attention.{leaf}.{part}"),
        ("blocks.{i}.res.{j}.weight", "layers.{j}.of.{i}.weight"),
        ("decoder.{path}", "tokenizer.decoder.{path}"),
    ),
    drop=("freqs_cis", "blocks.{i}.mask"),
)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("token_emb.weight", "tokens.weight"),
        ("blocks.11.attn.qkv.bias", "layers.11.attention.qkv.bias"),
        ("blocks.1.res.22.weight", "layers.22.of.1.weight"),
        ("decoder.mid.0.conv.weight", "tokenizer.decoder.mid.0.conv.weight"),
    ],
)
def test_names_go_both_ways(theirs: str, ours: str) -> None:
    assert MAP.ours(theirs) == ours and MAP.theirs(ours) == theirs


@pytest.mark.parametrize(
    "name", ["token_embXweight", "blocks.x.attn.qkv.bias", "blocks.1.attn.a.b.c", "blocks.1.attn.qkv", "decoder."]
)
def test_names_that_do_not_fit_are_not_renamed(name: str) -> None:
    assert MAP.ours(name) is None


def test_apply_reports_everything() -> None:
    state = {
        "token_emb.weight": torch.zeros(5, 2),
        "decoder.bias": torch.arange(3.0).view(1, 1, 3),
        "freqs_cis": torch.zeros(9),
        "blocks.3.mask": torch.zeros(9),
        "surprise": torch.zeros(1),
        "decoder.more": torch.zeros(1),
    }
    shapes = {"tokens.weight": (5, 2), "tokenizer.decoder.bias": (3,), "layers.0.attention.qkv.bias": (4,)}
    tensors, report = MAP.apply(state, shapes)
    assert set(tensors) == {"tokens.weight", "tokenizer.decoder.bias"}
    assert torch.equal(tensors["tokenizer.decoder.bias"], torch.arange(3.0))
    assert report.matched == (("decoder.bias", "tokenizer.decoder.bias"), ("token_emb.weight", "tokens.weight"))
    assert report.dropped == ("blocks.3.mask", "freqs_cis")
    assert report.missing == ("layers.0.attention.qkv.bias",)
    assert report.unexpected == ("decoder.more", "surprise")
    assert report.reshaped == (("tokenizer.decoder.bias", torch.Size((1, 1, 3)), torch.Size((3,))),)
    assert not report.complete
    with pytest.raises(
        WeightsError, match=r"file: 1 missing \(layers.*\) and 2 unexpected \(decoder\.more, surprise\)"
    ):
        report.require_complete("file")


def test_only_axes_of_length_one_are_reshaped() -> None:
    with pytest.raises(WeightsError, match=r"'token_emb.weight' has shape \[5, 2\], 'tokens.weight' needs \[2, 5\]"):
        MAP.apply({"token_emb.weight": torch.zeros(5, 2)}, {"tokens.weight": (2, 5)})


def test_two_names_that_become_one_are_refused() -> None:
    twice = KeyMap((("a.{leaf}", "x.{leaf}"), ("b.{leaf}", "x.{leaf}")))
    with pytest.raises(WeightsError, match=r"two tensors become 'x\.w'"):
        twice.apply({"a.w": torch.zeros(1), "b.w": torch.zeros(1)})


names = st.one_of(
    st.just("tokens.weight"),
    st.builds("layers.{}.attention.{}.{}".format, st.integers(0, 99), st.sampled_from(("qkv", "out")), st.just("bias")),
    st.builds("layers.{}.of.{}.weight".format, st.integers(0, 99), st.integers(0, 99)),
    st.builds("tokenizer.decoder.{}".format, st.text("ab.", min_size=1, max_size=6)),
)


@given(st.lists(names, unique=True))
def test_invert_undoes_apply(keys: list[str]) -> None:
    assert is_bijection(MAP, keys)
    ours = {key: torch.tensor(float(i)) for i, key in enumerate(keys)}
    theirs, report = MAP.invert(ours)
    assert report.complete and len(theirs) == len(ours)
    again, report = MAP.apply(theirs, {key: () for key in keys})
    assert report.complete and {key: float(t) for key, t in again.items()} == {key: float(t) for key, t in ours.items()}


def test_what_is_no_bijection_is_seen() -> None:
    assert not is_bijection(MAP, ["unknown.weight"])
    assert not is_bijection(KeyMap((("a", "x"), ("a", "y"))), ["x", "y"])
    assert not is_bijection(KeyMap((("a.{leaf}", "x.{leaf}"), ("b.{i}", "y.{i}")), drop=("b.{i}",)), ["y.1"])
    shadowed = KeyMap((("a.{path}", "x.{path}"), ("a.b", "y")))
    assert is_bijection(shadowed, ["x.c"]) and not is_bijection(shadowed, ["y"])


def test_rules_must_have_the_same_fields() -> None:
    with pytest.raises(AssertionError, match="different fields"):
        KeyMap((("a.{i}", "b"),))

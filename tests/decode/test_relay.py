import pytest
import torch

from oracle import oracle, run
from parvis.decode.parallel import parallel
from parvis.decode.relay import relay
from parvis.errors import UsageError
from parvis.grid import Grid
from parvis.order import scales

ORDER = scales(Grid.pyramid((1, 2, 3, 4)))


@pytest.mark.parametrize("handoff", range(6))
def test_early_groups_go_to_the_draft_model(handoff):
    _, passes = run(relay(handoff), ORDER, (1, 2), oracle())
    assert [p.by for p in passes] == (["draft"] * min(handoff, 4) + ["refine"] * (4 - min(handoff, 4)))


def test_alone_equals_batched():
    together, _ = run(relay(2), ORDER, (1, 2), oracle())
    assert torch.equal(run(relay(2), ORDER, (2,), oracle())[0][0], together[1])


def test_with_one_model_for_both_it_is_parallel_decoding():
    def same(canvas, ask):
        return oracle()(canvas, type(ask)(ask.group, ask.start, ask.stop, ask.positions))

    assert torch.equal(run(relay(2), ORDER, (7, 8), same)[0], run(parallel, ORDER, (7, 8), same)[0])


def test_refining_from_the_start_is_not_drafting_to_the_end():
    assert not torch.equal(run(relay(0), ORDER, (7, 8), oracle())[0], run(relay(4), ORDER, (7, 8), oracle())[0])


def test_negative_handoff_is_refused():
    with pytest.raises(UsageError, match="at least 0; got -1"):
        relay(-1)

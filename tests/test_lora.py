import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import IA3Config, LoraConfig, inject_adapter_in_model
from torch import nn

from fmnotes import lora, quantization
from fmnotes.gpt2 import GPT2, GPT2Config

CONFIG = GPT2Config(97, 16, d_model=16, n_layer=2, n_head=2)
IDS = torch.randint(97, (3, 13), generator=torch.Generator().manual_seed(1))
THEIRS = {"A": "lora_A.default.weight", "B": "lora_B.default.weight", "m": "lora_magnitude_vector.default.weight"}
KINDS = {"LoRA": ({}, {}), "rsLoRA": ({"rs": True}, {"use_rslora": True}), "DoRA": ({"dora": True}, {"use_dora": True})}


def model():
    """A small GPT-2 in float64, all of whose parameters are random."""
    torch.manual_seed(0)
    network = GPT2(CONFIG).double()
    for p in network.parameters():
        nn.init.normal_(p, std=0.3)
    return network


def randomise(network):
    for p in lora.trained(network).values():
        p.data = torch.rand_like(p) + 0.1
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_logits_gradients_and_merge_are_those_of_peft(kind):
    mine, its = KINDS[kind]
    ours = randomise(lora.lora(model(), 3, 6.0, **mine))
    config = LoraConfig(r=3, lora_alpha=6, target_modules=["c_attn", "c_proj", "c_fc"], init_lora_weights=False, **its)
    theirs = inject_adapter_in_model(config, model())
    pairs = {}
    for name, p in lora.trained(ours).items():
        layer, _, last = name.rpartition(".")
        pairs[name] = theirs.get_parameter(f"{layer}.{THEIRS[last]}")
        pairs[name].data = p.detach().clone()
    assert torch.allclose(ours(IDS), theirs(IDS), atol=1e-10)
    for network in (ours, theirs):
        network.loss(IDS[:, :-1], IDS[:, 1:]).backward()
    for name, p in lora.trained(ours).items():
        assert torch.allclose(p.grad, pairs[name].grad, atol=1e-10), name
    before = ours(IDS).detach()
    assert torch.allclose(lora.merge(ours)(IDS), before, atol=1e-10)
    assert not [m for m in ours.modules() if isinstance(m, lora.LoRALinear)]


def test_ia3_is_that_of_peft_and_merges():
    ours = randomise(lora.ia3(model()))
    config = IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"])
    theirs = inject_adapter_in_model(config, model())
    for name, p in lora.trained(ours).items():
        other = theirs.get_parameter(name.replace("scale", "ia3_l.default"))
        other.data = p.detach().reshape(other.shape).clone()
    before = ours(IDS).detach()
    assert torch.allclose(before, theirs(IDS), atol=1e-10)
    assert torch.allclose(lora.merge(ours)(IDS), before, atol=1e-10)


def test_a_bottleneck_is_the_adapter_of_xmod():
    from transformers import XmodConfig
    from transformers.models.xmod.modeling_xmod import XmodAdapter

    ours = randomise(lora.bottlenecks(model(), 4)).h[1].attn.c_proj
    theirs = XmodAdapter(XmodConfig(hidden_size=16, adapter_reduction_factor=4)).double()
    theirs.dense1.load_state_dict(ours.down.state_dict())
    theirs.dense2.load_state_dict(ours.up.state_dict())
    y = ours.base(x := torch.randn(2, 5, 16, dtype=torch.float64))
    assert torch.allclose(ours(x), y + theirs(y), atol=1e-12)


@pytest.mark.parametrize(
    "adapt",
    [
        lambda m: lora.lora(m, 3, 6.0),
        lambda m: lora.lora(m, 3, 6.0, rs=True),
        lambda m: lora.lora(m, 3, 6.0, dora=True),
        lora.ia3,
        lambda m: lora.bottlenecks(m, 4),
    ],
)
def test_nothing_changes_at_first_and_only_small_parts_are_trained(adapt):
    start = model()
    network = adapt(copy.deepcopy(start))
    assert torch.allclose(network(IDS), start(IDS), atol=1e-12)
    network.loss(IDS[:, :-1], IDS[:, 1:]).backward()
    for name, p in network.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
    assert sum(p.numel() for p in lora.trained(network).values()) < 0.5 * sum(p.numel() for p in start.parameters())


def test_a_zero_b_moves_first_and_a_waits():
    network = lora.lora(model(), 3, 6.0)
    network.loss(IDS[:, :-1], IDS[:, 1:]).backward()
    layer = network.h[0].mlp.c_fc
    assert (layer.A.grad == 0).all() and (layer.B.grad != 0).any()


def test_lora_stands_on_quantised_layers_too():
    coded = quantization.quantise_model(model().float(), lora.GPT2_MAPS)
    dense = copy.deepcopy(coded)
    network = randomise(lora.lora(coded, 3, 6.0, dora=True))
    for name, layer in list(dense.named_modules()):
        if isinstance(layer, quantization.QuantLinear):
            dense.set_submodule(name, lora.layers.as_linear(layer.weight, layer.bias))
    other = lora.lora(dense, 3, 6.0, dora=True)
    other.load_state_dict(network.state_dict(), strict=False)
    assert torch.allclose(network(IDS), other(IDS), atol=1e-4)
    assert torch.allclose(lora.merge(network)(IDS), lora.merge(other)(IDS), atol=1e-4)


def test_updates_are_saved_and_read(tmp_path):
    ours = randomise(lora.lora(model(), 3, 6.0, dora=True))
    lora.save(ours, tmp_path / "update.safetensors")
    again = lora.load(lora.lora(model(), 3, 6.0, dora=True), tmp_path / "update.safetensors")
    assert torch.equal(ours(IDS), again(IDS))
    with pytest.raises(ValueError, match=r"the file has .*\.m: it was written by a model adapted in another way"):
        lora.load(lora.lora(model(), 3, 6.0), tmp_path / "update.safetensors")
    with pytest.raises(ValueError, match="another rank"):
        lora.load(lora.lora(model(), 2, 6.0, dora=True), tmp_path / "update.safetensors")
    with pytest.raises(ValueError, match="nothing in the model is trained"):
        lora.save(model().requires_grad_(False), tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        (lambda: lora.lora(model(), 17, 8.0), "rank 17 does not suit a matrix of 48 × 16: .* ranks from 1 to 16"),
        (lambda: lora.lora(model(), 0, 8.0), "rank 0 does not suit"),
        (lambda: lora.lora(model(), 2, 0.0), "alpha is 0.0, but must be above 0"),
        (lambda: lora.lora(model(), 2, 8.0, targets=["q_proj"]), "no linear layer is called 'q_proj'; there are attn"),
        (lambda: lora.lora(lora.lora(model(), 2, 8.0), 2, 8.0), "has small layers already"),
        (lambda: lora.bottlenecks(model(), 0), "width is 0"),
        (lambda: lora.merge(model()), "no small layers to merge"),
        (lambda: lora.merge(lora.bottlenecks(model(), 2)), "is a bottleneck, which bends"),
        (lambda: lora.GaLoreAdamW(model().parameters(), 0.1, 0), "rank and every must be at least 1"),
        (lambda: lora.subspace(torch.ones(3, 5), 4), "rank 4 does not suit a gradient of 3 × 5"),
        (lambda: lora.subspace(torch.full((3, 5), torch.nan), 1), "the gradient is not finite"),
        (lambda: lora.low_rank(torch.ones(3, 5), 4), "rank 4 does not suit"),
    ],
)
def test_what_cannot_be_is_refused(adapt, message):
    with pytest.raises(ValueError, match=message):
        adapt()


def test_an_empty_batch_is_empty_and_an_empty_loss_is_refused():
    network = lora.lora(model(), 3, 6.0)
    assert network.h[0].attn.c_attn(torch.empty(0, 5, 16).double()).shape == (0, 5, 48)
    with pytest.raises(ValueError, match="input_ids are empty"):
        network.loss(IDS[:0, :-1], IDS[:0, 1:])


# ------------------------------------------------------------------------------------------------- GaLore


def least_squares(m=12, n=20, rows=5):
    g = torch.Generator().manual_seed(0)
    X, Y = torch.randn(rows, m, generator=g).double(), torch.randn(rows, n, generator=g).double()
    return lambda W: X.T @ (X @ W - Y)


@pytest.mark.parametrize("tall", [False, True])
def test_galore_is_the_papers_algorithm_on_least_squares(tall):
    slope = least_squares()
    W = torch.zeros(12, 20).double()
    M, V = torch.zeros(2, 3, 20).double()
    for t in range(1, 26):
        G = slope(W)
        if (t - 1) % 7 == 0:
            P = torch.linalg.svd(G)[0][:, :3]
        M, V = 0.9 * M + 0.1 * P.T @ G, 0.999 * V + 0.001 * (P.T @ G) ** 2
        W = W - 0.05 * 0.25 * P @ (M / (1 - 0.9**t) / ((V / (1 - 0.999**t)).sqrt() + 1e-8))
    ours = nn.Parameter((torch.zeros(20, 12) if tall else torch.zeros(12, 20)).double())
    optimizer = lora.GaLoreAdamW([ours], 0.05, 3, every=7)
    for _ in range(25):
        ours.grad = slope(ours.detach().T).T.contiguous() if tall else slope(ours.detach())
        optimizer.step()
    assert torch.allclose(ours.T if tall else ours, W, atol=1e-9)
    assert optimizer.state_bytes() == 8 * (12 * 3 + 2 * 3 * 20)


def test_without_a_projection_galore_is_adam():
    torch.manual_seed(0)
    mine = [nn.Parameter(torch.randn(shape).double()) for shape in ((6, 4), (5,))]
    theirs = [nn.Parameter(p.detach().clone()) for p in mine]
    a, b = lora.GaLoreAdamW(mine, 0.01, 4), torch.optim.Adam(theirs, 0.01)
    for _ in range(5):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = q.grad = torch.randn_like(p)
        a.step()
        b.step()
    assert all(torch.allclose(p, q, atol=1e-12) for p, q in zip(mine, theirs, strict=True))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(2, 12), st.integers(2, 12), st.integers(0, 1000))
def test_a_gradient_of_few_examples_loses_nothing_in_as_many_directions(rows, m, n, seed):
    g = torch.Generator().manual_seed(seed)
    G = torch.randn(m, rows, generator=g).double() @ torch.randn(rows, n, generator=g).double()
    P = lora.subspace(G, min(rows, m, n))
    short = G if m <= n else G.T
    assert torch.allclose(P @ (P.T @ short), short, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(6, 9), st.integers(6, 9), st.integers(0, 1000))
def test_no_product_of_a_rank_is_nearer_than_the_largest_directions(rank, m, n, seed):
    g = torch.Generator().manual_seed(seed)
    change, B, A = (torch.randn(shape, generator=g).double() for shape in ((m, n), (m, rank), (rank, n)))
    best_B, best_A = lora.low_rank(change, rank)
    assert (change - best_B @ best_A).norm() <= (change - B @ A).norm() + 1e-9
    sigma = torch.linalg.svdvals(change)
    assert (change - best_B @ best_A).norm() == pytest.approx(sigma[rank:].norm().item(), abs=1e-9)


def test_the_studys_arms_have_the_parameters_that_it_says():
    from fmnotes.studies import peft_methods as study

    counts = {
        name: sum(p.numel() for p in lora.trained(arm(study.base())).values()) for name, arm in study.arms().items()
    }
    assert counts["LoRA"] == counts["rsLoRA"] == counts["QLoRA"] == 65_536
    assert (counts["DoRA"], counts["bottlenecks"], counts["IA3"]) == (61_952, 64_760, 3_584)
    assert counts["all weights"] == counts["GaLore"] == 1_350_400

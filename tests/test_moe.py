"""The window, the cache, the experts and their losses against transformers, their gradients, errors and files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.mistral import modeling_mistral
from transformers.models.mixtral import modeling_mixtral as mixtral
from transformers.models.switch_transformers import modeling_switch_transformers as switch

from fmnotes import generation, gpt2, moe
from fmnotes.exercises import find
from fmnotes.moe import layer

DENSE = moe.MistralConfig(97, 64, d_model=32, n_layer=3, n_head=4, n_kv_head=2, d_ff=48, window=7)
SPARSE = moe.MistralConfig(97, 64, 32, 3, 4, 2, d_ff=24, window=7, n_expert=6, top_k=2)


def randomised(config, seed=0, dtype=torch.float64):
    """Every parameter random: fresh gains are 1, which hides mistakes."""
    dice, model = torch.Generator().manual_seed(seed), moe.Mistral(config).to(dtype)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.2 * torch.randn(p.shape, generator=dice, dtype=dtype) + (p.ndim == 1))
    return model


def some_ids(*shape, seed=1):
    return torch.randint(97, shape, generator=torch.Generator().manual_seed(seed))


def normal(*shape, seed=2, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.fixture
def precise(monkeypatch):
    """transformers in float64 throughout: it computes norms, angles and the router's softmax in float32 else."""

    def norm(self, x):
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    def angles(self, x, position_ids):
        d = self.config.hidden_size // self.config.num_attention_heads
        frequencies = 1 / self.config.rope_parameters["rope_theta"] ** (torch.arange(0, d, 2).double() / d)
        angle = torch.cat([position_ids[..., None].double() * frequencies] * 2, dim=-1)
        return angle.cos(), angle.sin()

    def router(self, x):
        z = F.linear(x.reshape(-1, self.hidden_dim), self.weight)
        weights, experts = z.softmax(-1).topk(self.top_k)
        return z, weights / weights.sum(-1, keepdim=True), experts

    for kind in ("Mistral", "Mixtral"):
        module = modeling_mistral if kind == "Mistral" else mixtral
        monkeypatch.setattr(getattr(module, f"{kind}RMSNorm"), "forward", norm)
        monkeypatch.setattr(getattr(module, f"{kind}RotaryEmbedding"), "forward", angles)
    monkeypatch.setattr(mixtral.MixtralTopKRouter, "forward", router)


# ------------------------------------------------------------------------------------------ the whole model


@pytest.mark.parametrize("window", [None, 1, 7, 40])
@pytest.mark.parametrize("config", [DENSE, SPARSE], ids=["mistral", "mixtral"])
def test_logits_are_those_of_transformers(config, window, precise):
    ours = randomised(replace(config, window=window))
    theirs, ids = ours.to_transformers(), some_ids(2, 41)
    assert type(theirs).__name__ == ("MistralForCausalLM" if config is DENSE else "MixtralForCausalLM")
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("config", [DENSE, SPARSE], ids=["mistral", "mixtral"])
def test_saved_models_open_in_transformers_and_theirs_here(config, tmp_path):
    ours, ids = randomised(config, dtype=torch.float32), some_ids(2, 20)
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours").eval()
    theirs.save_pretrained(tmp_path / "theirs")
    with torch.no_grad():
        for folder in ("ours", "theirs"):
            torch.testing.assert_close(moe.Mistral.from_pretrained(tmp_path / folder)(ids), ours(ids))
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-4, rtol=0)


def test_what_cannot_be_saved_or_opened(tmp_path):
    with pytest.raises(ValueError, match="renormalise=True"):
        moe.Mistral(replace(SPARSE, renormalise=False)).save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no config.json"):
        moe.Mistral.from_pretrained(tmp_path)
    moe.Mistral(DENSE).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    for name, value, message in (
        ("model_type", "llama", "a mistral or a mixtral is needed"),
        ("hidden_act", "gelu", "hidden_act = 'silu' only"),
        ("rope_parameters", {"rope_type": "yarn"}, "rope_type default"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(content | {name: value}))
        with pytest.raises(ValueError, match=message):
            moe.Mistral.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(
        json.dumps(content | {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 1})
    )
    with pytest.raises(ValueError, match="lacks layers.0.block_sparse_moe.experts.0.w1"):
        moe.Mistral.from_pretrained(tmp_path)


@pytest.mark.parametrize("config", [DENSE, SPARSE], ids=["mistral", "mixtral"])
def test_counts_by_formula(config):
    model = moe.Mistral(config)
    assert config.n_parameters == sum(p.numel() for p in model.parameters())
    active = config.n_parameters - config.n_layer * (config.n_expert - config.top_k) * 3 * config.d_model * config.d_ff
    assert config.n_active == active
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.double()(some_ids(2, 14))
    assert counter.get_total_flops() == config.flops_per_token(14) * 28


def test_the_loss_is_the_sum_of_its_three_parts():
    model, ids, routings = randomised(SPARSE), some_ids(2, 21), []
    loss = model.loss(ids[:, :-1], ids[:, 1:], balance=0.3, z=0.2, routings=routings)
    logits = model(ids[:, :-1])
    plain = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    expected = plain + 0.3 * moe.balancing_loss(routings) + 0.2 * moe.z_loss(routings)
    torch.testing.assert_close(loss, expected)
    assert len(routings) == SPARSE.n_layer
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize(
    "change, message",
    [
        ({"top_k": 7}, "top_k = 7 experts for each token, but there are only 6"),
        ({"n_kv_head": 3}, "n_head = 4 must be a multiple of n_kv_head = 3"),
        ({"d_model": 30}, "d_model = 30 must be a multiple"),
        ({"d_model": 12}, "a head is 3 wide"),
        ({"window": 0}, "window must be a positive whole number"),
        ({"d_ff": 2.0}, "d_ff must be a positive whole number"),
    ],
)
def test_impossible_shapes(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SPARSE, **change)


def test_bad_input_to_the_model():
    model = moe.Mistral(DENSE)
    for ids, message in (
        (torch.empty(1, 0, dtype=torch.long), "at least one token"),
        (some_ids(5), "at least one token"),
        (some_ids(1, 3) + 97, "outside the vocabulary of 97"),
        (some_ids(1, 65), "65 tokens do not fit a context_length of 64"),
    ):
        with pytest.raises(ValueError, match=message):
            model(ids)
    with pytest.raises(ValueError, match="made for 1 sequences at a time, not 2"):
        model(some_ids(2, 3), moe.RollingCache(DENSE))
    with pytest.raises(ValueError, match="targets have the shape"):
        model.loss(some_ids(1, 4), some_ids(1, 3))


# -------------------------------------------------------------------------------------- window and cache


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 70), st.integers(1, 30), st.sampled_from([1, 2, 4]))
def test_windowed_attention_is_masked_attention(time, window, kv):
    q, k, v = normal(2, 4, time, 8), normal(2, kv, time, 8, seed=3), normal(2, kv, time, 8, seed=4)
    s, t = torch.arange(time), torch.arange(time)[:, None]
    mask = (s <= t) & (s > t - window)
    k_, v_ = (x.repeat_interleave(4 // kv, dim=1) for x in (k, v))
    expected = (q @ k_.mT / 8**0.5).masked_fill(~mask, -torch.inf).softmax(-1) @ v_
    torch.testing.assert_close(moe.windowed_attention(q, k, v, window), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("window, total, new", [(3, 6, 6), (3, 6, 2), (None, 5, 2), (9, 5, 5)])
def test_the_mask_is_that_of_transformers(window, total, new):
    t = torch.arange(total)
    rule = (
        transformers.masking_utils.causal_mask_function
        if window is None
        else transformers.masking_utils.sliding_window_causal_mask_function(window)
    )
    theirs = torch.stack([torch.stack([rule(t[0], t[0], i, j) for j in t]) for i in t])
    assert moe.sliding_window_mask(new, total, window).equal(theirs[total - new :].bool())


def test_bad_windows():
    with pytest.raises(ValueError, match="a window of 0 shows nothing"):
        moe.sliding_window_mask(2, 2, 0)
    with pytest.raises(ValueError, match="3 new positions among 2"):
        moe.sliding_window_mask(3, 2)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_reach_is_what_has_a_gradient(layers):
    config = moe.MistralConfig(97, 100, 32, layers, 4, 2, 48, window=16)
    model, x = randomised(config), normal(1, 100, 32).requires_grad_()
    model.embed_tokens.register_forward_hook(lambda *_: x)
    model.hidden_states(torch.zeros(1, 100, dtype=torch.long))[0, -1].square().sum().backward()
    seen = int((x.grad[0].norm(dim=-1) > 0).sum())
    assert seen == config.reach() == 1 + layers * 15
    if layers == 4:
        assert seen == find("g09.reach").solution


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.sampled_from([None, 1, 5, 7, 30]))
def test_the_rolling_cache_changes_nothing(parts, window):
    config = replace(SPARSE, window=window, context_length=96)
    model, ids = randomised(config), some_ids(2, sum(parts))
    cache = moe.RollingCache(config, batch=2, like=model.wte.weight)
    with torch.no_grad():
        portions = torch.cat([model(part, cache) for part in ids.split(parts, dim=1)], dim=1)
        torch.testing.assert_close(portions, model(ids), atol=1e-9, rtol=0)
    assert cache.nbytes == config.cache_bytes(96, 2, torch.float64)
    assert cache.layers[0].shape[3] == (window or 96)


def test_generation_with_the_rolling_cache():
    model, prompt = randomised(SPARSE), some_ids(2, 9)
    cache = moe.RollingCache(SPARSE, batch=2, like=model.wte.weight)
    cached = generation.generate(model, prompt, 30, temperature=0, cache=cache)
    assert cached.equal(generation.generate(model, prompt, 30, temperature=0, use_cache=False))
    assert gpt2.token_losses(model, some_ids(80)).shape == (79,)


# ------------------------------------------------------------------------------------- router and experts


def block(n_expert=6, top_k=2, d=32, f=24, way="eager", dtype=torch.float64):
    config = transformers.MixtralConfig(
        hidden_size=d, intermediate_size=f, num_local_experts=n_expert, num_experts_per_tok=top_k,
        experts_implementation=way,
    )  # fmt: skip
    theirs, ours = mixtral.MixtralSparseMoeBlock(config).to(dtype), moe.MoE(d, f, n_expert, top_k).to(dtype)
    with torch.no_grad():
        for n, p in enumerate(ours.parameters()):
            p.copy_(0.3 * normal(*p.shape, seed=n, dtype=dtype))
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("n_expert, top_k", [(6, 2), (2, 1), (4, 4), (40, 3)])
def test_the_layer_is_mixtrals_with_its_gradients(n_expert, top_k, precise):
    ours, theirs = block(n_expert, top_k)
    x, y = normal(2, 9, 32).requires_grad_(), normal(2, 9, 32).requires_grad_()
    y.data.copy_(x.data)
    torch.testing.assert_close(ours(x), theirs(y), atol=1e-10, rtol=0)
    ours(x).square().sum().backward()
    theirs(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, atol=1e-9, rtol=1e-9)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if top_k > 1 or name != "gate.weight":
            torch.testing.assert_close(p.grad, q.grad, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("way", ["eager", "grouped_mm"])
def test_grouped_and_one_by_one_are_the_same(way, monkeypatch):
    ours, theirs = block(way=way, dtype=torch.float32)
    x = normal(3, 11, 32, dtype=torch.float32)
    results, grads = [], []
    for can in (True, False):
        monkeypatch.setattr(layer, "_can_group", lambda *_, can=can: can)
        ours.zero_grad()
        results.append(ours(x))
        results[-1].square().sum().backward()
        grads.append([p.grad.clone() for p in ours.parameters()])
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], theirs(x), atol=1e-5, rtol=1e-4)
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_a_layer_is_the_formula_token_by_token():
    for renormalise in (True, False):
        ours = moe.MoE(8, 16, n_expert=5, top_k=3, renormalise=renormalise).double()
        with torch.no_grad():
            for p in ours.parameters():
                p.copy_(normal(*p.shape, seed=p.ndim))
        x, rows = normal(7, 8, seed=9), []
        for token in x:
            p = (ours.gate.weight @ token).softmax(0)
            chosen = p.argsort(descending=True)[:3]
            g = p[chosen] / (p[chosen].sum() if renormalise else 1)
            experts = zip(ours.experts.gate_up_proj[chosen], ours.experts.down_proj[chosen], strict=True)
            rows.append(sum(w * moe.swiglu(token, up, down) for w, (up, down) in zip(g, experts, strict=True)))
        torch.testing.assert_close(ours(x), torch.stack(rows), atol=1e-10, rtol=0)


def test_a_renormalised_single_expert_teaches_the_router_nothing():
    for renormalise, learns in ((True, False), (False, True)):
        ours = moe.MoE(8, 16, n_expert=4, top_k=1, renormalise=renormalise).double()
        ours(normal(6, 8)).square().sum().backward()
        assert bool(ours.gate.weight.grad.abs().max() > 1e-14) == learns


def test_bad_input_to_the_layer():
    with pytest.raises(ValueError, match="top_k = 3 experts for each token, but there are 2"):
        moe.MoE(8, 16, n_expert=2, top_k=3)
    with pytest.raises(ValueError, match="top_k = 3 experts for each token, but there are 2"):
        moe.route(normal(4, 2), 3)
    ours = moe.MoE(8, 16, n_expert=2, top_k=1)
    with pytest.raises(ValueError, match="at least one token"):
        ours(torch.empty(0, 8))
    with pytest.raises(ValueError, match="tokens are 9 wide"):
        ours(torch.empty(1, 9))


# ---------------------------------------------------------------------------------------------- capacity


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 12), st.integers(0, 100))
def test_who_is_seated_is_who_transformers_seats(tokens, n_expert, capacity, seed):
    config = transformers.SwitchTransformersConfig(hidden_size=8, num_experts=n_expert, expert_capacity=capacity)
    router, x = switch.SwitchTransformersTop1Router(config).eval(), normal(1, tokens, 8, seed=seed, dtype=torch.float32)
    with torch.no_grad():
        seated, _, logits = router(x)
    ours = moe.limited(moe.route(logits[0], 1, renormalise=False), capacity)
    assert ours.kept[:, 0].equal(seated[0].sum(-1).bool())
    assert (ours.weights[~ours.kept] == 0).all()


def test_first_choices_are_seated_before_second_ones():
    logits = torch.tensor([[1.0, 2.0, -9.0], [2.0, 1.0, -9.0], [2.0, 1.0, -9.0]])
    kept = moe.limited(moe.route(logits, 2), capacity=2).kept
    assert kept.tolist() == [[True, False], [True, True], [True, False]]  # expert 0 is full before token 0's second


def test_dropped_tokens_get_nothing_and_full_capacity_changes_nothing():
    ours, x, routings = moe.MoE(8, 16, n_expert=4, top_k=1).double(), normal(20, 8), []
    limited = ours(x, routings, capacity=2)
    assert (limited[~routings[0].kept[:, 0]] == 0).all() and (limited[routings[0].kept[:, 0]] != 0).any()
    torch.testing.assert_close(ours(x, capacity=20), ours(x))
    assert moe.capacity_of(100, 8, 2, 1.25) == 32
    with pytest.raises(ValueError, match="drops them all"):
        ours(x, capacity=0)
    with pytest.raises(ValueError, match="leaves no room"):
        moe.capacity_of(10, 2, 1, 0.0)


# ------------------------------------------------------------------------------------------------ losses


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 50), st.integers(2, 9), st.data())
def test_the_losses_are_those_of_transformers(tokens, n_expert, data):
    k = data.draw(st.integers(1, n_expert))
    z = 2 * normal(tokens, n_expert, dtype=torch.float32)
    routing = moe.route(z, k)
    theirs = mixtral.load_balancing_loss_func((z,), n_expert, k)
    torch.testing.assert_close(k * moe.balancing_loss([routing]), theirs)
    torch.testing.assert_close(moe.z_loss([routing]), switch.router_z_loss_func(z[None]))
    if k == 1:
        theirs = switch.load_balancing_loss_func(routing.probabilities[None], routing.experts[None])
        torch.testing.assert_close(moe.balancing_loss([routing]), theirs)


def test_even_loads_cost_one_and_one_for_all_costs_the_number_of_experts():
    even = torch.eye(8) * 50
    assert moe.balancing_loss([moe.route(even, 1)]).item() == pytest.approx(1, abs=1e-5)
    one = torch.zeros(10, 8)
    one[:, 3] = 50.0
    assert moe.balancing_loss([moe.route(one, 1)]).item() == pytest.approx(8, abs=1e-5)
    assert moe.load(moe.route(one, 1)).tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_layers_are_not_pooled():
    one = torch.tensor([[8.0, -8.0]]).expand(32, 2)
    two = one.flip(1)
    assert moe.balancing_loss([moe.route(one, 1), moe.route(two, 1)]).item() == pytest.approx(2, abs=1e-3)
    with pytest.raises(ValueError, match="a dense model has no router"):
        moe.balancing_loss([])


# ---------------------------------------------------------------------------------------- specialisation


def test_token_types():
    said = {" red": "colour", " star": "shape", " Lena": "name", " the": "function word", ",": "punctuation"}
    said |= {" seven": "number", "ing": "inside a word", " marble": "other word", "\n\n": "punctuation"}
    said |= {"The": "function word", " Zzz": "other word"}
    assert {text: moe.TYPES[moe.token_type(text)] for text in said} == said


def test_information_of_sure_and_of_blind_experts():
    types = np.tile([0, 1, 2, 3], 50)
    assert moe.mutual_information(types, types) == pytest.approx(2.0)
    assert moe.mutual_information(types, np.repeat([0, 1], 100)) == pytest.approx(0.0)
    with pytest.raises(ValueError, match="one expert for each token"):
        moe.mutual_information([0, 1], [0])
    with pytest.raises(ValueError, match="at least one"):
        moe.mutual_information([], [])


def test_the_permutation_test_tells_types_from_words():
    dice = np.random.default_rng(0)
    ids, types = dice.integers(60, size=4000), np.arange(60) % 4
    by_type = moe.permutation_test(ids, types[ids], types, seed=0, n=200)
    assert by_type.p == pytest.approx(1 / 201) and by_type.value > 4 * by_type.chance
    places = dice.integers(8, size=60)  # each word to an expert of its own, whatever its type
    by_word = moe.permutation_test(ids, places[ids], types, seed=0, n=200)
    assert by_word.p > 0.02 and by_word.value < 2 * by_word.chance
    assert by_word.value == pytest.approx(moe.mutual_information(types[ids], places[ids]))


def test_the_permutation_test_is_honest():
    """Under chance, p is small as seldom as it says."""
    dice, small = np.random.default_rng(1), 0
    for seed in range(60):
        ids, types = dice.integers(40, size=600), dice.integers(4, size=40)
        experts = dice.integers(6, size=40)[ids]
        small += moe.permutation_test(ids, experts, types, seed=seed, n=99).p <= 0.1
    assert small <= 13

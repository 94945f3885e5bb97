"""Sampling against transformers' warpers, and generation with the cache against generation without."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from fmnotes.generation import generate, min_p, next_token_probabilities, one_more, stream, top_k, top_p
from fmnotes.gpt2 import GPT2, GPT2Config, KVCache

TINY = GPT2Config(vocab_size=97, context_length=64, d_model=32, n_layer=2, n_head=4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = GPT2(TINY).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def some_logits(seed, vocab=50, batch=3, tied=False):
    logits = 3 * torch.randn(batch, vocab, generator=torch.Generator().manual_seed(seed))
    return logits.round() if tied else logits


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 999),
    k=st.integers(1, 60),
    p=st.floats(0.01, 1.0),
    least=st.floats(0.0, 1.0),
    heat=st.floats(0.1, 3.0),
    tied=st.booleans(),
)
def test_warpers_equal_those_of_transformers(seed, k, p, least, heat, tied):
    logits = some_logits(seed, tied=tied)
    theirs = (TopKLogitsWarper(k), TopPLogitsWarper(p), MinPLogitsWarper(least))
    for ours, warper in zip((top_k(logits, k), top_p(logits, p), min_p(logits, least)), theirs, strict=True):
        assert torch.equal(ours, warper(None, logits)), warper
    chain = LogitsProcessorList([TemperatureLogitsWarper(heat), *theirs])
    expected = chain(None, logits).softmax(-1)
    assert torch.equal(next_token_probabilities(logits, heat, k, p, least), expected)


@pytest.mark.parametrize("p, kept", [(0.5, 2), (0.25, 1), (1e-9, 1), (1.0, 4)])
def test_top_p_at_its_borders(p, kept):
    logits = torch.zeros(1, 4)  # each has exactly a quarter
    assert top_p(logits, p).isfinite().sum() == kept
    assert torch.equal(top_p(logits, p), TopPLogitsWarper(p)(None, logits))


def test_temperature_zero_takes_the_most_likely():
    probabilities = next_token_probabilities(torch.tensor([[1.0, 4.0, 4.0, 0.0]]), temperature=0)
    assert probabilities.tolist() == [[0, 1, 0, 0]]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), length=st.integers(1, 20), heat=st.sampled_from([0, 0.7, 1.0]))
def test_with_the_cache_and_without_token_for_token(model, seed, length, heat):
    prompt = torch.randint(0, 97, (2, length), generator=torch.Generator().manual_seed(seed))
    options = {"temperature": heat, "top_k": 20, "seed": seed}
    a = generate(model, prompt, 40, **options)
    assert a.shape == (2, length + 40)
    assert torch.equal(a, generate(model, prompt, 40, use_cache=False, **options))


def test_greedy_equals_transformers(model):
    prompt = torch.randint(0, 97, (3, 7), generator=torch.Generator().manual_seed(0))
    theirs = model.to_transformers().generate(prompt, max_new_tokens=30, do_sample=False, pad_token_id=0)
    assert torch.equal(generate(model, prompt, 30, temperature=0), theirs)


def test_the_last_place_of_the_context_is_used(model):
    assert len(generate(model, [1, 2, 3], 61)) == 64


def test_draws_follow_the_distribution(model):
    """5,000 first tokens against their probabilities, by Pearson's chi-squared."""
    prompt, draws = torch.tensor([[5, 6]]), 5000
    expected = next_token_probabilities(model(prompt)[0, -1], temperature=2.0, top_k=10).detach() * draws
    tokens = generate(model, prompt.repeat(draws, 1), 1, temperature=2.0, top_k=10)[:, -1]
    seen = torch.bincount(tokens, minlength=97)
    kept = expected > 0
    assert seen[~kept].sum() == 0
    statistic = ((seen - expected)[kept] ** 2 / expected[kept]).sum().item()
    assert statistic < 9 + 5 * math.sqrt(2 * 9)  # nine degrees of freedom, five standard deviations


def test_same_seed_same_tokens(model):
    a, b, c = (generate(model, [1, 2], 30, temperature=3.0, seed=seed) for seed in (7, 7, 8))
    assert a == b != c
    state = torch.get_rng_state()
    generate(model, [1, 2], 3)
    assert torch.equal(state, torch.get_rng_state())


def test_stop_tokens(model):
    free = generate(model, [1, 2], 40, temperature=3.0)
    stop = free[20]
    assert generate(model, [1, 2], 40, temperature=3.0, stop=[stop]) == free[: free.index(stop, 2) + 1]


def test_a_batch_stops_when_all_have_stopped(model):
    prompt = torch.tensor([[1, 2], [3, 4], [5, 6]])
    stop = [10, 20, 30, 40, 50]
    free = generate(model, prompt, 60, temperature=3.0)
    stopped = generate(model, prompt, 60, temperature=3.0, stop=stop)
    ends = []
    for row, expected in zip(stopped.tolist(), free.tolist(), strict=True):
        end = next(i for i in range(2, len(row)) if row[i] in stop)
        assert row[: end + 1] == expected[: end + 1]
        assert set(row[end:]) == {row[end]}
        ends.append(end)
    assert stopped.shape[1] == max(ends) + 1
    assert len(set(ends)) > 1


def test_stream_yields_what_generate_returns(model):
    tokens = [token.item() for token in stream(model, [1, 2], 10)]
    assert [1, 2, *tokens] == generate(model, [1, 2], 10)
    assert list(stream(model, [1, 2], 0)) == []
    iterator = stream(model, [1, 2], 10)
    next(iterator)
    assert not torch.is_inference_mode_enabled()


def test_a_prefix_in_the_cache(model):
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    cache = KVCache(TINY, like=model.wte.weight)
    with torch.no_grad():
        model(inputs_embeds=model.wte(torch.tensor([ids[:5]])), cache=cache)
    assert generate(model, ids[5:], 20, cache=cache) == generate(model, ids, 20)[5:]


def test_bad_input(model):
    for prompt in ([], torch.empty(1, 0, dtype=torch.long), torch.tensor([1, 2])):
        with pytest.raises(ValueError, match="it needs at least one token"):
            generate(model, prompt, 5)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        generate(model, [97], 5)
    with pytest.raises(ValueError, match="a prompt of 4 and 61 new tokens do not fit .* 64: .* at most 60"):
        stream(model, [1, 2, 3, 4], 61)  # at once, not with the first token
    for options, message in (
        ({"temperature": -1}, "temperature must be 0"),
        ({"top_k": 0}, "top_k must be 1"),
        ({"top_p": 0.0}, "top_p must lie above 0"),
        ({"min_p": 1.5}, "min_p must lie between"),
    ):
        with pytest.raises(ValueError, match=message):
            stream(model, [1], 5, **options)
    with pytest.raises(ValueError, match="max_new_tokens must be 0 or more"):
        stream(model, [1], -1)
    with pytest.raises(ValueError, match="5 tokens in the cache, a prompt of 2 and 60 new"):
        cache = KVCache(TINY, like=model.wte.weight)
        with torch.no_grad():
            model(torch.ones(1, 5, dtype=torch.long), cache=cache)
        stream(model, [1, 2], 60, cache=cache)
    with pytest.raises(ValueError, match="input_ids hold 97, outside the vocabulary"):
        generate(model, [1, 97], 5, cache=cache)


def test_one_more_token_is_the_same_with_the_cache_and_without_however_often(model):
    ids = torch.randint(97, (1, 20), generator=torch.Generator().manual_seed(0))
    plain, cached = (one_more(model, ids, cached) for cached in (False, True))
    computed = []
    hook = model.ln_f.register_forward_hook(lambda *call: computed.append(call[-1].shape[1]))
    for _ in range(3):
        torch.testing.assert_close(cached(), plain(), atol=1e-12, rtol=0)
    hook.remove()
    assert plain().shape == (1, 97) and computed == [1, 20] * 3

"""GPT-2 against transformers' own, its counts against torch's, its loss against the plain one, its checkpoints."""

import json

import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from fmnotes.gpt2 import GPT2, IGNORE, GPT2Config, KVCache, causal_attention, linear_cross_entropy, token_losses
from fmnotes.gpt2.attention import _attention_in_blocks
from fmnotes.gpt2.model import linear

TINY = GPT2Config(vocab_size=97, context_length=32, d_model=32, n_layer=2, n_head=4)


def randomised(config=TINY, seed=0, dtype=torch.float64):
    """A model of which every parameter is random: fresh ones have biases of 0 and norms of 1, which hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT2(config).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=dtype))
    return model


def some_ids(*shape, vocab_size=97, seed=1):
    return torch.randint(0, vocab_size, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("config", [TINY, GPT2Config.mini(vocab_size=97), GPT2Config.nano()])
def test_parameters_by_formula(config):
    assert config.n_parameters == sum(p.numel() for p in GPT2(config).parameters())


def test_the_number_of_parameters_of_the_two_shapes():
    assert sum(p.numel() for p in GPT2(GPT2Config.mini()).parameters()) == GPT2Config.mini().n_parameters == 22_605_568
    assert GPT2Config.nano().n_parameters == 420_416


@pytest.mark.parametrize("batch, length", [(1, 1), (2, 7), (3, 32)])
def test_flops_by_formula(batch, length):
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        GPT2(TINY)(some_ids(batch, length))
    assert counter.get_total_flops() == TINY.flops_per_token(length) * batch * length


def test_flops_of_a_training_step():
    model, ids = GPT2(TINY), some_ids(2, 32)
    counter = FlopCounterMode(display=False)
    with counter:
        F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    again = 2 * 32 * TINY.d_model * TINY.n_layer  # the fused kernel computes the scores anew in its backward pass
    assert counter.get_total_flops() == (3 * TINY.flops_per_token(32) + again) * 2 * 32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains_on_the_gradient_of_float32(dtype):
    """In bfloat16 through attention in blocks, which nothing else takes on a CPU."""
    ids = some_ids(2, 33)
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = GPT2(TINY)
        with torch.autocast("cpu", dtype, enabled=enabled):
            model.loss(ids[:, :-1], ids[:, 1:]).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert (gradients[1] - gradients[0]).norm() < 0.02 * gradients[0].norm()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_logits_equal_those_of_transformers(attention):
    model = randomised()
    theirs = model.to_transformers()
    theirs.set_attn_implementation(attention)
    ids = some_ids(3, 32)
    torch.testing.assert_close(model(ids), theirs(ids).logits, rtol=0, atol=1e-10)


def test_loss_and_gradients_equal_those_of_transformers():
    model = randomised()
    theirs = model.to_transformers()
    ids = some_ids(2, 17)
    loss = model.loss(ids[:, :-1], ids[:, 1:])
    expected = F.cross_entropy(theirs(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    gradients = {name: p.grad for name, p in theirs.named_parameters()}
    for name, parameter in model.named_parameters():
        gradient = gradients[f"transformer.{name}"]
        transposed = "c_" in name and parameter.ndim == 2  # their Conv1D
        torch.testing.assert_close(parameter.grad, gradient.T if transposed else gradient, rtol=0, atol=1e-10, msg=name)


def test_initialisation():
    torch.manual_seed(0)
    model = GPT2(GPT2Config.mini(vocab_size=1000))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            std = 0.02 / 24**0.5 if "c_proj" in name else 0.02
            assert parameter.std().item() == pytest.approx(std, rel=0.02), name
        else:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name


@settings(deadline=None, max_examples=30)
@given(new=st.integers(1, 9), past=st.integers(0, 9), seed=st.integers(0, 99))
def test_causal_attention_equals_the_loop(new, past, seed):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(2, 3, new, 4, generator=generator, dtype=torch.float64)
    k, v = torch.randn(2, 2, 3, past + new, 4, generator=generator, dtype=torch.float64)
    expected = torch.empty_like(q)
    for t in range(new):
        seen = past + t + 1
        weights = torch.einsum("bhd,bhsd->bhs", q[:, :, t], k[:, :, :seen]).div(2.0).softmax(-1)
        expected[:, :, t] = torch.einsum("bhs,bhsd->bhd", weights, v[:, :, :seen])
    torch.testing.assert_close(causal_attention(q, k, v), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("length", [1, 128, 129, 300, 513])
def test_attention_in_blocks_equals_the_fused_kernel(length):
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, length, 8, generator=generator, dtype=torch.float64).requires_grad_()
    ours = _attention_in_blocks(q, k, v)
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    direction = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad(x, (q, k, v), direction) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(cuts=st.lists(st.integers(1, 31), max_size=4, unique=True), seed=st.integers(0, 99))
def test_the_cache_in_any_portions_equals_one_pass(cuts, seed):
    model, ids = randomised(seed=seed), some_ids(2, 32, seed=seed)
    cache = KVCache(TINY, batch=2, like=model.wte.weight)
    with torch.no_grad():
        portions = [model(part, cache=cache) for part in ids.tensor_split(sorted(cuts), dim=1)]
        torch.testing.assert_close(torch.cat(portions, dim=1), model(ids), rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("out", [8, 96, 97])  # in quarters, and where four parts are not to be had
@pytest.mark.parametrize("biased", [True, False])
def test_one_row_on_all_cores_equals_the_plain_product(out, biased, monkeypatch):
    generator = torch.Generator().manual_seed(out)
    weight = 0.2 * torch.randn(out, 32, generator=generator)
    bias = torch.randn(out, generator=generator) if biased else None
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    for shape in [(32,), (1, 32), (1, 1, 32), (2, 32)]:
        x = torch.randn(shape, generator=generator)
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_cache_token_by_token_in_float32(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model, ids, cache = randomised(dtype=torch.float32), some_ids(1, 32), KVCache(TINY)
    logits = torch.cat([model(ids[:, i : i + 1], cache=cache) for i in range(32)], dim=1)
    torch.testing.assert_close(logits, model(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bytes_of_the_cache_by_formula(dtype):
    cache = KVCache(TINY, room=20, batch=3, like=torch.empty(0, dtype=dtype))
    assert cache.nbytes == TINY.kv_cache_bytes(20, batch=3, dtype=dtype)
    assert GPT2Config.mini().kv_cache_bytes(1024) == 2 * 12 * 1024 * 256 * 4


def test_embeddings_in_the_place_of_ids():
    model, ids = randomised(), some_ids(2, 9)
    torch.testing.assert_close(model(inputs_embeds=model.wte(ids)), model(ids), rtol=0, atol=0)
    a = model.loss(None, ids, inputs_embeds=model.wte(ids))
    assert a.item() == model.loss(ids, ids).item()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(2, 400), stride=st.integers(1, 32))
def test_token_losses_equal_the_loop_over_windows(n, stride):
    model, ids = randomised(), some_ids(n, seed=n)
    expected, start = [], 0
    with torch.no_grad():
        while len(expected) < n - 1:
            window = ids[start : start + 33]
            nats = F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none")
            expected += nats[len(expected) - start :]
            start += stride
    losses = token_losses(model, ids, stride)
    torch.testing.assert_close(losses, torch.stack(expected), rtol=0, atol=1e-10)
    if stride == 32:
        assert torch.equal(losses, token_losses(model, ids))


def test_token_losses_of_half_precision_are_summed_in_float32():
    model = randomised(dtype=torch.bfloat16)
    assert token_losses(model, some_ids(50)).dtype == torch.float32


def test_token_losses_refuse_bad_input():
    model = randomised()
    for ids in (some_ids(1), some_ids(2, 5)):
        with pytest.raises(ValueError, match="one row of at least 2 tokens"):
            token_losses(model, ids)
    for stride in (0, 33):
        with pytest.raises(ValueError, match=f"between 1 and the context_length of 32, not at {stride}"):
            token_losses(model, some_ids(50), stride)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        token_losses(model, torch.tensor([1, 2, 97, 3]))


@pytest.mark.parametrize("tokens", [1, 255, 600])
@pytest.mark.parametrize("weighted", [False, True])
def test_linear_cross_entropy_equals_the_plain_one(tokens, weighted):
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(31, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 31, (tokens,), generator=generator)
    targets[1::3] = IGNORE
    counts = torch.rand(tokens, generator=generator, dtype=torch.float64) if weighted else torch.ones(tokens)
    each = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    expected = (each * counts).sum() / (counts * (targets != IGNORE)).sum()
    ours = linear_cross_entropy(hidden, weight, targets, counts if weighted else None)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad(3 * x, (hidden, weight)) for x in (ours, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    with torch.no_grad():
        assert linear_cross_entropy(hidden, weight, targets, counts if weighted else None).item() == ours.item()


def test_a_frozen_head_passes_the_gradient_on_and_takes_none():
    g = torch.Generator().manual_seed(3)
    hidden = torch.randn(300, 16, generator=g, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(40, 16, generator=g, dtype=torch.float64)
    targets = torch.randint(0, 40, (300,), generator=g)
    (ours,) = torch.autograd.grad(linear_cross_entropy(hidden, weight, targets), hidden)
    (plain,) = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), hidden)
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)
    weight.requires_grad_()
    linear_cross_entropy(hidden, weight, targets).backward()
    assert weight.grad is not None


def test_linear_cross_entropy_under_autocast():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(300, 64, generator=generator, requires_grad=True)
    weight = (0.1 * torch.randn(50, 64, generator=generator)).requires_grad_()
    targets = torch.randint(0, 50, (300,), generator=generator)
    exact = torch.autograd.grad(F.cross_entropy(hidden @ weight.T, targets), (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets)
    assert loss.dtype == torch.float32
    for gradient, x, expected in zip(torch.autograd.grad(loss, (hidden, weight)), (hidden, weight), exact, strict=True):
        assert gradient.dtype == x.dtype
        assert (gradient - expected).norm() < 0.01 * expected.norm()


def test_training_overfits_a_sentence_in_bfloat16():
    torch.manual_seed(0)
    model, ids = GPT2(TINY), some_ids(2, 33)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 0.05


def test_round_trip_through_a_folder(tmp_path):
    model, ids = randomised(dtype=torch.float32), some_ids(2, 9)
    model.save_pretrained(tmp_path, end_token_id=3)
    again = GPT2.from_pretrained(tmp_path)
    assert again.config == TINY
    assert all(parameter.requires_grad for parameter in again.parameters())
    torch.testing.assert_close(again(ids), model(ids), rtol=0, atol=0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(theirs, transformers.GPT2LMHeadModel)
    assert theirs.config.eos_token_id == 3
    torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=0, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    torch.testing.assert_close(GPT2.from_pretrained(tmp_path / "theirs")(ids), model(ids), rtol=0, atol=0)
    torch.testing.assert_close(GPT2.from_transformers(theirs)(ids), model(ids), rtol=0, atol=0)


def test_half_precision_files_open_in_float32(tmp_path):
    model = randomised(dtype=torch.float32)
    model.save_pretrained(tmp_path, dtype=torch.float16)
    assert (tmp_path / "model.safetensors").stat().st_size < 2 * TINY.n_parameters + 10_000
    for (name, a), b in zip(GPT2.from_pretrained(tmp_path).named_parameters(), model.parameters(), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a, b.half().float(), rtol=0, atol=0, msg=name)


def test_published_weights_by_hub_id(tmp_path, monkeypatch):
    """The layout of the files on the hub: no prefix, and causal masks among the tensors."""
    from safetensors.torch import load_file, save_file

    model, ids = randomised(dtype=torch.float32), some_ids(1, 5)
    folder = tmp_path / "owner" / "small-gpt2"
    model.save_pretrained(folder)
    state = {name.removeprefix("transformer."): t for name, t in load_file(folder / "model.safetensors").items()}
    state |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 32, 32) for layer in range(2)}
    save_file(state, folder / "model.safetensors")
    monkeypatch.setenv("FMNOTES_MIRROR", str(tmp_path))
    torch.testing.assert_close(GPT2.from_pretrained("owner/small-gpt2")(ids), model(ids), rtol=0, atol=0)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="owner/nothing"):
        GPT2.from_pretrained("owner/nothing")


def test_bad_sizes():
    with pytest.raises(ValueError, match="d_model = 30 must be a multiple of n_head = 4"):
        GPT2Config(97, 32, 30, 2, 4)
    with pytest.raises(ValueError, match="n_layer must be a positive whole number, not 0"):
        GPT2Config(97, 32, 32, 0, 4)


def test_bad_input():
    model = GPT2(TINY)
    with pytest.raises(ValueError, match="33 tokens do not fit a context_length of 32"):
        model(some_ids(1, 33))
    with pytest.raises(ValueError, match="input_ids hold 97, outside the vocabulary of 97 tokens"):
        model(torch.tensor([[3, 97]]))
    with pytest.raises(ValueError, match="input_ids hold -1, outside"):
        model(torch.tensor([[3, -1]]))
    cache = KVCache(TINY)
    with torch.no_grad():
        model(some_ids(1, 5), cache=cache)
        for wrong in (torch.tensor([[97]]), torch.tensor([[3, -1]])):
            with pytest.raises(ValueError, match="input_ids hold (97|-1), outside the vocabulary of 97 tokens"):
                model(wrong, cache=cache)
    assert cache.length == 5
    with pytest.raises(ValueError, match="targets hold 97, outside"):
        model.loss(some_ids(1, 2), torch.tensor([[IGNORE, 97]]))
    with pytest.raises(ValueError, match="targets hold -7, outside"):
        model.loss(some_ids(1, 2), torch.tensor([[IGNORE, -7]]))
    with pytest.raises(ValueError, match=r"targets have the shape \(1, 3\), the input \(1, 2\)"):
        model.loss(some_ids(1, 2), some_ids(1, 3))
    with pytest.raises(ValueError, match="no target counts: all 2"):
        model.loss(some_ids(1, 2), torch.full((1, 2), IGNORE))
    with pytest.raises(TypeError, match="input_ids must be whole numbers, not torch.float32"):
        model(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="input_ids are empty"):
        model(some_ids(1, 0))
    with pytest.raises(ValueError, match="give input_ids or inputs_embeds"):
        model()
    with pytest.raises(ValueError, match="9 tokens do not fit a cache with room for 8"), torch.no_grad():
        model(some_ids(1, 9), cache=KVCache(TINY, room=8))
    with pytest.raises(ValueError, match="made for 2 sequences at a time, not 1"), torch.no_grad():
        model(some_ids(1, 9), cache=KVCache(TINY, batch=2))


def test_checkpoints_of_another_config(tmp_path):
    GPT2(TINY).save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    good = json.loads(file.read_text())
    for change, message in (
        ({"n_embd": 64}, r"has the shape \(32,\), its config calls for \(64,\)|\(96,\), its config calls for \(192,\)"),
        ({"n_layer": 3}, r"lacks h\.2\."),
        ({"n_layer": 1}, r"has h\.1\..* which its config does not call for"),
        ({"model_type": "llama"}, "model_type = 'gpt2' only, the checkpoint has 'llama'"),
        ({"activation_function": "relu"}, "activation_function = 'gelu_new' only, the checkpoint has 'relu'"),
    ):
        file.write_text(json.dumps(good | change))
        with pytest.raises(ValueError, match=message):
            GPT2.from_pretrained(tmp_path)
    del good["n_embd"]
    file.write_text(json.dumps(good))
    with pytest.raises(ValueError, match="has no n_embd"):
        GPT2.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        GPT2.from_pretrained(tmp_path)

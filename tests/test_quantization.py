import copy

import bitsandbytes as bnb
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model

from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.lora import GPT2_MAPS
from fmnotes.quantization import (
    CODES,
    QuantLinear,
    bits_per_number,
    dequantise,
    dynamic,
    fp4,
    memory,
    nf4,
    paging,
    quantise,
    quantise_model,
    weight_bytes,
)

SHAPES = [(64, 64), (5, 13), (300, 7), (1, 1), (1024, 256)]
MIB = paging.MIB


def weights(shape, seed=0):
    return 0.02 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_code_books_are_those_of_bitsandbytes():
    for name, book in {"nf4": nf4(), "fp4": fp4()}.items():
        assert torch.equal(book, bnb.functional.get_4bit_type(name, "cpu"))
    assert torch.equal(dynamic(), bnb.functional.create_dynamic_map())


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("name", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [64, 128])
def test_codes_and_constants_are_those_of_bitsandbytes_to_the_bit(shape, name, double, block):
    w = weights(shape)
    q = quantise(w, name, block, double)
    row = w.reshape(1, -1)  # as one row: on processors with AVX-512 it reads rows shorter than a block wrongly (0.50.2)
    codes, state = bnb.functional.quantize_4bit(row, blocksize=block, quant_type=name, compress_statistics=double)
    assert torch.equal(q.codes, codes.flatten())
    if double and w.numel() > block:  # a single maximum is its own mean, and 0 / 0 has no code
        assert torch.equal(q.absmax.codes, state.absmax)
        assert torch.equal(q.absmax.absmax, state.state2.absmax)
        assert torch.equal(q.offset, state.offset)
    elif not double:
        assert torch.equal(q.absmax, state.absmax)
    assert torch.equal(dequantise(q).reshape(1, -1), bnb.functional.dequantize_4bit(codes, state))


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(list(CODES)), st.integers(1, 300), st.integers(1, 100), st.integers(0, 10**6))
def test_no_code_is_nearer_than_the_one_that_is_taken(name, n, block, seed):
    w = weights((n,), seed)
    q = quantise(w, name, block)
    back, largest = dequantise(q), q.absmax.repeat_interleave(block)[:n]
    nearest = (w[:, None] - CODES[name]() * largest[:, None]).abs().amin(1)
    slack = 2e-5 if name == "dynamic" else 1e-6  # its table has 65,536 places
    assert ((back - w).abs() <= nearest + slack * largest).all()
    assert back.shape == w.shape


def test_what_is_zero_stays_zero_and_so_does_a_block_of_zeros():
    w = weights((4, 64))
    w[1], w[2, 5] = 0.0, 0.0
    for name in CODES.keys() - {"dynamic"}:  # whose table has an even number of places: none is the middle
        back = dequantise(quantise(w, name))
        assert (back[1] == 0).all() and back[2, 5] == 0 and back.isfinite().all()


def test_bits_are_as_many_as_the_formula_says():
    w = weights((1024, 1024))
    for double in (False, True):
        counted = 8 * quantise(w, "nf4", double=double).nbytes / w.numel()
        assert counted == pytest.approx(bits_per_number(double=double), abs=1e-3)
    assert bits_per_number(double=True) == pytest.approx(4.127, abs=1e-3)


def test_nf4_is_the_best_of_the_four_bit_codes_for_a_bell():
    w = weights((512, 512))
    errors = {name: (dequantise(quantise(w, name)) - w).norm().item() for name in ("nf4", "int4", "fp4", "int8")}
    assert errors["int8"] < errors["nf4"] < errors["int4"] < errors["fp4"] < 0.2 * w.norm()


@pytest.mark.parametrize(
    ("w", "options", "message"),
    [
        (torch.tensor([1.0, float("nan")]), {}, "1 of 2 numbers are NaN or infinite"),
        (torch.tensor([1.0, float("inf"), 0.0]), {}, "1 of 3 numbers are NaN or infinite"),
        (torch.empty(0, 4), {}, "nothing to quantise"),
        (torch.ones(4), {"name": "nf3"}, "no code 'nf3', but nf4"),
        (torch.ones(4), {"block": 0}, "a block of 0 holds nothing"),
    ],
)
def test_what_cannot_be_quantised_is_refused(w, options, message):
    with pytest.raises(ValueError, match=message):
        quantise(w, **options)


def test_a_layer_computes_with_the_weight_of_its_codes_and_passes_the_gradient_on():
    torch.manual_seed(0)
    linear = torch.nn.Linear(48, 32)
    layer, plain = QuantLinear(linear), torch.nn.Linear(48, 32)
    plain.load_state_dict({"weight": layer.weight, "bias": linear.bias.detach()})
    x = [torch.randn(2, 5, 48).requires_grad_() for _ in range(1)]
    x.append(x[0].detach().clone().requires_grad_())
    outs = [m(v) for m, v in zip((layer, plain), x, strict=True)]
    assert torch.equal(*outs)
    for out in outs:
        (out**2).sum().backward()
    assert torch.allclose(x[0].grad, x[1].grad, atol=1e-6)
    assert not [p for p in layer.parameters() if p.requires_grad]


def test_a_layer_keeps_no_weight_for_the_backward_pass():
    layer, kept = QuantLinear(torch.nn.Linear(64, 64)), []
    x = torch.randn(2, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        layer(x)
    assert sum(kept) == 0


def test_a_layer_is_that_of_bitsandbytes():
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(64, 128), torch.randn(3, 64)
    theirs = bnb.nn.Linear4bit(64, 128, compute_dtype=torch.float32, quant_type="nf4")
    theirs.load_state_dict(linear.state_dict())
    theirs = theirs.to("cpu")
    assert torch.allclose(QuantLinear(linear)(x), theirs(x), atol=1e-4)


def test_a_model_shrinks_and_says_nearly_the_same():
    torch.manual_seed(0)
    model = GPT2(GPT2Config(97, 16, d_model=64, n_layer=2, n_head=2))
    small = quantise_model(copy.deepcopy(model), GPT2_MAPS)
    ids = torch.randint(97, (2, 16))
    assert weight_bytes(small) < 0.4 * weight_bytes(model)
    assert 0 < (small(ids) - model(ids)).abs().max() < 0.2
    with pytest.raises(ValueError, match="no linear layer is called 'q_proj'"):
        quantise_model(model, ["q_proj"])


# ------------------------------------------------------------------------------------------------- memory


def saved(model, run):
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    seen = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: seen.setdefault(t.untyped_storage().data_ptr(), t) is None or t, lambda t: t
    ):
        run()
    return sum(t.untyped_storage().nbytes() for at, t in seen.items() if at not in own)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_forecast_is_right_to_five_per_cent(method, number, checkpointing):
    shape = memory.Decoder(500, 96, 2, 6, 3, 200)
    config = transformers.LlamaConfig(
        vocab_size=500,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=3,
        intermediate_size=200,
        use_cache=False,
    )
    assert memory.Decoder.of(config) == shape
    model = transformers.LlamaForCausalLM(config).to({2: torch.bfloat16, 4: torch.float32}[number])
    if method == "lora":
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    ids = torch.randint(500, (3, 40))
    kept = saved(model, lambda: model(input_ids=ids, labels=ids))
    assert memory.saved_bytes(shape, method, 3, 40, 4, number, checkpointing) == pytest.approx(kept, rel=0.05)

    model(input_ids=ids, labels=ids).loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    optimizer.step()
    said = memory.forecast(shape, method, 3, 40, 4, number, checkpointing)
    assert said["weights"] + said["updates"] == sum(p.nbytes for p in model.parameters())
    assert said["gradients"] == sum(p.grad.nbytes for p in trained)
    assert said["optimizer"] == sum(v.nbytes for s in optimizer.state.values() for v in s.values() if v.ndim)


def test_quantised_weights_and_constants_are_forecast_to_the_byte():
    shape = memory.Decoder(100, 64, 2, 4, 2, 160)
    coded = [quantise(weights((out, into)), double=True) for out, into in shape.maps for _ in range(shape.n_layer)]
    said = memory.forecast(shape, "qlora", 1, 8)
    assert said["weights"] - 2 * shape.others == sum(q.codes.nbytes for q in coded)
    assert said["constants"] == sum(q.nbytes - q.codes.nbytes for q in coded)


@pytest.mark.parametrize("name", list(memory.PUBLISHED))
def test_published_shapes_have_the_parameters_of_transformers(name):
    kinds = {"LLaMA-2-7B": "LlamaConfig", "Mistral-7B": "MistralConfig", "Qwen2.5-14B": "Qwen2Config"}
    shape = memory.PUBLISHED[name]
    config = getattr(transformers, kinds[name])(
        vocab_size=shape.vocab,
        hidden_size=shape.d_model,
        num_hidden_layers=shape.n_layer,
        num_attention_heads=shape.n_head,
        num_key_value_heads=shape.n_kv,
        intermediate_size=shape.d_ff,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert memory.Decoder.of(config) == shape
    assert shape.linear + shape.others == sum(p.numel() for p in model.parameters())


def test_what_cannot_be_forecast_is_refused():
    shape = memory.PUBLISHED["LLaMA-2-7B"]
    with pytest.raises(ValueError, match="no method 'magic', but full, lora, qlora"):
        memory.forecast(shape, "magic", 1, 1)
    with pytest.raises(ValueError, match="must be 1 or more"):
        memory.forecast(shape, "lora", 0, 128)
    with pytest.raises(ValueError, match="do not divide"):
        memory.Decoder(10, 64, 1, 4, 3, 8)
    with pytest.raises(ValueError, match="not 'gpt2'"):
        memory.Decoder.of(transformers.GPT2Config())


# ------------------------------------------------------------------------------------------------- paging


def test_pages_leave_for_a_spike_and_come_back_with_the_next_step():
    steps = paging.simulate(100 * MIB, 40 * MIB, 30 * MIB, [n * MIB for n in (20, 20, 50, 20)], page=2 * MIB)
    assert [(s.out // MIB, s.back // MIB) for s in steps] == [(0, 30), (0, 0), (20, 20), (0, 0)]
    assert all(s.peak <= 100 * MIB for s in steps)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 40), st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_memory_is_never_exceeded_and_nothing_moves_where_all_fits(state, needs):
    steps = paging.simulate(100, 50, state, needs, page=1)
    assert all(step.peak <= 100 and 0 <= step.out <= step.back + state for step in steps)
    if max(needs) + state <= 50:
        assert sum(step.out for step in steps) == 0 and sum(step.back for step in steps) == state


def test_a_spike_that_cannot_fit_is_refused():
    with pytest.raises(ValueError, match="step 1 needs 110 bytes without any optimizer state"):
        paging.simulate(100, 50, 10, [10, 60], page=1)


def test_paged_adamw_is_adamw_to_the_bit():
    torch.manual_seed(0)
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in ((64, 48), (48,))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in mine]
    paged, plain = paging.PagedAdamW(mine, lr=0.01), torch.optim.AdamW(theirs, lr=0.01)
    for _ in range(5):
        for p, q in zip(mine, theirs, strict=True):
            p.grad = q.grad = torch.randn_like(p)
        paged.step()
        plain.step()
        paged.evict()
    assert all(torch.equal(p, q) for p, q in zip(mine, theirs, strict=True))
    with pytest.raises(ValueError, match="no parameters"):
        paging.PagedAdamW([], lr=0.1)


def test_what_is_evicted_is_not_resident():
    p = torch.nn.Parameter(torch.zeros(512, 512))
    paged = paging.PagedAdamW([p], lr=0.1)
    p.grad = torch.ones_like(p)
    paged.step()
    before = paged.resident()
    paged.evict()
    assert before >= paged.nbytes and paged.resident() == 0

"""Paged attention, serving, speculation and int8 against a contiguous cache, transformers, formulas and enumeration."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnotes import generation
from fmnotes.exercises import find
from fmnotes.gpt2 import GPT2, GPT2Config, KVCache
from fmnotes.kv_cache import (
    BlockAllocator,
    BlockTables,
    LookupDraft,
    ModelDraft,
    OutOfBlocks,
    PagedKVCache,
    Request,
    StepCost,
    allocation,
    batching,
    forward,
    greedy,
    int8,
    kv_bytes,
    paged_attention,
    pass_cost,
    quantize,
    roofline,
    serve,
    speculate,
    speculative,
    with_int8_weights,
)

CONFIG = GPT2Config(vocab_size=61, context_length=64, d_model=24, n_layer=3, n_head=4)


def randomised(config: GPT2Config, seed: int = 0, scale: float = 0.3) -> GPT2:
    """All parameters are random, in float64: biases of 0 and gains of 1 would hide bugs."""
    torch.manual_seed(seed)
    model = GPT2(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn_like(parameter) + (0.1 if parameter.ndim == 1 else 0))
    return model


@pytest.fixture(scope="module")
def model() -> GPT2:
    return randomised(CONFIG)


def paged(model: GPT2, n_blocks: int = 40, block_size: int = 4, **options) -> PagedKVCache:
    return PagedKVCache(model.config, n_blocks, block_size, like=model.wte.weight, **options)


def alone(model: GPT2, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids]))[0]


def ids(n: int, seed: int = 0) -> list[int]:
    return torch.randint(CONFIG.vocab_size, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


# ------------------------------------------------------------------------------------------------- block tables


class Tables:
    """Hypothesis drives block tables beside a plain dictionary of lists."""

    def __init__(self, n_blocks, block_size, prefix):
        self.tables, self.texts, self.n_blocks = BlockTables(n_blocks, block_size, None, prefix), {}, n_blocks
        self.memory = {}  # slot → token: what was written there

    def write(self, name, start):
        for i, slot in zip(range(start, len(self.texts[name])), self.tables.slots(name, start), strict=True):
            self.memory[slot] = tuple(self.texts[name][: i + 1])  # as keys do, it depends on all before it

    def extend(self, name, tokens):
        size, before = self.tables.block_size, self.tables.n_free
        try:
            copies = self.tables.extend(name, tokens)
        except OutOfBlocks:
            assert self.tables.n_free == before
            assert self.tables.length(name) == len(self.texts[name])
            return
        for source, target in copies:
            for i in range(size):
                self.memory[target * size + i] = self.memory.get(source * size + i)
        start = len(self.texts[name])
        self.texts[name] = self.texts[name] + list(tokens)
        self.write(name, start)

    def holds(self):
        users = [0] * self.n_blocks
        for name, text in self.texts.items():
            assert [self.memory[slot] for slot in self.tables.slots(name)] == [
                tuple(text[: i + 1]) for i in range(len(text))
            ]
            table = self.tables.table(name)
            assert len(table) == -(-len(text) // self.tables.block_size) == len(set(table))
            for block in table:
                users[block] += 1
        assert users == self.tables.allocator.users
        assert self.tables.n_free == users.count(0)


@settings(deadline=None, max_examples=150)
@given(st.data(), st.integers(1, 12), st.integers(1, 4), st.booleans())
def test_whatever_happens_every_sequence_finds_its_own_tokens(data, n_blocks, block_size, prefix):
    world, names = Tables(n_blocks, block_size, prefix), iter(range(10_000))
    for _ in range(data.draw(st.integers(1, 25))):
        texts = world.texts
        what = data.draw(st.sampled_from(["start", "extend", "fork", "truncate", "free"] if texts else ["start"]))
        name = next(names) if what == "start" else data.draw(st.sampled_from(sorted(texts)))
        if what == "start":
            prompt = data.draw(st.lists(st.integers(0, 1), min_size=1, max_size=12))
            cached = world.tables.start(name, prompt)
            assert cached < len(prompt)
            assert cached % block_size == 0
            assert prefix or cached == 0
            texts[name] = prompt[:cached]
            world.extend(name, prompt[cached:])
        elif what == "extend":
            world.extend(name, data.draw(st.lists(st.integers(0, 1), max_size=6)))
        elif what == "fork":
            new = next(names)
            world.tables.fork(name, new)
            texts[new] = list(texts[name])
        elif what == "truncate":
            length = data.draw(st.integers(0, len(texts[name])))
            world.tables.truncate(name, length)
            texts[name] = texts[name][:length]
        else:
            world.tables.free(name)
            del texts[name]
        world.holds()
    for name in list(world.texts):
        world.tables.free(name)
    assert world.tables.n_free == n_blocks


def test_copy_on_write_copies_once_and_the_last_writer_not_at_all():
    tables = BlockTables(10, 4)
    tables.start("a")
    tables.extend("a", range(6))
    tables.fork("a", "b")
    tables.fork("a", "c")
    assert tables.blocks_needed(dict.fromkeys("abc", 1)) == 2
    shared = tables.table("a")[1]
    for name in "ab":
        ((source, _),) = tables.extend(name, [9])
        assert source == shared
    assert tables.extend("c", [9]) == []
    assert tables.table("c")[1] == shared
    assert len({tables.table(name)[0] for name in "abc"}) == 1
    assert tables.tokens_held == 4 + 3 * 3
    assert tables.slots_held == 4 * 4


def test_the_blocks_of_the_exercise_are_what_happens():
    tables = BlockTables(99, 16)
    tables.start(0)
    tables.extend(0, range(37))
    for name in range(1, 5):
        tables.fork(0, name)
    for _ in range(20):
        for name in range(5):
            tables.extend(name, [name])
    assert 99 - tables.n_free == find("g22.shared").solution


def test_a_full_block_is_shared_without_a_copy():
    tables = BlockTables(10, 4)
    tables.start("a")
    tables.extend("a", range(8))
    tables.fork("a", "b")
    assert tables.extend("a", [1]) == tables.extend("b", [1]) == []
    assert tables.table("a")[:2] == tables.table("b")[:2]


def test_prefixes_are_found_until_their_blocks_are_needed():
    tables = BlockTables(4, 4, prefix_caching=True)
    prompt = list(range(10))
    assert tables.start("a", prompt) == 0
    tables.extend("a", prompt)
    tables.free("a")
    assert tables.n_free == 4
    assert tables.start("b", prompt) == 8
    assert tables.start("c", prompt[:8]) == 4, "of the last token the logits are needed"
    assert tables.start("d", [99, *prompt[1:]]) == 0, "keys depend on all before them"
    for name in "bcd":
        tables.free(name)
    tables.start("e")
    tables.extend("e", [7] * 16)
    tables.free("e")
    assert tables.start("f", prompt) == 0


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (lambda t: t.extend("a", range(13)), OutOfBlocks, "3 more blocks are needed, and 2 of 4 are free"),
        (lambda t: t.extend("a", range(25)), ValueError, "its block table ends at 30"),
        (lambda t: t.extend("x", [1]), ValueError, "there is no sequence 'x'"),
        (lambda t: t.start("a"), ValueError, "has begun already"),
        (lambda t: t.fork("a", "a"), ValueError, "has begun already"),
        (lambda t: t.truncate("a", 9), ValueError, "cannot be cut to 9"),
        (lambda t: t.allocator.release(3), ValueError, "released twice"),
        (lambda t: [t.allocator.allocate() for _ in range(3)], OutOfBlocks, "all 4 blocks are in use"),
    ],
)
def test_block_tables_complain(bad, error, message):
    tables = BlockTables(4, 4, max_length=30)
    tables.start("a")
    tables.extend("a", range(6))
    with pytest.raises(error, match=message):
        bad(tables)
    assert (tables.length("a"), len(tables.table("a"))) == (6, 2)


def test_a_pool_and_a_block_hold_something():
    with pytest.raises(ValueError, match="at least one block, not 0"):
        BlockAllocator(0)
    with pytest.raises(ValueError, match="block_size must be 1 or more"):
        BlockTables(3, 0)


# ---------------------------------------------------------------------------------------------- paged attention


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("new", [1, 3])
def test_paged_attention_is_attention_also_with_grouped_heads(kv_heads, new):
    g = torch.Generator().manual_seed(0)
    lengths, d = [3, 7, 5], 8
    q = torch.randn(3, new, 4, d, generator=g, dtype=torch.float64)
    k, v = torch.randn(2, 3, 9, kv_heads, d, generator=g, dtype=torch.float64)
    got = paged_attention(q, k, v, torch.tensor(lengths))
    for i, n in enumerate(lengths):
        one_k, one_v = (x[i, :n].transpose(0, 1).repeat_interleave(4 // kv_heads, 0) for x in (k, v))
        mask = torch.ones(new, n, dtype=torch.bool).tril(n - new)
        expected = F.scaled_dot_product_attention(q[i].transpose(0, 1), one_k, one_v, attn_mask=mask)
        assert (got[i].transpose(0, 1) - expected).abs().max() < 1e-12


@settings(deadline=None, max_examples=25)
@given(st.data(), st.integers(1, 9))
def test_logits_through_block_tables_are_those_of_the_whole_text(data, block_size):
    model = randomised(CONFIG)
    cache = paged(model, 128, block_size)
    texts = [ids(data.draw(st.integers(1, 30)), seed) for seed in range(data.draw(st.integers(1, 4)))]
    got = {i: [] for i in range(len(texts))}
    for i in got:
        cache.start(i)
    left = dict(enumerate(texts))
    while left:
        new = {i: text[: data.draw(st.integers(1, len(text)))] for i, text in left.items()}
        for i, logits in forward(model, cache, new).items():
            got[i].append(logits)
        left = {i: text[len(new[i]) :] for i, text in left.items() if len(new[i]) < len(text)}
    for i, text in enumerate(texts):
        assert (torch.cat(got[i]) - alone(model, text)).abs().max() < 1e-10


def test_the_same_as_contiguous_and_as_transformers_cached_pass(model):
    prompts = {"a": ids(9, 1), "b": ids(14, 2), "c": ids(1, 3)}
    said = greedy(model, paged(model), prompts, 20)
    theirs = model.to_transformers().double()
    for name, prompt in prompts.items():
        ours = generation.generate(model, prompt, 20, temperature=0)
        assert said[name] == ours[len(prompt) :]
        out = theirs(torch.tensor([prompt]), use_cache=True)
        cache, again = paged(model), paged(model)
        cache.start(0)
        forward(model, cache, {0: prompt})
        for token in said[name][:5]:
            out = theirs(torch.tensor([[token]]), past_key_values=out.past_key_values, use_cache=True)
            logits = forward(model, cache, {0: [token]})[0]
            assert (logits - out.logits[0]).abs().max() < 1e-10
        keys = torch.stack([cache.gather(n, torch.tensor(cache.slots(0)))[0] for n in range(CONFIG.n_layer)])
        held = torch.stack([layer.keys[0].transpose(0, 1) for layer in out.past_key_values.layers])
        assert (keys - held).abs().max() < 1e-10
        assert again.nbytes == kv_bytes(3, 4, 6, 160, dtype=torch.float64)


def test_forks_share_the_past_and_part_ways(model):
    prompt, cache = ids(10), paged(model)
    cache.start("a", prompt)
    forward(model, cache, {"a": prompt})
    cache.fork("a", "b")
    free = cache.n_free
    logits = forward(model, cache, {"a": [5], "b": [6]})
    assert free - cache.n_free == 1, "one copy of the last block"
    for name, token in (("a", 5), ("b", 6)):
        assert (logits[name] - alone(model, [*prompt, token])[-1:]).abs().max() < 1e-10


def test_a_found_prefix_gives_the_same_logits_and_computes_less(model):
    cache, prompt = paged(model, prefix_caching=True), ids(21)
    first = greedy(model, cache, {"a": prompt}, 6)
    cache.free("a")
    assert cache.start("b", prompt) == 20
    assert (forward(model, cache, {"b": prompt[20:]})["b"] - alone(model, prompt)[-1:]).abs().max() < 1e-10
    both = greedy(model, cache, {"c": prompt, "d": [*prompt[:12], *ids(5, 4)]}, 6)
    assert both["c"] == first["a"]
    assert both["d"] == greedy(model, paged(model), {"d": [*prompt[:12], *ids(5, 4)]}, 6)["d"]


def test_two_sequences_may_share_a_prefix_in_the_pass_that_computes_it(model):
    cache, prompt = paged(model, prefix_caching=True), ids(13)
    said = greedy(model, cache, {"a": prompt}, 1) | {}
    cache.free("a")
    found = greedy(model, cache, {"b": prompt, "c": prompt}, 4)
    assert found["b"] == found["c"]
    assert found["b"][:1] == said["a"]


def test_a_truncated_sequence_goes_on_as_if_nothing_had_been(model):
    cache, prompt = paged(model, prefix_caching=True), ids(11)
    cache.start(0, prompt)
    forward(model, cache, {0: [*prompt, 1, 2, 3]})
    cache.truncate(0, 10)
    assert (forward(model, cache, {0: [7, 8]})[0] - alone(model, [*prompt[:10], 7, 8])[-2:]).abs().max() < 1e-10
    cache.start(1, [*prompt, 1, 9])
    assert cache.length(1) == 8, "the block that was cut is not found any more"


def test_passes_complain_and_change_nothing(model):
    cache = paged(model, n_blocks=4)
    cache.start(0)
    cache.start(1)
    with pytest.raises(ValueError, match="the batch is empty"):
        forward(model, cache, {})
    with pytest.raises(ValueError, match="sequence 1 has no new tokens"):
        forward(model, cache, {0: [1], 1: []})
    with pytest.raises(OutOfBlocks, match="5 more blocks"):
        forward(model, cache, {0: ids(9), 1: ids(5)})
    with pytest.raises(ValueError, match="its block table ends at 64"):
        forward(model, paged_with(model, 0, 80), {0: ids(65)})
    assert (cache.n_free, cache.length(0), cache.length(1)) == (4, 0, 0)


def paged_with(model, name, n_blocks):
    cache = paged(model, n_blocks)
    cache.start(name)
    return cache


# ----------------------------------------------------------------------------------------------------- roofline


def test_bytes_of_a_cache_with_grouped_heads_are_those_that_transformers_holds():
    from transformers import LlamaConfig, LlamaForCausalLM

    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=40,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )  # fmt: skip
    )
    held = llama(torch.zeros(2, 11, dtype=torch.long), use_cache=True).past_key_values.layers
    assert sum(layer.keys.nbytes + layer.values.nbytes for layer in held) == kv_bytes(3, 2, 8, 11, batch=2)
    assert kv_bytes(12, 8, 32, 100, dtype=torch.int8) == GPT2Config.mini().kv_cache_bytes(100, dtype=torch.int8)


def test_operations_of_a_pass_are_counted_as_by_torch():
    from torch.utils.flop_counter import FlopCounterMode

    model = randomised(CONFIG)
    for past, batch in ((0, 1), (9, 1), (9, 3)):
        cache = KVCache(CONFIG, 20, batch, like=model.wte.weight)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            if past:
                model(torch.zeros(batch, past, dtype=torch.long), cache=cache)
            before = counter.get_total_flops()
            model(torch.zeros(batch, 1, dtype=torch.long), cache=cache)
        assert counter.get_total_flops() - before == pass_cost(CONFIG, 1, past, batch).flops


def test_the_roof_bends_at_the_ridge():
    machine = roofline.Machine(flops=100.0, bytes=10.0)
    assert machine.ridge == 10
    assert [machine.attainable(i) for i in (1, 10, 50)] == [10, 100, 100]
    assert machine.seconds(roofline.PassCost(1000, 50)) == 10
    assert machine.seconds(roofline.PassCost(1000, 500)) == 50
    with pytest.raises(ValueError, match="a pass needs new tokens"):
        pass_cost(CONFIG, 0)


# --------------------------------------------------------------------------------------------------- allocation

LENGTHS = st.lists(st.builds(allocation.Lengths, st.integers(1, 20), st.integers(1, 12)), min_size=1, max_size=12)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, st.integers(1, 8), st.integers(32, 90))
def test_internal_fragmentation_simulated_is_that_of_the_formula(requests, block_size, memory):
    for way in allocation.WAYS:
        if way == "paged" and memory // block_size * block_size < 32:
            continue
        seen = allocation.replay(requests, way, memory, 32, block_size)
        assert seen.internal == pytest.approx(allocation.internal(requests, way, 32, block_size), abs=1e-12)
        assert 0 <= seen.external < 1
        assert way == "exact length" or seen.external <= 1 - 32 / memory


@given(st.integers(0, 300), st.integers(1, 40))
def test_sums_of_ceilings(n, b):
    assert allocation.ceilings(n, b) == sum(math.ceil(i / b) for i in range(1, n + 1))


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=60))
def test_pieces_of_an_arena_never_overlap_and_holes_merge(actions):
    arena, taken = allocation.Arena(40), []
    for take, size in actions:
        if take:
            if (start := arena.take(size)) is not None:
                taken.append((start, size))
            else:
                assert all(hole < size for _, hole in arena.holes)
        elif taken:
            arena.give_back(*taken.pop(size % len(taken)))
        spans = sorted([*taken, *arena.holes])
        assert [start for start, _ in spans] == [sum(size for _, size in spans[:i]) for i in range(len(spans))]
        assert sum(size for _, size in spans) == 40
        assert all(sum(a) < b[0] for a, b in zip(arena.holes, arena.holes[1:], strict=False))


def test_padded_batches_on_paper():
    requests = [allocation.Lengths(1, 2), allocation.Lengths(3, 1)]
    assert [allocation.used(one) for one in requests] == [2 + 3, 4]
    assert allocation.internal_padded(requests, 2) == pytest.approx(1 - 9 / (2 * (4 + 5)))
    assert allocation.internal_padded(requests, 1) == pytest.approx(0)


@given(LENGTHS, st.integers(1, 5))
def test_padded_batches_step_by_step(requests, batch):
    held = 0
    for i in range(0, len(requests), batch):
        rows = requests[i : i + batch]
        prompt, new = (max(column) for column in zip(*rows, strict=True))
        held += sum(len(rows) * (prompt + t) for t in range(1, new + 1))
    seen = allocation.internal_padded(requests, batch)
    assert seen == pytest.approx(1 - sum(map(allocation.used, requests)) / held)


def test_allocation_complains():
    with pytest.raises(ValueError, match="there are no requests"):
        allocation.replay([], "paged", 100, 32)
    with pytest.raises(ValueError, match="way 'best' is unknown"):
        allocation.internal([allocation.Lengths(1, 1)], "best", 32)
    with pytest.raises(ValueError, match="no more than 32 together"):
        allocation.internal([allocation.Lengths(30, 3)], "paged", 32)


# ----------------------------------------------------------------------------------------------------- batching

COST = StepCost(1.0, 0.0, 0.0)


def asked(news, arrival=0.0, prompt=1):
    return [Request(i, arrival, range(prompt), new) for i, new in enumerate(news)]


def test_steps_of_the_exercise_are_what_happens():
    requests = asked([2, 8, 3, 3, 9, 1, 2, 4])
    exercise = find("g22.steps")
    steps = {how: len(serve(requests, COST, BlockTables(99), continuous=how, slots=4).rows) for how in (False, True)}
    assert steps == {False: 17, True: exercise.solution}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(1, 5), st.booleans(), st.integers(1, 6), st.integers(18, 40), st.booleans(),
)  # fmt: skip
def test_everybody_is_served_whatever_the_pool(asks, slots, continuous, block_size, memory, prefix):
    requests = [Request(i, float(at), range(p), n) for i, (at, p, n) in enumerate(asks)]
    tables = BlockTables(-(-memory // block_size), block_size, prefix_caching=prefix)
    served = serve(requests, StepCost(0.5, 0.1, 0.01), tables, continuous=continuous, slots=slots)
    assert {name: len(said) for name, said in served.said.items()} == {r.name: r.new for r in requests}
    assert (served.latencies > 0).all()
    assert tables.n_free == len(tables.allocator.users)
    assert all(served.first[r.name] <= served.finished[r.name] for r in requests)
    assert 0 <= served.wasted < 1
    assert not continuous or served.wasted == 0
    if not served.preempted:
        wanted = sum(w for _, w in served.rows)
        assert wanted == sum(r.new for r in requests)


def test_with_a_model_all_say_what_they_would_say_alone(model):
    requests = [Request(i, 0.7 * i, ids(3 + 2 * i, i), 4 + 3 * (i % 3)) for i in range(6)]
    alone_ = {
        r.name: generation.generate(model, list(r.prompt), r.new, temperature=0)[len(r.prompt) :] for r in requests
    }
    for continuous, n_blocks, prefix in product((False, True), (7, 40), (False, True)):
        cache = paged(model, n_blocks, prefix_caching=prefix)
        step = batching.greedy_step(model)
        served = serve(requests, COST, cache, continuous=continuous, slots=3, step=step)
        assert served.said == alone_
        assert (served.preempted > 0) == (n_blocks == 7)
        dry = serve(requests, COST, BlockTables(n_blocks, 4), continuous=continuous, slots=3)
        assert prefix or dry.rows == served.rows, "with and without a model, the schedule is the same"


@pytest.mark.parametrize(("continuous", "done"), [(False, {0: 5.0, 1: 6.0}), (True, {0: 5.0, 1: 3.0})])
def test_a_static_batch_takes_nobody_on(continuous, done):
    late = [*asked([5]), Request(1, 1.5, [0], 1)]
    assert serve(late, COST, BlockTables(9), continuous=continuous, slots=4).finished == done


def test_whoever_came_last_yields_and_is_computed_again():
    served = serve(asked([6, 6], prompt=4), COST, BlockTables(4, 4), slots=2)
    assert served.preempted == 1
    assert served.finished == {0: 6.0, 1: 7.0}
    assert served.computed == 4 + 5 + 4 + 4 + 9, "both prompts, the tokens of each, and prompt and tokens of one again"


def test_fitted_costs_are_found_again():
    cost = StepCost(3e-3, 2e-4, 1e-6)
    tokens, past = [1, 8, 64, 5, 30], [100, 50, 0, 900, 300]
    found = batching.fit_step_cost(tokens, past, [cost(t, p) for t, p in zip(tokens, past, strict=True)])
    assert found == pytest.approx(cost)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "there is nothing to serve"),
        (asked([1]) * 2, "the same name"),
        (asked([0]), "both must be 1 or more"),
        (asked([5], prompt=0), "both must be 1 or more"),
        (asked([60]), "never fits"),
    ],
)
def test_serving_complains(requests, message):
    with pytest.raises(ValueError, match=message):
        serve(requests, COST, BlockTables(3, 4))
    with pytest.raises(ValueError, match="at least one slot, not 0"):
        serve(asked([1]), COST, BlockTables(3, 4), slots=0)


# -------------------------------------------------------------------------------------------------- speculation


def bigrams(seed: int, n: int = 5) -> torch.Tensor:
    return torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).pow(3).softmax(1)


def test_one_round_has_the_models_distribution_exactly():
    p, q = bigrams(0), bigrams(1)
    beta = speculative.acceptance(p, q)
    assert (torch.minimum(p, q) + (1 - beta)[:, None] * speculative.residual(p, q) - p).abs().max() < 1e-15
    assert (speculative.residual(p, p) == p).all()


@pytest.mark.parametrize("k", [1, 2, 4])
def test_verified_tokens_are_distributed_as_the_models(k):
    p, q = bigrams(2), bigrams(3)
    n, g = 60_000, torch.Generator().manual_seed(k)
    drafted = [torch.zeros(n, dtype=torch.long)]
    for _ in range(k):
        drafted.append(torch.multinomial(q[drafted[-1]], 1, generator=g)[:, 0])
    before = torch.stack(drafted, 1)
    accepted, token = speculative.verify(p[before], q[before[:, :-1]], before[:, 1:], g)
    first = torch.where(accepted > 0, before[:, 1], token)
    assert speculative.chi_square(first.bincount(minlength=5), p[0])[2] > 0.01
    second = torch.where(accepted > 1, before[:, min(2, k)], token)  # of the rows in which there is a second
    pairs = (5 * first + second)[accepted > 0].bincount(minlength=25)
    joint = (torch.minimum(p[0], q[0])[:, None] * p).flatten()
    assert speculative.chi_square(pairs, joint / joint.sum())[2] > 0.01
    alpha = speculative.acceptance(p[0], q[0]).item()
    assert (accepted > 0).double().mean().item() == pytest.approx(alpha, abs=4 * math.sqrt(0.25 / n))


def test_whole_texts_of_a_model_have_its_distribution():
    config = GPT2Config(vocab_size=4, context_length=8, d_model=8, n_layer=1, n_head=2)
    model, draft = (randomised(config, seed, 0.8).float() for seed in (1, 2))
    texts = torch.tensor(list(product(range(4), repeat=3)))
    with torch.no_grad():
        logp = model(torch.cat([torch.zeros(64, 1, dtype=torch.long), texts[:, :-1]], 1)).log_softmax(-1)
    p = logp.gather(2, texts[:, :, None]).sum((1, 2)).exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    said = [speculate(model, ModelDraft(draft), [0], 3, k=2, seed=seed).ids for seed in range(800)]
    counts = torch.tensor([16 * a + 4 * b + c for a, b, c in said]).bincount(minlength=64)
    assert speculative.chi_square(counts, p)[2] > 0.01
    wrong = model(torch.tensor([[0]]))[0, 0].log_softmax(-1).exp().detach().repeat_interleave(16) / 16
    assert speculative.chi_square(counts, wrong)[2] < 1e-6


@pytest.mark.parametrize("k", [1, 3, 6])
def test_greedy_is_exact_with_any_draft_and_equal_to_transformers(model, k):
    draft, prompt = randomised(GPT2Config(61, 16, 12, 1, 2), 5), ids(7)  # its window is shorter than the text
    plain = generation.generate(model, prompt, 40, temperature=0)[7:]
    for guesser in (ModelDraft(draft), ModelDraft(model), LookupDraft(61)):
        found = speculate(model, guesser, prompt, 40, k, temperature=0)
        assert found.ids == plain
        assert found.passes + sum(found.accepted) == 40
    theirs, assistant = model.to_transformers().double(), randomised(CONFIG, 9).to_transformers().double()
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0, "max_new_tokens": 20}
    out = theirs.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, 7), assistant_model=assistant, **options)
    assert out[0, 7:].tolist() == plain[:20]


def test_the_model_as_its_own_draft_is_never_wrong(model):
    found = speculate(model, ModelDraft(model), ids(5), 25, 4, seed=3)
    assert found.drafted == found.accepted
    assert found.passes == 5


def test_a_draft_that_serves_several_texts_starts_each_anew(model):
    draft = ModelDraft(randomised(GPT2Config(61, 16, 12, 1, 2), 5))
    texts = [ids(30, 1), ids(4, 2), [*ids(4, 2), 7], ids(30, 3)]
    g = torch.Generator
    for text in texts:
        fresh = ModelDraft(draft.model).guess(text, 3, 1.0, g().manual_seed(0))
        again = draft.guess(text, 3, 1.0, g().manual_seed(0))
        assert fresh[0].tolist() == again[0].tolist()
        assert (fresh[1] - again[1]).abs().max() < 1e-12


def test_lookup_copies_what_followed_the_longest_tail():
    draft = LookupDraft(20, n=2)
    assert draft.guess([1, 2, 3, 4, 9, 2, 7, 1, 2], 2, 1.0, None)[0].tolist() == [3, 4]
    assert draft.guess([1, 2, 3, 9, 2], 3, 1.0, None)[0].tolist() == [3, 9, 2]
    assert draft.guess([1, 2, 3], 3, 1.0, None)[1].shape == (0, 20)


def test_stopping_and_room(model):
    plain = generation.generate(model, ids(7), 40, temperature=0)[7:]
    stop = plain[9]
    found = speculate(model, ModelDraft(model), ids(7), 40, 4, temperature=0, stop=[stop])
    assert found.ids == plain[: plain.index(stop) + 1]
    with pytest.raises(ValueError, match="do not fit a context_length of 64"):
        speculate(model, ModelDraft(model), ids(30), 40)
    with pytest.raises(ValueError, match="both must be 1 or more"):
        speculate(model, ModelDraft(model), [], 4)
    with pytest.raises(ValueError, match="need 3 distributions"):
        speculative.verify(torch.ones(1, 2, 4), torch.ones(1, 2, 4), torch.zeros(1, 2, dtype=torch.long))


def test_expected_tokens_are_those_of_coins():
    g, alpha, k = torch.Generator().manual_seed(0), 0.7, 4
    right = (torch.rand(200_000, k, generator=g) < alpha).int().cumprod(1).sum(1).double() + 1
    assert speculative.tokens_per_pass(alpha, k) == pytest.approx(right.mean().item(), abs=0.015)
    assert speculative.tokens_per_pass(1.0, 4) == 5
    assert speculative.tokens_per_pass(0.0, 4) == 1
    assert speculative.speed_up(0.8, 3, 0.05) == pytest.approx((1 - 0.8**4) / 0.2 / 1.15)
    with pytest.raises(ValueError, match="alpha is a probability"):
        speculative.speed_up(1.2, 3, 0.1)


def test_chi_square_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    counts, p = torch.tensor([18, 30, 52]), torch.tensor([0.2, 0.3, 0.5])
    theirs = stats.chisquare(counts.numpy(), (p.double() * 100).numpy() / p.double().sum().item())
    statistic, freedom, tail = speculative.chi_square(counts, p)
    assert (statistic, tail) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-5)
    assert freedom == 2
    assert speculative.chi_square(torch.tensor([5, 5, 1]), torch.tensor([0.5, 0.5, 0.0]))[2] == 0


# --------------------------------------------------------------------------------------------------------- int8


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_rounding_is_half_a_scale_off_at_most(numbers):
    x = torch.tensor([numbers, [0.0] * len(numbers)], dtype=torch.float64)
    bytes_, scale = quantize(x)
    assert bytes_.dtype == torch.int8
    assert ((bytes_ * scale - x).abs() <= scale * 0.5 * (1 + 1e-9)).all()
    assert (bytes_ * scale)[1].abs().max() == 0


def test_nothing_that_is_no_number_is_quantised(model):
    with pytest.raises(ValueError, match="1 of 3 numbers are NaN or infinite"):
        quantize(torch.tensor([1.0, math.nan, 2.0]))
    cache = paged(model, int8=True)
    with pytest.raises(ValueError, match="have no int8"):
        cache.write(0, torch.tensor([0]), torch.full((2, 1, 4, 6), math.inf))


def test_int8_weights_are_used_as_they_are_stored(model):
    small = with_int8_weights(model)
    text = torch.tensor([ids(20)])
    plain = randomised(CONFIG)
    with torch.no_grad():
        for one, other in zip(small.h, plain.h, strict=True):
            for part, name in (("attn", "c_attn"), ("attn", "c_proj"), ("mlp", "c_fc"), ("mlp", "c_proj")):
                getattr(getattr(other, part), name).weight.copy_(getattr(getattr(one, part), name).weight)
        plain.wte.weight.copy_(small.wte.weight)
        assert (small(text) - plain(text)).abs().max() < 1e-10
        assert 0 < (small(text) - model(text)).abs().max() < 1
    assert greedy(small, paged(small), {0: ids(9)}, 5)[0] == generation.generate(small, ids(9), 5, temperature=0)[9:]
    d, v, layers = 24, 61, 3
    rows = layers * (3 * d + d + 4 * d + d) + v
    expected = 12 * layers * d * d + v * d + 8 * (rows + layers * 13 * d + 2 * d + 64 * d)
    assert int8.weight_bytes(small) == expected


def test_an_int8_cache_is_near_and_small(model):
    cache, text = paged(model, int8=True), ids(40)
    cache.start(0)
    logits = forward(model, cache, {0: text})[0]
    difference = (logits - alone(model, text)).abs().max()
    assert 1e-6 < difference < 0.2 * alone(model, text).abs().max()
    assert cache.nbytes == kv_bytes(3, 4, 6, 160, dtype=torch.int8) + kv_bytes(3, 4, 1, 160, dtype=torch.float64)

"""CLIP: the towers are timm's and BERT, the losses open_clip's, and a batch in chunks has the gradient of the whole."""

import math
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import timm
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from fmnotes import data, museum, training
from fmnotes.bpe import Tokenizer
from fmnotes.clip import (
    CLIP,
    CLIPConfig,
    alignment,
    embed,
    from_towers,
    in_chunks,
    info_nce,
    pixel_values,
    recall,
    siglip,
    token_ids,
    uniformity,
    unit,
)
from fmnotes.clip.vision import attention, grid_positions
from fmnotes.timing import peak_bytes

SMALL = CLIPConfig(32, 2, 4, 24, 2, 3, 16, 32, 8, vocab_size=97, context_length=12, eos_token_id=95, pad_token_id=96)
tokenizer = Tokenizer.from_pretrained(data.checkpoint("tokenizer-museum"))


def small(seed: int = 0) -> CLIP:
    """A model with all parameters random, in float64."""
    torch.manual_seed(seed)
    model = CLIP(SMALL).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, dtype=p.dtype))
    return model


def pairs(n: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and captions of several lengths."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(95, (n, 12), generator=g)
    for row, length in zip(ids, torch.randint(2, 12, (n,), generator=g).tolist(), strict=True):
        row[length], row[length + 1 :] = 95, 96
    return torch.randn(n, 3, 32, 32, generator=g, dtype=torch.float64), ids


def cloud(n: int, seed: int = 2, e: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return tuple(unit(torch.randn(n, e, generator=g, dtype=torch.float64)) for _ in range(2))


# The towers


def test_the_picture_tower_is_that_of_timm():
    model, (pixels, _) = small(), pairs(5)
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=0
    )
    theirs.double().eval().load_state_dict(model.visual.state_dict())
    torch.testing.assert_close(model.visual(pixels), theirs.forward_features(pixels), rtol=0, atol=1e-10)


def test_the_text_tower_is_bert_whatever_the_padding():
    model, (_, ids) = small(), pairs(5)
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=96
    )
    config.max_position_embeddings = 12
    theirs = transformers.BertModel(config, add_pooling_layer=False).double().eval()
    theirs.load_state_dict(model.text.state_dict())
    keep = ids != 96
    expected = theirs(ids, attention_mask=keep.long()).last_hidden_state
    torch.testing.assert_close(model.text(ids, keep)[keep], expected[keep], rtol=0, atol=1e-10)
    row = ids[:1, : int((ids[0] == 95).nonzero()) + 1]  # the same caption without its padding
    torch.testing.assert_close(model.encode_text(row), model.encode_text(ids)[:1], rtol=0, atol=1e-12)


def test_a_caption_is_pooled_at_its_first_end_token():
    model, (_, ids) = small(), pairs(4)
    hidden = model.text(ids, ids != 96)
    ends = [row.tolist().index(95) for row in ids]
    pooled = torch.stack([h[t] for h, t in zip(hidden, ends, strict=True)]) @ model.text_projection.weight.T
    expected = pooled / pooled.pow(2).sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(model.encode_text(ids), expected, rtol=0, atol=1e-12)


def test_what_is_saved_opens_again_and_its_towers_in_the_libraries(tmp_path):
    model, (pixels, ids) = small(), pairs(3)
    model.save_pretrained(tmp_path)
    again = CLIP.from_pretrained(tmp_path).double()
    assert again.config == SMALL
    for ours, theirs in zip(model(pixels, ids), again(pixels, ids), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path / "half", torch.float16)
    half = CLIP.from_pretrained(tmp_path / "half")
    assert half.visual.pos_embed.dtype == torch.float32
    assert torch.equal(half.visual.pos_embed, model.visual.pos_embed.half().float())
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ValueError, match="another kind of model"):
        CLIP.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        CLIP.from_pretrained(tmp_path)


def test_places_differ_by_how_far_they_lie_apart_and_in_which_direction():
    places = grid_positions(5, 16).double().unflatten(0, (5, 5))
    alike = torch.einsum("abe,cde->abcd", places, places)
    for down, right in ((0, 1), (2, 0), (3, 2)):
        moved = torch.tensor([alike[y, x, y + down, x + right] for y in range(5 - down) for x in range(5 - right)])
        torch.testing.assert_close(moved, moved[:1].expand(len(moved)), rtol=0, atol=1e-5)
        assert moved[0] < alike[0, 0, 0, 0] - 0.1
    assert not torch.allclose(places[0, 1], places[1, 0])


def test_attention_is_that_of_torch():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, 7, 4, generator=g, dtype=torch.float64)
    keep = torch.rand(2, 1, 1, 7, generator=g) < 0.7
    keep[..., 0] = True
    for mask in (None, keep):
        theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        torch.testing.assert_close(attention(q, k, v, mask), theirs, rtol=0, atol=1e-12)


def test_a_new_model_knows_nothing():
    torch.manual_seed(0)
    model = CLIP(CLIPConfig.quick())
    assert model.scale.item() == pytest.approx(1 / 0.07)
    scenes = [museum.Scene.from_row(row) for row, _ in zip(museum.stream("scenes"), range(8), strict=False)]
    ids = token_ids(tokenizer, [f"a picture, number {i}" for i in range(8)], 64)
    assert model.loss(pixel_values(museum.render(scenes)), ids).item() == pytest.approx(math.log(8), abs=0.7)
    with torch.no_grad():
        model.logit_scale.fill_(9)
    assert model.scale.item() == pytest.approx(100)


# The losses


@pytest.mark.parametrize("n", [2, 3, 16, 50])
def test_the_losses_are_those_of_open_clip(n):
    images, texts = cloud(n)
    scale, bias = torch.tensor(7.0, dtype=torch.float64), torch.tensor(-3.0, dtype=torch.float64)
    expected = open_clip.ClipLoss()(images, texts, scale)
    torch.testing.assert_close(info_nce(images, texts, scale), expected, rtol=0, atol=1e-12)
    expected = open_clip.loss.SigLipLoss()(images, texts, scale, bias)
    torch.testing.assert_close(siglip(images, texts, scale, bias), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 9])
@pytest.mark.parametrize("frozen", [None, "visual", "text"])
def test_a_batch_in_chunks_has_the_gradient_of_the_whole(size, frozen):
    model, batch = small(), pairs(7)
    if frozen:
        model.get_submodule(frozen).requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    whole, chunked = model.loss(*batch), in_chunks(size)(model, batch)
    torch.testing.assert_close(chunked, whole, rtol=0, atol=1e-12)
    expected = torch.autograd.grad(2 * whole, trained, allow_unused=True)
    found = torch.autograd.grad(2 * chunked, trained)
    assert any(grad.abs().max() > 1e-3 for grad in found)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if theirs is None else theirs, rtol=0, atol=1e-10)


def test_chunks_need_less_memory():
    torch.manual_seed(0)
    model = CLIP(replace(CLIPConfig.quick(), vocab_size=97, eos_token_id=95, pad_token_id=96))
    ids = pairs(96)[1]
    pixels = torch.randn(96, 3, 64, 64)
    peaks = [
        peak_bytes(lambda f=f: f(model, (pixels, ids)).backward()) for f in (lambda m, b: m.loss(*b), in_chunks(12))
    ]
    assert peaks[1] < peaks[0] / 3


def test_chunks_train_in_the_common_loop():
    recipe = training.TrainingConfig(steps=5, learning_rate=1e-2)
    batches = type("Same", (), {"unit": "pairs", "size": 6, "facts": {}, "__getitem__": lambda self, i: pairs(6, i)})()
    runs = [training.train(small(), loss, batches, recipe) for loss in (lambda m, b: m.loss(*b), in_chunks(4))]
    losses = [[line["loss"] for line in run if "loss" in line] for run in runs]
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-8)


# Evaluation


@given(st.integers(0, 2**20), st.integers(1, 12), st.integers(1, 5))
def test_recall_is_the_chance_to_be_among_the_first(seed, n, levels):
    dice = np.random.default_rng(seed)
    table = dice.integers(levels, size=(n, n)).astype(float)  # many ties
    found = recall(torch.tensor(table), ks=(1, 2, n))
    for k, hits in found.items():
        for q, hit in enumerate(hits.tolist()):
            better = sum(table[q] > table[q, q])
            equal = sum(table[q] == table[q, q])
            assert hit == pytest.approx(min(max((k - better) / equal, 0), 1))
    assert found[n].eq(1).all()


def test_alignment_and_uniformity_are_their_definitions():
    x, y = cloud(20)
    assert alignment(x, y) == pytest.approx(np.mean([((a - b) ** 2).sum() for a, b in zip(x.numpy(), y.numpy())]))
    distances = [((x[i] - x[j]) ** 2).sum().item() for i in range(20) for j in range(i)]
    assert uniformity(x) == pytest.approx(np.log(np.mean(np.exp(-2 * np.array(distances)))))
    assert alignment(x, x) == 0 and uniformity(x[:1].repeat(5, 1)) == pytest.approx(0, abs=1e-12)


def test_embedding_in_portions_is_embedding_at_once():
    torch.manual_seed(0)
    model = CLIP(CLIPConfig.quick()).eval()
    scenes = [museum.Scene.from_row(row) for row, _ in zip(museum.stream("scenes"), range(7), strict=False)]
    texts = ["a red star", "a small blue circle and a heart", "one", "two", "three", "four", "a scene"]
    for ours, other in zip(
        embed(model, tokenizer, museum.render(scenes), texts, 3),
        embed(model, tokenizer, museum.render(scenes), texts),
        strict=True,
    ):
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(7))


# Towers that others have trained


@pytest.fixture
def strangers(tmp_path):
    """A vision transformer and a BERT with random weights, saved as on the hub."""
    torch.manual_seed(0)
    sizes = {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
    seeing = timm.create_model("vit_tiny_patch16_224", num_classes=5, **sizes)
    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "red", "star", "##s"]
    shape = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 96}
    bert = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=16, **shape)
    reading = transformers.BertModel(bert, add_pooling_layer=False)
    with torch.no_grad():
        for p in (*seeing.parameters(), *reading.parameters()):
            p.add_(0.3 * torch.randn(p.shape))
    seeing.pretrained_cfg |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    timm.models.save_for_hf(seeing, tmp_path / "vision", model_args=sizes, safe_serialization=True)
    reading.save_pretrained(tmp_path / "text")
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "text")
    return tmp_path, seeing.eval(), reading.eval()


def test_pretrained_towers_see_and_read_as_at_home(strangers):
    folder, seeing, reading = strangers
    model, words = from_towers(folder / "vision", folder / "text", embed_dim=8)
    images = torch.randint(256, (3, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    theirs = seeing.forward_features(((images / 255 - mean) / std).permute(0, 3, 1, 2))
    torch.testing.assert_close(model.visual(pixel_values(images)), theirs, rtol=1e-4, atol=1e-4)
    ids = token_ids(words, ["a red star", "stars"], 16)
    assert ids.tolist() == [[1, 4, 5, 6, 2], [1, 6, 7, 2, 0]]
    theirs = reading(ids, (ids != 0).long()).last_hidden_state
    torch.testing.assert_close(model.text(ids, ids != 0)[ids != 0], theirs[ids != 0], rtol=1e-4, atol=1e-5)
    seen, read = embed(model, words, images, ["a red star", "stars", "a star"])
    assert seen.shape == read.shape == (3, 8)


def test_only_towers_like_ours_are_taken(strangers, tmp_path):
    folder, _, _ = strangers
    other = timm.create_model("resnet10t", num_classes=5)
    timm.models.save_for_hf(other, tmp_path / "convolutions", safe_serialization=True)
    with pytest.raises(ValueError, match="built in another way than our towers"):
        from_towers(tmp_path / "convolutions", folder / "text")
    (folder / "vision" / "model.safetensors").rename(folder / "vision" / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no .safetensors, the only weights"):
        from_towers(folder / "vision", folder / "text")
    with pytest.raises(FileNotFoundError, match="the hub did not give it"):
        from_towers("nobody/nothing", folder / "text")


# Bad input


def test_bad_pictures_are_refused():
    good = np.zeros((2, 64, 64, 3), dtype=np.uint8)
    assert pixel_values(good).shape == (2, 3, 64, 64) and pixel_values(good + 255).eq(1).all()
    with pytest.raises(ValueError, match=r"hold uint8 numbers, 0 to 255; these are torch.float32"):
        pixel_values(good.astype(np.float32))
    with pytest.raises(ValueError, match=r"channels that come first are moved"):
        pixel_values(good.transpose(0, 3, 1, 2).copy())
    with pytest.raises(ValueError, match=r"one picture is images\[None\]"):
        pixel_values(good[0])
    model = CLIP(CLIPConfig.quick())
    with pytest.raises(ValueError, match=r"of the shape \(n, 3, 64, 64\); got \(2, 3, 32, 32\)"):
        model.encode_image(pixel_values(good[:, ::2, ::2].copy()))
    with pytest.raises(ValueError, match=r"got \(2, 64, 64, 3\) of torch.uint8: pixel_values prepares pictures"):
        model.encode_image(torch.tensor(good))


def test_bad_captions_are_refused():
    with pytest.raises(ValueError, match="there are no captions"):
        token_ids(tokenizer, [], 64)
    with pytest.raises(ValueError, match="caption 1 is empty"):
        token_ids(tokenizer, ["a star", ""], 64)
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        token_ids(tokenizer, "a star", 64)
    with pytest.raises(ValueError, match="the text tower takes 64: shorten it"):
        token_ids(tokenizer, ["a star " * 64], 64)
    model, (_, ids) = small(), pairs(2)
    with pytest.raises(ValueError, match="the text tower takes 12 tokens, these rows have 24"):
        model.encode_text(ids.repeat(1, 2))
    ids[1, ids[1] == 95] = 3
    with pytest.raises(ValueError, match="caption 1 has no end token"):
        model.encode_text(ids)


def test_bad_batches_are_refused():
    images, texts = cloud(3)
    with pytest.raises(ValueError, match="a batch of one pair teaches nothing"):
        info_nce(images[:1], texts[:1], torch.tensor(1.0))
    with pytest.raises(ValueError, match="row i belongs to row i"):
        info_nce(images, texts[:2], torch.tensor(1.0))
    with pytest.raises(ValueError, match="embedding 1 is zero and has no direction"):
        unit(torch.tensor([[1.0, 0], [0, 0]]))
    with pytest.raises(ValueError, match="a chunk holds 1 pair or more"):
        in_chunks(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_size": 7}, "image_size = 64 must be a multiple of patch_size = 7"),
        ({"vision_n_head": 5}, "vision_d_model = 192 must be a multiple of vision_n_head = 5"),
        ({"text_n_layer": 0}, "text_n_layer must be a whole number from 1 up, not 0"),
        ({"embed_dim": 1.5}, "embed_dim must be a whole number"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(CLIPConfig.tiny(), **change)

"""Connectors are those of transformers, pictures stand where their tokens were, and wrong prompts are refused."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.blip_2.configuration_blip_2 import Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel
from transformers.models.idefics.configuration_idefics import IdeficsConfig
from transformers.models.idefics.perceiver import IdeficsPerceiverResampler

from fmnotes import clip, generation, museum
from fmnotes.connector import KINDS, MLP, ConnectorConfig, QFormer, Resampler, VisionLanguageModel, from_towers, probes
from fmnotes.connector.model import fingerprint
from fmnotes.gpt2 import GPT2, GPT2Config
from fmnotes.gpt2.loss import IGNORE

VISION = clip.CLIPConfig(24, 3, 3, 24, 1, 3, 16, image_size=32, vocab_size=97, eos_token_id=95, pad_token_id=96)
TEXT = GPT2Config(vocab_size=50, context_length=64, d_model=32, n_layer=2, n_head=4)
SHAPE = ConnectorConfig("mlp", 24, 32, 16, n_queries=5, n_layer=2, n_head=3)
IMAGE = 48


def randomised(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g))
    return module.double().eval()


def model(kind: str = "mlp", seed: int = 0) -> VisionLanguageModel:
    torch.manual_seed(seed)
    visual, language = randomised(clip.VisionTransformer(VISION), seed), randomised(GPT2(TEXT), seed)
    whole = VisionLanguageModel(visual, replace(SHAPE, kind=kind), language, IMAGE)
    randomised(whole.connector, seed)
    return whole.eval()


def pixels(n: int) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def prompts(n: int, images: int, text: int = 6) -> torch.Tensor:
    words = torch.randint(48, (n, text), generator=torch.Generator().manual_seed(2))
    return torch.cat([torch.full((n, images), IMAGE), words], dim=1)


# The connectors


def test_the_mlp_is_llavas():
    ours = randomised(MLP(SHAPE))
    sizes = {"vision_config": {"model_type": "clip_vision_model", "hidden_size": 24}}
    text = {"model_type": "llama", "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 1}
    config = transformers.LlavaConfig(**sizes, text_config=text)
    from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

    theirs = LlavaMultiModalProjector(config).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)


def test_the_resampler_is_flamingos():
    ours = randomised(Resampler(SHAPE))
    config = IdeficsConfig(vision_config={"embed_dim": 24}, perceiver_config={"qk_layer_norms_perceiver": False})
    theirs = IdeficsPerceiverResampler(config, 24, 2, 3, 8, 5).double().eval()
    theirs.load_state_dict(ours.perceiver.state_dict())
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    torch.testing.assert_close(ours.perceiver(x), theirs(x), rtol=0, atol=1e-12)
    assert ours(x).shape == (2, 5, 32)


def test_the_q_former_is_blip_2s():
    ours = randomised(QFormer(SHAPE))
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
    others = {"cross_attention_frequency": 1, "encoder_hidden_size": 24, "use_qformer_text_input": False}
    theirs = Blip2QFormerModel(Blip2QFormerConfig(**sizes, **others, layer_norm_eps=1e-12)).double().eval()
    theirs.load_state_dict(ours.qformer.state_dict())
    x = torch.randn(2, 16, 24, dtype=torch.float64)
    queries = ours.query_tokens.expand(2, -1, -1)
    expected = theirs(query_embeds=queries, encoder_hidden_states=x).last_hidden_state
    torch.testing.assert_close(ours.qformer(queries, x), expected, rtol=0, atol=1e-5)
    assert ours(x).shape == (2, 5, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_operations_are_those_that_torch_counts(kind, monkeypatch):
    def written_out(q, k, v, is_causal=False, **_):
        return (q @ k.mT).softmax(-1) @ v  # the counter leaves out the fused kernel for CPUs

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", written_out)
    whole = model(kind).requires_grad_(False)
    ids, x = prompts(1, whole.config.n_tokens), pixels(1)
    said = whole.flops(ids.shape[1], 4)
    with FlopCounterMode(display=False) as counter:
        patches = whole.patches(x)
    assert counter.get_total_flops() == said["vision"]
    with FlopCounterMode(display=False) as counter:
        whole.connector(patches)
    assert counter.get_total_flops() == said["connector"]
    with FlopCounterMode(display=False) as counter:
        whole.generate(ids, patches, 4)
    assert counter.get_total_flops() == said["connector"] + said["language"]


# The splice


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_stand_where_their_tokens_were(kind):
    whole = model(kind)
    n = whole.config.n_tokens
    ids, patches = prompts(2, n), whole.patches(pixels(2))
    ids = torch.cat([ids[:, -2:], ids[:, :-2]], dim=1)  # a picture in the middle
    x = whole.inputs_embeds(ids, patches)
    torch.testing.assert_close(x[:, 2 : 2 + n], whole.connector(patches))
    torch.testing.assert_close(x[:, 2 + n :], whole.language.wte(ids[:, 2 + n :]))
    torch.testing.assert_close(whole.inputs_embeds(ids[:, 2 + n :]), whole.language.wte(ids[:, 2 + n :]))


def test_the_splice_is_llavas_and_the_loss_gpt2s():
    """LlavaForConditionalGeneration around the same vectors, with a stub in the place of its picture tower."""
    whole = model()
    n, patches = whole.config.n_tokens, whole.patches(pixels(2))
    ids = prompts(2, n)
    vision = {"model_type": "clip_vision_model", "hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 1}
    vision |= {"intermediate_size": 48, "image_size": 32, "patch_size": 8}
    text = {"model_type": "llama", "vocab_size": 50, "hidden_size": 32, "num_attention_heads": 4}
    text |= {"num_hidden_layers": 1, "intermediate_size": 32}
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE)
    theirs = transformers.LlavaForConditionalGeneration(config).double().eval().model
    theirs.get_input_embeddings().load_state_dict(whole.language.wte.state_dict())
    theirs.multi_modal_projector.load_state_dict(whole.connector.state_dict())
    states = (patches, torch.cat([patches[:, :1], patches], dim=1), patches)  # [-2], with a class token
    theirs.vision_tower.forward = lambda *args, **kwargs: BaseModelOutputWithPooling(hidden_states=states)
    seen = []
    theirs.language_model.register_forward_pre_hook(lambda m, args, kwargs: seen.append(kwargs), with_kwargs=True)
    theirs(input_ids=ids, pixel_values=pixels(2))
    spliced = whole.inputs_embeds(ids, patches)
    torch.testing.assert_close(spliced, seen[0]["inputs_embeds"], rtol=0, atol=1e-12)
    targets = torch.cat([ids[:, 1:], torch.full((2, 1), IGNORE)], dim=1)
    targets[:, : n + 2] = IGNORE
    logits = whole.language.to_transformers()(inputs_embeds=spliced).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    torch.testing.assert_close(whole.loss(ids, targets, patches), loss, rtol=0, atol=1e-10)


def test_only_the_connector_learns_and_only_from_the_answer():
    whole = model()
    n = whole.config.n_tokens
    ids, patches = prompts(2, n), whole.patches(pixels(2))
    targets = torch.full_like(ids, IGNORE)
    targets[:, -1] = 3
    loss = whole.loss(ids, targets, patches)
    loss.backward()
    assert {name.split(".")[0] for name, p in whole.named_parameters() if p.grad is not None} == {"connector"}
    logits = whole.language(inputs_embeds=whole.inputs_embeds(ids, patches))[:, -1]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, torch.tensor([3, 3])))


def test_the_patches_come_from_the_block_before_the_last():
    whole, x = model(), pixels(1)
    hidden = whole.visual.blocks[2](torch.cat([torch.zeros(1, 1, 24).double(), whole.patches(x)], dim=1))
    assert hidden.shape == (1, 17, 24)
    class_token = whole.visual.blocks[:-1](whole.visual.embedded(x))[:, :1]
    again = whole.visual.norm(whole.visual.blocks[2](torch.cat([class_token, whole.patches(x)], dim=1)))
    torch.testing.assert_close(again, whole.visual(x))


# Decoding


def test_greedy_answers_are_those_without_a_cache():
    whole = model()
    ids, patches = prompts(3, whole.config.n_tokens), whole.patches(pixels(3))
    found, x = whole.generate(ids, patches, 6), whole.inputs_embeds(ids, patches)
    for _ in range(6):
        token = whole.language(inputs_embeds=x)[:, -1].argmax(-1)
        x = torch.cat([x, whole.language.wte(token)[:, None]], dim=1)
        assert token.tolist() == [row.pop(0) for row in found]
    first = whole.generate(ids[:1], patches[:1], 6)[0]
    assert whole.generate(ids[:1], patches[:1], 6, stop=[first[2]])[0] == first[: first.index(first[2])]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beams", [1, 2, 5])
def test_beam_search_is_that_of_transformers(seed, beams):
    torch.manual_seed(seed)
    language = randomised(GPT2(TEXT), seed)
    prompt = [3, 1, 4]
    stop = generation.generate(language, prompt, 3, temperature=0.0)[-1]
    found = generation.beam_search(language, prompt, 7, beams, stop=[stop])
    options = {"num_beams": beams, "do_sample": False, "max_new_tokens": 7, "length_penalty": 0.0}
    options |= {"eos_token_id": stop, "pad_token_id": stop, "early_stopping": False}
    theirs = language.to_transformers().generate(torch.tensor([prompt]), **options)[0, 3:].tolist()
    assert found[0][0] == theirs[: theirs.index(stop) + 1 if stop in theirs else None]
    ids = torch.tensor([prompt + found[0][0]])
    logs = language(ids)[0, 2:-1].log_softmax(-1)
    assert found[0][1] == pytest.approx(logs.gather(1, ids[0, 3:, None]).sum().item())
    if beams == 1:
        assert found[0][0] == generation.generate(language, prompt, 7, temperature=0.0, stop=[stop])[3:]


def test_enough_beams_find_the_likeliest_of_all():
    torch.manual_seed(0)
    language = randomised(GPT2(replace(TEXT, vocab_size=4)))
    found = generation.beam_search(language, [1], 3, 64)
    every = torch.cartesian_prod(*[torch.arange(4)] * 3)
    logs = language(torch.cat([torch.ones(64, 1, dtype=torch.long), every], dim=1))[:, :-1].log_softmax(-1)
    totals = logs.gather(2, every[..., None]).sum((1, 2))
    assert found[0][0] == every[totals.argmax()].tolist() and found[0][1] == pytest.approx(totals.max().item())


def test_beams_start_from_a_cached_picture():
    whole = model()
    ids, patches = prompts(1, whole.config.n_tokens), whole.patches(pixels(1))
    assert whole.generate(ids, patches, 5, beams=1) == whole.generate(ids, patches, 5)
    best = whole.generate(ids, patches, 5, beams=4)[0]

    def likelihood(tokens):
        row = torch.cat([ids, torch.tensor([tokens])], dim=1)
        logs = whole.language(inputs_embeds=whole.inputs_embeds(row, patches))[0, ids.shape[1] - 1 : -1].log_softmax(-1)
        return logs.gather(1, torch.tensor(tokens)[:, None]).sum()

    assert likelihood(best) >= likelihood(whole.generate(ids, patches, 5)[0]) - 1e-9
    with pytest.raises(ValueError, match="beams must be 1 or more, not 0"):
        generation.beam_search(whole.language, [1], 2, 0)


# Files


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_connector_opens_between_its_own_towers_only(kind, tmp_path):
    whole = model(kind).float()
    whole.save_pretrained(tmp_path)
    again = VisionLanguageModel.from_pretrained(tmp_path, whole.visual, whole.language)
    ids, patches = prompts(2, whole.config.n_tokens), whole.patches(pixels(2).float())
    torch.testing.assert_close(again.inputs_embeds(ids, patches), whole.inputs_embeds(ids, patches))
    whole.language.wpe.weight.data.add_(1)  # as if it had been adapted since
    whole.save_pretrained(tmp_path / "adapted")
    assert (tmp_path / "adapted" / "config.json").read_text() == (tmp_path / "config.json").read_text()
    whole.language.wpe.weight.data.sub_(1)
    other = model(kind, seed=1).float()
    with pytest.raises(ValueError, match="trained for another vision tower of the same shape"):
        VisionLanguageModel.from_pretrained(tmp_path, other.visual, whole.language)
    with pytest.raises(ValueError, match="trained for another language tower of the same shape"):
        VisionLanguageModel.from_pretrained(tmp_path, whole.visual, other.language)
    wide = clip.VisionTransformer(replace(VISION, vision_d_model=48))
    with pytest.raises(ValueError, match="made for other towers: its vision_d_model is 24, theirs is 48"):
        VisionLanguageModel.from_pretrained(tmp_path, wide, whole.language)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="has no model.safetensors"):
        VisionLanguageModel.from_pretrained(tmp_path, whole.visual, whole.language)


# Bad input


def test_prompts_and_pictures_must_match():
    whole = model("qformer")
    patches = whole.patches(pixels(2))
    for ids, seen, message in (
        (prompts(2, 5), None, "prompt 0 has image tokens, but there is no picture"),
        (prompts(2, 0), patches, "prompt 0 came with a picture, but has no image tokens: it takes 5"),
        (prompts(2, 10), patches, "prompt 0 has room for 2 pictures, 10 image tokens; one is read"),
        (prompts(2, 4), patches, "prompt 0 has 4 image tokens; a picture of this connector takes 5"),
        (prompts(3, 5), patches, "3 prompts came with 2 pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            whole.inputs_embeds(ids, seen)
    with pytest.raises(ValueError, match="a picture takes 5 and leaves 59: shorten the prompt"):
        whole.generate(prompts(2, 5, 50), patches, 16)
    with pytest.raises(ValueError, match="16 visual tokens leave no room for text in a context of 16"):
        VisionLanguageModel(whole.visual, SHAPE, GPT2(replace(TEXT, context_length=16)), IMAGE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "magic"}, "there is no connector 'magic'; there are linear, mlp, resampler, qformer"),
        ({"n_queries": 0}, "n_queries must be a whole number from 1 up, not 0"),
        ({"n_head": 5}, "vision_d_model = 24 must be a multiple of n_head = 5"),
    ],
)
def test_bad_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SHAPE, **change)


# The language model adapted


def adapted(rank: int = 3) -> VisionLanguageModel:
    whole = model()
    whole.adapt(rank)
    g = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, p in whole.language.named_parameters():
            if ".lora_" in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=g))
    return whole


def test_low_rank_updates_change_nothing_at_first_and_are_all_that_is_trained_of_the_language_model():
    whole = model()
    ids, patches, language = prompts(2, 16), whole.patches(pixels(2)), whole.language
    before, weights = whole.loss(ids, ids, patches), fingerprint(language)
    whole.adapt(3)
    torch.testing.assert_close(whole.loss(ids, ids, patches), before, rtol=0, atol=0)
    trained = {name for name, p in whole.named_parameters() if p.requires_grad}
    assert {name.partition(".")[0] for name in trained} == {"connector", "language"}
    assert all(".lora_" in name for name in trained if name.startswith("language"))
    assert sum(".lora_" in name for name in trained) == 2 * 4 * TEXT.n_layer
    assert whole.language is not language and fingerprint(language) == weights


def test_a_low_rank_update_is_the_product_of_its_two_matrices():
    whole, plain = adapted(), model()
    with torch.no_grad():
        for name, p in plain.language.named_parameters():
            if p.ndim == 2 and name.startswith("h."):
                layer = whole.language.get_submodule(name.removesuffix(".weight"))
                p += 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    ids, patches = prompts(2, 16), plain.patches(pixels(2))
    torch.testing.assert_close(whole.loss(ids, ids, patches), plain.loss(ids, ids, patches), rtol=0, atol=1e-12)


def test_an_adapted_model_is_saved_and_read_and_peft_reads_it_too(tmp_path):
    whole, plain = (m.float().double() for m in (adapted(), model()))  # numbers that the float32 read holds, too
    whole.save_pretrained(tmp_path)
    again = VisionLanguageModel.from_pretrained(tmp_path, plain.visual, plain.language).double()
    ids, patches = prompts(2, 16), plain.patches(pixels(2))
    torch.testing.assert_close(again.loss(ids, ids, patches), whole.loss(ids, ids, patches), rtol=0, atol=1e-12)
    again.save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "adapter_model.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    theirs = PeftModel.from_pretrained(plain.language.to_transformers(), str(tmp_path)).double()
    logits = whole.language(inputs_embeds=whole.inputs_embeds(ids, patches))
    expected = theirs(inputs_embeds=whole.inputs_embeds(ids, patches)).logits
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rslora", [False, True])
def test_reading_low_rank_updates_adds_what_peft_adds_and_does_not_need_it(tmp_path, rslora):
    whole, plain = adapted().float(), model().float()
    whole.save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"use_rslora": rslora}))
    ours = VisionLanguageModel.from_pretrained(tmp_path, plain.visual, plain.language).language
    theirs = PeftModel.from_pretrained(plain.language.to_transformers(), str(tmp_path)).merge_and_unload()
    for name, weight in ours.to_transformers().state_dict().items():
        torch.testing.assert_close(weight, theirs.state_dict()[name], rtol=0, atol=0)
    plain.language.save_pretrained(tmp_path / "gpt2")
    code = "import sys; from fmnotes.connector import adapter; from fmnotes.gpt2 import GPT2; adapter.read("
    code += f"GPT2.from_pretrained({str(tmp_path / 'gpt2')!r}), {str(tmp_path)!r}); assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_not_adapted_twice(tmp_path):
    whole, plain = adapted(), model()
    with pytest.raises(ValueError, match="has low-rank updates already"):
        whole.adapt(2)
    whole.save_pretrained(tmp_path)
    again = VisionLanguageModel.from_pretrained(tmp_path, plain.visual, plain.language)
    with pytest.raises(ValueError, match="has low-rank updates already"):
        again.adapt(2)


def test_low_rank_updates_of_another_model_are_refused(tmp_path):
    whole = adapted()
    whole.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    tensors.pop(next(iter(tensors)))
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="not those of this language model"):
        VisionLanguageModel.from_pretrained(tmp_path, whole.visual, model().language)
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no adapter_model\.safetensors"):
        VisionLanguageModel.from_pretrained(tmp_path, whole.visual, model().language)


# Towers that others have trained


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Picture towers and language models with random weights, saved as on the hub."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("strangers")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
    seeing = timm.create_model("vit_tiny_patch16_224", num_classes=0, **sizes)
    seeing.pretrained_cfg |= {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    shape = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 48}
    clips = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**shape, image_size=32, patch_size=8))
    gpt = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=8, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    )
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=8, max_position_embeddings=64, **shape))
    with torch.no_grad():
        for model in (seeing, clips, gpt, llama):
            for p in model.parameters():
                p.add_(0.3 * torch.randn(p.shape))
    timm.models.save_for_hf(seeing, folder / "timm", model_args=sizes, safe_serialization=True)
    clips.save_pretrained(folder / "clip")
    words = {word: number for number, word in enumerate(["<s>", "</s>", "a", "red", "star", "is", "there", "?"])}
    tokenizer = Tokenizer(WordLevel(words, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    for name, model in (("gpt2", gpt), ("llama", llama)):
        model.save_pretrained(folder / name)
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(
            folder / name
        )
    return folder, {"timm": seeing.eval(), "clip": clips.eval(), "gpt2": gpt.eval(), "llama": llama.eval()}


@pytest.mark.parametrize("vision", ["timm", "clip"])
@pytest.mark.parametrize("language", ["gpt2", "llama"])
def test_any_pretrained_pair_goes_in_by_its_folders(strangers, vision, language, tmp_path):
    folder, theirs = strangers
    whole, words = from_towers(folder / vision, folder / language)
    images = np.random.default_rng(1).integers(256, size=(2, 32, 32, 3), dtype=np.uint8)
    patches = whole.patches(clip.pixel_values(images))
    if vision == "timm":
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        seen = theirs["timm"].patch_embed(((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2))
        seen = theirs["timm"].norm_pre(theirs["timm"]._pos_embed(seen))
        for block in theirs["timm"].blocks[:-1]:
            seen = block(seen)
        expected = seen[:, 1:]
    else:
        prepare = transformers.CLIPImageProcessor(do_resize=False, do_center_crop=False)
        pixels = prepare(list(images), return_tensors="pt")["pixel_values"]
        expected = theirs["clip"](pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
    torch.testing.assert_close(patches, expected, rtol=1e-4, atol=1e-4)
    text = torch.tensor(words("is a red star there ?")["input_ids"]).expand(2, -1)
    ids = torch.cat([torch.full((2, 16), whole.image_token_id), text], dim=1)
    vectors = torch.cat([whole.connector(patches), theirs[language].get_input_embeddings()(text)], dim=1)
    torch.testing.assert_close(whole.inputs_embeds(ids, patches), vectors)
    targets = torch.cat([torch.full((2, 15), IGNORE), text, torch.full((2, 1), IGNORE)], dim=1)
    labels = torch.cat([torch.full((2, 1), IGNORE), targets[:, :-1]], dim=1)  # transformers shifts them itself
    loss = theirs[language](inputs_embeds=vectors, labels=labels).loss
    torch.testing.assert_close(whole.loss(ids, targets, patches), loss)


@pytest.mark.parametrize("language", ["gpt2", "llama"])
def test_a_pretrained_pair_answers_as_step_by_step_and_is_adapted_saved_and_read(strangers, language, tmp_path):
    folder, _ = strangers
    whole, words = from_towers(folder / "timm", folder / language, "qformer", n_head=3)
    images = np.random.default_rng(2).integers(256, size=(1, 32, 32, 3), dtype=np.uint8)
    patches = whole.patches(clip.pixel_values(images))
    ids = torch.cat([torch.full((1, 16), whole.image_token_id), torch.tensor([[5, 2, 3, 4]])], dim=1)
    said, x = [], whole.inputs_embeds(ids, patches)
    for _ in range(5):
        said.append(int(whole.language.model(inputs_embeds=x).logits[0, -1].argmax()))
        x = torch.cat([x, whole.language.wte(torch.tensor([said[-1:]]))], dim=1)
    assert whole.generate(ids, patches, 5) == [said]
    assert whole.generate(ids, patches, 5, stop=[said[1]]) == [said[: said.index(said[1])]]
    assert len(whole.generate(ids, patches, 5, beams=3)[0]) == 5
    whole.adapt(2)
    with torch.no_grad():
        for name, p in whole.language.named_parameters():
            if ".lora_" in name:
                p.copy_(0.3 * torch.randn(p.shape))
    whole.save_pretrained(tmp_path)
    again, _ = from_towers(folder / "timm", folder / language)
    again = VisionLanguageModel.from_pretrained(tmp_path, again.visual, again.language)
    ids, targets = torch.cat([ids, ids[:, -2:]], dim=1), torch.tensor([[IGNORE] * 19 + [3, 4, 1]])
    torch.testing.assert_close(again.loss(ids, targets, patches), whole.loss(ids, targets, patches))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / language)
    theirs = PeftModel.from_pretrained(theirs, str(tmp_path))
    x = whole.inputs_embeds(ids, patches)
    torch.testing.assert_close(theirs(inputs_embeds=x).logits, whole.language.model(inputs_embeds=x).logits)


def test_towers_of_other_kinds_are_refused(strangers):
    folder, _ = strangers
    with pytest.raises(ValueError, match="is a 'gpt2'; a picture tower is a vision transformer of timm"):
        from_towers(folder / "gpt2", folder / "llama")
    with pytest.raises(FileNotFoundError, match="the hub did not give it"):
        from_towers("nobody/nothing", folder / "llama")


def test_what_stands_in_the_vectors_is_read_and_what_does_not_is_not():
    scenes = [museum.Scene.from_row(row) for row, _ in zip(museum.stream("scenes", "train"), range(400), strict=False)]
    g = torch.Generator().manual_seed(0)
    told = torch.cat([F.one_hot(probes.fields(scenes, what) + 1).float() for what in ("colour", "shape")], dim=-1)
    mixed = told.flatten(1) @ torch.randn(told[0].numel(), 240, generator=g)
    noise = torch.randn(mixed.shape, generator=g)
    found = probes.readable(mixed[:300, None], scenes[:300], mixed[300:, None], scenes[300:])
    assert min(found.values()) > 0.9, found
    found = probes.readable(noise[:300, None], scenes[:300], noise[300:, None], scenes[300:])
    assert max(found.values()) < 0.4, found
    half = told.clone()
    half[..., 9:] = 0  # the colours are there, the shapes are not
    found = probes.readable(half[:300], scenes[:300], half[300:], scenes[300:])
    assert found["colour"] > 0.9 and found["place"] > 0.9 and found["shape"] < 0.5, found
    columns = probes.fields(scenes[:1], "colour").view(4, 4)
    for thing in scenes[0].objects:
        assert museum.COLOURS[columns[thing.row, thing.column]] == thing.colour
    assert int((columns >= 0).sum()) == len(scenes[0].objects)

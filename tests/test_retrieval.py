"""Search by words and vectors, fusion, pieces, measures: each beside its library; a store that loses nothing."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from fmnotes import ROOT
from fmnotes.retrieval import fusion, measures, saving
from fmnotes.retrieval.collection import collection
from fmnotes.retrieval.embeddings import SentenceEmbeddings, TowerEmbeddings
from fmnotes.retrieval.encoder import Encoder, EncoderConfig, maxsim
from fmnotes.retrieval.lexical import BM25, english, terms
from fmnotes.retrieval.pieces import split
from fmnotes.retrieval.reranker import CrossEncoder, paired
from fmnotes.retrieval.retriever import PageRetriever
from fmnotes.retrieval.store import PageStore
from fmnotes.studies.museum_rows import tokenizer

WORDS = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=12)


# ---------------------------------------------------------------------------------------------------------------- words


def test_words_keep_codes_and_numbers_whole():
    assert (
        terms("Exhibit VK-4172, the Talmanian's; 1672 — 한국어")
        == "exhibit vk-4172 the talmanian s 1672 한국어".split()
    )


def test_english_words_by_their_stems():
    assert english("The makers were making no such relations!") == ["maker", "were", "make", "relat"]
    store = PageStore.from_texts(
        ["He relates.", "It was a relation", "none"], fake(), terms=english, ids=["a", "b", "c"]
    )
    assert {name for name, _ in store.by_words("relating", 3)} == {"a", "b"}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(WORDS, min_size=2, max_size=20), WORDS, st.sampled_from([(1.5, 0.75), (0.9, 0.4), (1.2, 0.0), (2.0, 1.0)])
)
def test_bm25_is_that_of_rank_bm25(pages, query, how):
    from rank_bm25 import BM25Okapi

    k1, b = how
    judge = BM25Okapi(pages, k1=k1, b=b).get_scores([*query, "unheard of"])
    np.testing.assert_allclose(BM25(pages, k1, b).scores([*query, "unheard of"]), judge, atol=1e-9)


def test_bm25_by_hand_and_its_errors():
    # "a" is in 1 of 3 pages, twice in a page of 2 words where pages have 2 on average
    expected = math.log(2.5 / 1.5) * 2 * 2.5 / (2 + 1.5)
    assert BM25([["a", "a"], ["b", "c"], ["c", "d"]]).scores(["a"]) == pytest.approx([expected, 0, 0])
    assert BM25([]).scores(["a"]).shape == (0,)
    for k1, b in ((-1, 0.5), (1, 1.5), (1, -0.1)):
        with pytest.raises(ValueError, match="k1 must be 0 or more and b between 0 and 1"):
            BM25([["a"]], k1, b)


# --------------------------------------------------------------------------------------------------------------- fusion


@settings(deadline=None, max_examples=25)
@given(st.lists(st.permutations("abcdefgh").map(lambda x: x[:5]), min_size=2, max_size=4), st.sampled_from([1, 60]))
def test_rank_fusion_is_that_of_ranx(rankings, k):
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # else it compiles for half a minute
    from ranx import Run, fuse

    runs = [Run({"q": {item: 1 / rank for rank, item in enumerate(r, 1)}}, name=str(n)) for n, r in enumerate(rankings)]
    judge = fuse(runs, method="rrf", params={"k": k})["q"]
    ours = fusion.rrf(rankings, k)
    assert ours == pytest.approx(judge, abs=1e-12)
    assert list(ours.values()) == sorted(ours.values(), reverse=True)


def test_rank_fusion_refuses_what_is_no_ranking():
    with pytest.raises(ValueError, match="something twice"):
        fusion.rrf([["a", "b", "a"]])
    with pytest.raises(ValueError, match="0 or more, not -1"):
        fusion.rrf([["a"]], -1)
    assert fusion.rrf([]) == {}


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.5, 1.0])
def test_marginal_relevance_is_langchains(relevance):
    dice = np.random.default_rng(0)
    for _ in range(20):
        query, pages = dice.normal(size=6), dice.normal(size=(15, 6))
        assert fusion.mmr(query, pages, 7, relevance) == maximal_marginal_relevance(query, list(pages), relevance, 7)
    assert len(fusion.mmr(query, pages, 99, relevance)) == 15
    with pytest.raises(ValueError, match="between 0 and 1"):
        fusion.mmr(query, pages, 3, 1.1)


# ------------------------------------------------------------------------------------------------------------- measures


def test_measures_are_those_of_trec_eval():
    import pytrec_eval

    dice = np.random.default_rng(0)
    items = [f"d{n}" for n in range(30)]
    for _ in range(50):
        relevant = {item: int(grade) for item, grade in zip(items, dice.integers(0, 4, 30)) if dice.random() < 0.4}
        relevant |= {items[0]: 1}
        found = list(dice.permutation(items)[: dice.integers(1, 30)])
        run = {"q": {item: 1.0 - 0.01 * rank for rank, item in enumerate(found)}}
        judge = pytrec_eval.RelevanceEvaluator({"q": relevant}, {"ndcg_cut.10", "recall.5", "recip_rank"})
        judge = judge.evaluate(run)["q"]
        assert measures.recall(found, relevant, 5) == pytest.approx(judge["recall_5"], abs=1e-9)
        assert measures.ndcg(found, relevant, 10) == pytest.approx(judge["ndcg_cut_10"], abs=1e-9)
        assert measures.reciprocal_rank(found, relevant) == pytest.approx(judge["recip_rank"], abs=1e-9)


def test_measures_want_something_to_find():
    for measure in (lambda r: measures.recall(["a"], r, 1), lambda r: measures.ndcg(["a"], r)):
        with pytest.raises(ValueError, match="no page is right"):
            measure({"a": 0})
    assert (
        measures.recall([], {"a": 1}, 5) == measures.ndcg([], {"a": 1}) == measures.reciprocal_rank([], {"a": 1}) == 0
    )


# --------------------------------------------------------------------------------------------------------------- pieces

TEXT = "One two. Three four five!\nSix seven eight nine ten.\n\nEleven? Twelve thirteen.\n\n" + "x" * 30


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab .\n한", max_size=80), st.integers(1, 20))
def test_pieces_hold_all_and_are_short(text, size):
    pieces = split(text, size)
    assert all(0 < len(piece) <= size for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.parametrize("size, overlap", [(30, 0), (60, 0), (30, 12), (100, 40), (10, 5)])
def test_pieces_overlap_and_break_at_the_best_place(size, overlap):
    pieces = split(TEXT, size, overlap)
    assert all(len(piece) <= size for piece in pieces) and "".join(pieces).count("Twelve") >= 1
    for piece in pieces:
        assert piece in TEXT
    if overlap == 0 and size == 60:
        assert pieces == [
            "One two. Three four five!\nSix seven eight nine ten.",
            "Eleven? Twelve thirteen.\n\n" + "x" * 30,
        ]
    if overlap == 12 and size == 30:
        assert pieces[:2] == ["One two. Three four five!", "Six seven eight nine ten."]


def test_pieces_are_counted_as_one_likes():
    pieces = split(TEXT, 4, length=lambda text: len(text.split()))
    assert all(len(piece.split()) <= 4 for piece in pieces) and pieces[0] == "One two."
    assert split("", 5) == split(" \n ", 5) == []
    with pytest.raises(ValueError, match="less than size"):
        split("a", 5, 5)


def test_overlap_repeats_whole_units():
    assert split("a b c d e f g h", 7, 3) == ["a b c", "c d e", "e f g h"]


# --------------------------------------------------------------------------------------------------------------- towers

SMALL = EncoderConfig(text_d_model=16, text_n_layer=2, text_n_head=2, embed_dim=8, token_dim=4, vocab_size=4096)


def small(cls=Encoder):
    torch.manual_seed(0)
    model = cls(SMALL).double().eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return model


def test_the_tower_is_transformers_bert_with_its_mean():
    model = small()
    config = transformers.BertConfig(
        vocab_size=4096, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=192, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
        attn_implementation="eager",
    )  # fmt: skip
    judge = transformers.BertModel(config, add_pooling_layer=False).double().eval()
    judge.load_state_dict(model.text.state_dict())
    ids = torch.randint(0, 4000, (3, 9))
    ids[1, 6:] = SMALL.pad_token_id
    keep = ids != SMALL.pad_token_id
    hidden = judge(ids, attention_mask=keep.long()).last_hidden_state
    whole, each, kept = model(ids)
    mean = torch.stack([row[k].mean(0) for row, k in zip(hidden, keep)])
    torch.testing.assert_close(whole, torch.nn.functional.normalize(model.pooled(mean), dim=-1), atol=1e-10, rtol=0)
    torch.testing.assert_close(
        each[0], torch.nn.functional.normalize(model.each(hidden[0]), dim=-1), atol=1e-10, rtol=0
    )
    assert torch.equal(kept, keep) and not each[1, 6:].any()


def test_late_interaction_by_loops():
    dice = torch.Generator().manual_seed(0)
    q, p = torch.randn(3, 5, 4, generator=dice), torch.randn(2, 7, 4, generator=dice)
    asked, written = torch.rand(3, 5, generator=dice) < 0.7, torch.rand(2, 7, generator=dice) < 0.7
    asked[:, 0] = written[:, 0] = True
    q, p = (torch.nn.functional.normalize(x, dim=-1) for x in (q, p))
    for n in range(3):
        for m in range(2):
            best = [max(float(a @ b) for b in p[m][written[m]]) for a in q[n][asked[n]]]
            value = maxsim(q * asked[..., None], p * written[..., None], asked, written)[n, m].item()
            assert value == pytest.approx(sum(best) / len(best), abs=1e-6)


def test_embeddings_do_not_depend_on_their_neighbours():
    torch.manual_seed(0)
    tower = TowerEmbeddings(Encoder(SMALL), tokenizer(), batch_size=2)
    texts = ["The red star was made by Talo Brenik.", "Who?", "a " * 400, "한국어 질문", "The red star"]
    together = tower.embed(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for text, vector, tokens in zip(texts, together, tower.embed_tokens(texts), strict=True):
        np.testing.assert_allclose(tower.embed_query(text), vector, atol=1e-6)
        assert len(tokens) == min(192, len(tokenizer().encode(text)) + 1)
    with pytest.raises(ValueError, match="text 1 is empty"):
        tower.embed(["a", ""])
    assert tower.embed([]).shape == (0, 8)


def test_late_interaction_remembers_pages(monkeypatch):
    from fmnotes.retrieval import embeddings

    torch.manual_seed(0)
    tower, pages = TowerEmbeddings(Encoder(SMALL), tokenizer()), ["one page", "and another", "a third", "one page"]
    q, *each = tower.embed_tokens(["a question", *pages])
    expected = [float((q @ p.T).amax(1).mean()) for p in each]
    assert tower.maxsim("a question", pages) == pytest.approx(expected, abs=1e-5)
    monkeypatch.setattr(embeddings, "REMEMBERED", 2)
    asked = []
    monkeypatch.setattr(
        tower, "embed_tokens", lambda texts, f=tower.embed_tokens: asked.append(list(texts)) or f(texts)
    )
    assert tower.maxsim("a question", pages) == pytest.approx(expected, abs=1e-5)
    tower.maxsim("a question", pages[:1])
    assert asked == [["a question"], ["one page"], ["a question"]]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    """A model of sentence-transformers with random weights."""
    from sentence_transformers import SentenceTransformer, models

    folder = tmp_path_factory.mktemp("sentences")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder / "bert")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    bert = models.Transformer(str(folder / "bert"))
    model = SentenceTransformer(modules=[bert, models.Pooling(32, "mean"), models.Normalize()], device="cpu")
    model.save(str(folder / "model"))
    return folder / "model"


def test_any_model_of_sentence_transformers_finds_pages(sentences):
    embedding, pages = SentenceEmbeddings(str(sentences)), ["one page", "and another", "a third"]
    vectors = embedding.embed(pages)
    assert vectors.shape == (3, 32) and vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert embedding.embed_query("and another") == pytest.approx(vectors[1], abs=1e-5)
    tokens = embedding.embed_tokens(["abc", "ab"])
    assert [len(one) for one in tokens] == [5, 4]  # with the marks of start and end, without padding
    reference = transformers.BertModel.from_pretrained(sentences.parent / "bert").eval()
    tokenizer_ = transformers.BertTokenizerFast.from_pretrained(sentences.parent / "bert")
    with torch.no_grad():
        hidden = reference(**tokenizer_("abc", return_tensors="pt")).last_hidden_state[0]
    assert torch.allclose(tokens[0], hidden / hidden.norm(dim=-1, keepdim=True), atol=1e-5)
    store = PageStore.from_texts(pages, embedding, ids=["a", "b", "c"])
    retriever = PageRetriever(store=store, lexical=False, rerank=embedding.maxsim)
    assert retriever.ranked("and another", 1) == ["b"]
    with pytest.raises(FileNotFoundError, match="no-such-model"):
        SentenceEmbeddings("nobody/no-such-model")


def test_a_collection_in_beirs_layout(tmp_path):
    (tmp_path / "qrels").mkdir()
    names = "".join(
        f"- config_name: {n}\n  data_files:\n  - split: {n}\n    path: {n}.jsonl\n" for n in ("corpus", "queries")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{names}---\n")
    rows = [{"_id": "1", "title": "A wing", "text": "flies."}, {"_id": "2", "title": "", "text": ""}]
    rows += [{"_id": "3", "title": "", "text": "no title"}]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "7", "text": "what flies?"}) + "\n")
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n7\t1\t2\n7\t3\t0\n")
    pages, questions, relevant = collection(str(tmp_path))
    assert pages == {"1": "A wing\nflies.", "3": "no title"}
    assert questions == {"7": "what flies?"} and relevant == {"7": {"1": 2}}
    with pytest.raises(FileNotFoundError):
        collection(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("cls", [Encoder, CrossEncoder])
def test_towers_save_and_open(cls, tmp_path):
    model = small(cls).float()
    model.save_pretrained(tmp_path / "a")
    again = cls.from_pretrained(tmp_path / "a").eval()
    ids = torch.randint(0, 4000, (2, 9))
    for one, other in zip(model(ids), again(ids)):
        assert torch.equal(one, other)
    other = CrossEncoder if cls is Encoder else Encoder
    with pytest.raises(ValueError, match="another kind of model"):
        other.from_pretrained(tmp_path / "a")


def test_pairs_are_laid_out_and_cut():
    ids = paired(SMALL, [[1, 2], [3]], [[7] * 3, [8] * 300])
    end, pad = SMALL.eos_token_id, SMALL.pad_token_id
    assert ids.shape == (2, 192) and ids[0, :9].tolist() == [end, 1, 2, end, 7, 7, 7, pad, pad]
    assert ids[1, :4].tolist() == [end, 3, end, 8] and ids[1, -1] == 8
    with pytest.raises(ValueError, match="leaves no room"):
        paired(SMALL, [[1] * 200], [[2]])


@pytest.mark.parametrize("wrong", [{"text_n_head": 3}, {"embed_dim": 0}, {"text_d_model": 1.5}])
def test_a_shape_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="heads do not divide|positive whole number"):
        EncoderConfig(**wrong)


# ---------------------------------------------------------------------------------------------------------------- store


def fake(size: int = 16) -> DeterministicFakeEmbedding:
    return DeterministicFakeEmbedding(size=size)


def filled(n: int = 50, **options) -> PageStore:
    texts = [f"page {number} about thing {number % 7}" for number in range(n)]
    metadata = [{"museum": f"M{number % 3}", "year": number} for number in range(n)]
    return PageStore.from_texts(texts, fake(), metadata, ids=[f"id-{number}" for number in range(n)], **options)


@pytest.mark.parametrize("m", [None, 8])
def test_the_nearest_are_the_nearest(m):
    store = filled(m=m)
    vectors = np.array(fake().embed_documents([page.page_content for page in store.pages.values()]))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for question in ("a", "b", "page 7 about thing 0"):
        query = np.array(fake().embed_query(question))
        cosines = vectors @ query / np.linalg.norm(query)
        best = np.argsort(-cosines)
        found = store.nearest(query, 5)
        assert [name for name, _ in found] == [f"id-{n}" for n in best[:5]]
        assert [cosine for _, cosine in found] == pytest.approx(cosines[best[:5]], abs=1e-5)
        of_one = [n for n in best if n % 3 == 1]
        assert [name for name, _ in store.nearest(query, 4, {"museum": "M1"})] == [f"id-{n}" for n in of_one[:4]]
        assert store.nearest(query, 3, {"museum": "M1", "year": 4})[0][0] == "id-4"
        assert store.nearest(query, 3, {"museum": "none"}) == [] == store.nearest(query, 3, among=[])
        some = [f"id-{n}" for n in best[10:20]]
        assert [name for name, _ in store.nearest(query, 4, among=some[::-1])] == some[:4]
        assert len(store.nearest(query, 999)) == 50


@pytest.mark.parametrize("m", [None, 8])
def test_pages_are_added_changed_and_deleted(m):
    store = filled(m=m)
    assert store.delete(["id-3", "id-4"]) and not store.delete(["id-3"]) and len(store) == 48
    assert "id-3" not in [name for name, _ in store.nearest(fake().embed_query("page 3 about thing 3"), 48)]
    store.add_texts(["quite another thing"], [{"museum": "M9"}], ids=["id-5"])
    assert store.similarity_search("quite another thing", 1)[0].metadata == {"museum": "M9"} and len(store) == 48
    assert [name for name, _ in store.by_words("another", 9)] == ["id-5"]
    assert store.add_texts(["new", "newer"], ids=[None, "x"]) == ["page-48", "x"]
    for number in range(6, 45):
        store.delete([f"id-{number}"])  # more than half: the index is made anew on the way
    assert len(store._owners) < 30 and len(store) == 11
    assert store.similarity_search("newer", 1)[0].id == "x"
    assert {page.id for page in store.similarity_search("newer", 99)} == set(store.pages)
    store.delete()
    assert len(store) == 0 and store.similarity_search("newer") == [] == store.by_words("newer", 3)


def test_a_filter_admits_what_a_look_at_every_page_does():
    store = filled(30)
    store.add_texts(["odd", "odder"], [{"museum": ["M1"], "year": 4}, {"year": None}], ids=["list", "none"])

    def admits(wanted):
        return [n for n, page in store.pages.items() if all(page.metadata.get(f) == v for f, v in wanted.items())]

    filters = [{"museum": "M1"}, {"museum": "M1", "year": 4}, {"year": 4}, {"museum": ["M1"]}, {"museum": "M7"}]
    filters += [{"museum": None}, {"museum": ["M1"], "year": 4}, {"nothing": None}, {"nothing": 1}]
    for _ in range(2):
        for wanted in filters:
            assert store.admitted(wanted) == admits(wanted)
            words = [name for name, _ in store.by_words("page about odd thing", 99, wanted)]
            assert set(words) == set(admits(wanted)) - {"none"}  # "odder" is no word of the question
        assert len(store.admitted({"museum": "M1"})) in (10, 9)
        store.delete(["id-4"])
        store.add_texts(["page about"], [{"museum": "M7"}], ids=["late"])  # the second time it is the same page


def test_the_best_by_words_are_the_first_of_all():
    store = filled(50)
    for question in ("thing 3", "page", "page 7 about thing 0"):
        every = store.by_words(question, 50)
        assert [score for _, score in every] == sorted((score for _, score in every), reverse=True)
        for k in (1, 4, 49):
            assert store.by_words(question, k) == every[:k]
    assert store.by_words("nothing that is there", 3) == []


def test_a_store_refuses_and_keeps_what_it_has():
    store = filled(5)
    before = list(store.pages)
    for arguments, message in (
        ({"texts": ["a", " "]}, "page 'page-6' is empty"),
        ({"texts": ["a", "b"], "ids": ["x", "x"]}, "the id 'x' comes twice"),
        ({"texts": ["a", "b"], "ids": ["x"]}, "2 texts, 2 metadatas and 1 ids"),
        ({"texts": ["a"], "metadatas": [{}, {}]}, "1 texts, 2 metadatas and 1 ids"),
    ):
        with pytest.raises(ValueError, match=message):
            store.add_texts(**arguments)
    assert list(store.pages) == before and store.add_texts([]) == []
    store.embedding = fake(8)
    with pytest.raises(ValueError, match="the embedding has changed"):
        store.add_texts(["a"], ids=["id-0"])
    with pytest.raises(ValueError, match="8 numbers, those of the store 16"):
        store.similarity_search("a")
    store.embedding = fake()
    assert list(store.pages) == before
    for question in ("", "  \n"):
        with pytest.raises(ValueError, match="the query is empty"):
            store.similarity_search(question)
        with pytest.raises(ValueError, match="the question is empty"):
            PageRetriever(store=store).invoke(question)
    with pytest.raises(ValueError, match="k must be 1 or more"):
        store.nearest(fake().embed_query("a"), 0)
    with pytest.raises(ValueError, match="points nowhere"):
        store.nearest([0.0] * 16, 1)
    with pytest.raises(ValueError, match="m must be 2 or more"):
        PageStore(fake(), m=1)
    store.get_by_ids(["id-0"])[0].metadata["museum"] = "changed"
    assert store.pages["id-0"].metadata["museum"] == "M0"


def test_a_page_in_pieces_is_found_whole_and_once():
    long = "\n\n".join(f"Part {n} is about thing {n}." for n in range(200))
    store = PageStore(fake(), split=lambda text: split(text, 40))
    store.add_texts([long, "short"], ids=["long", "short"])
    assert len(store._owners) == 201
    assert [page.id for page in store.similarity_search("Part 77 is about thing 77.", 2)] == ["long", "short"]
    assert store.similarity_search("Part 77 is about thing 77.", 1)[0].page_content == long
    store.delete(["long"])
    assert len(store._owners) == 1 and store.similarity_search("Part 77", 2)[0].id == "short"


def test_vectors_that_are_there_need_not_be_made_again():
    store, known = filled(20), PageStore(fake())
    texts = [page.page_content for page in store.pages.values()]
    known.add_texts(texts, ids=list(store.pages), vectors=np.array(fake().embed_documents(texts)))
    query = fake().embed_query("a")
    assert known.nearest(query, 20) == store.nearest(query, 20)
    with pytest.raises(ValueError, match="19 vectors do not belong to 20 pieces"):
        known.add_texts(texts, vectors=np.ones((19, 16)))
    assert len(known) == 20


def test_marginal_relevance_in_the_store():
    texts = ["a", "b", "c", "d", "e", "f"]
    store = PageStore.from_texts(texts, fake())
    query, vectors = fake().embed_query("z"), np.array(fake().embed_documents(texts))
    chosen = maximal_marginal_relevance(np.array(query), list(vectors), 0.3, 4)
    found = store.max_marginal_relevance_search("z", 4, fetch_k=6, lambda_mult=0.3)
    assert [page.page_content for page in found] == [texts[n] for n in chosen]


@pytest.mark.parametrize("m", [None, 8])
def test_a_store_is_saved_and_loaded(m, tmp_path):
    store = filled(m=m)
    store.delete(["id-7"])
    store.save(tmp_path / "s")
    again = PageStore.load(tmp_path / "s", fake())
    assert again.pages == store.pages and (again.m, again.ef) == (m, 64)
    for question in ("a", "page 7 about thing 0"):
        assert again.similarity_search_with_score(question, 9) == store.similarity_search_with_score(question, 9)
    again.add_texts(["more"], ids=["id-7"])
    again.save(tmp_path / "s")
    assert [path.name for path in (tmp_path / "s").iterdir() if path.is_dir()] == ["2"]
    assert len(PageStore.load(tmp_path / "s", fake())) == 50
    empty = PageStore(fake(), m=m)
    empty.save(tmp_path / "e")
    assert len(PageStore.load(tmp_path / "e", fake())) == 0


def test_a_damaged_or_strange_store_is_refused(tmp_path):
    folder = tmp_path / "s"
    filled(m=8).save(folder)
    with pytest.raises(ValueError, match="made with another embedding"):
        PageStore.load(folder, fake(8))
    with pytest.raises(ValueError, match="made with another embedding"):
        PageStore.load(folder, TurnedEmbedding(size=16))
    for name in ("pages.json", "vectors.safetensors", "index.faiss"):
        content = (folder / "1" / name).read_bytes()
        (folder / "1" / name).write_bytes(content[:-1] + b"?")
        with pytest.raises(ValueError, match=f"{name} is damaged or missing"):
            PageStore.load(folder, fake())
        (folder / "1" / name).unlink()
        with pytest.raises(ValueError, match=f"{name} is damaged or missing"):
            PageStore.load(folder, fake())
        (folder / "1" / name).write_bytes(content)
    assert len(PageStore.load(folder, fake())) == 50
    for wrong in ("", "[]", "{}", '{"kind": "other"}'):
        (folder / "store.json").write_text(wrong)
        with pytest.raises(ValueError, match="not what a store writes"):
            PageStore.load(folder, fake())
    with pytest.raises(FileNotFoundError, match="no store was saved there"):
        PageStore.load(tmp_path, fake())
    with pytest.raises(ValueError, match="choose an empty folder"):
        filled().save(tmp_path)
    store = PageStore.from_texts(["a"], fake(), [{"x": object()}])
    with pytest.raises(ValueError, match="what JSON can hold"):
        store.save(tmp_path / "t")
    assert not any((tmp_path / "t").iterdir())


class TurnedEmbedding(DeterministicFakeEmbedding):
    def embed_query(self, text):
        return super().embed_query(text)[::-1]


@pytest.mark.parametrize("moment", ["pages.json", "vectors.safetensors", "store.json.new"])
def test_a_store_that_is_killed_while_it_saves_is_the_old_one(moment, tmp_path):
    filled(5).save(tmp_path / "s")
    script = f"""
import os, signal
from pathlib import Path
from langchain_core.embeddings import DeterministicFakeEmbedding
from fmnotes.retrieval import saving
from fmnotes.retrieval.store import PageStore
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
store = PageStore.load({str(tmp_path / "s")!r}, DeterministicFakeEmbedding(size=16))
store.add_texts(["more"] )
if {moment!r} == "vectors.safetensors": saving.save_file = die
elif {moment!r} == "pages.json": Path.write_text = die
else: Path.replace = die
store.save({str(tmp_path / "s")!r})
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=os.environ, capture_output=True, timeout=120)
    assert done.returncode == -9, done.stderr.decode()[-500:]
    store = PageStore.load(tmp_path / "s", fake())
    assert len(store) == 5
    store.save(tmp_path / "s")
    assert len([path for path in (tmp_path / "s").iterdir() if path.is_dir()]) == 1
    assert json.loads((tmp_path / "s" / "store.json").read_text())["kind"] == saving.KIND


# ------------------------------------------------------------------------------------------------------------ retriever


def test_a_retriever_fuses_and_ranks_anew():
    store = filled()
    question = "page 7 about thing 0"
    dense = [name for name, _ in store.nearest(fake().embed_query(question), 50)]
    words = [name for name, _ in store.by_words(question, 50)]
    assert PageRetriever(store=store, lexical=False).ranked(question, 9) == dense[:9]
    assert PageRetriever(store=store, dense=False).ranked(question, 9) == words[:9]
    assert PageRetriever(store=store).ranked(question, 9) == list(fusion.rrf([dense, words]))[:9]
    few = PageRetriever(store=store, candidates=3, dense=False, rerank=lambda q, pages: [len(q) + n for n in range(3)])
    assert few.ranked(question, 2) == words[:3][::-1][:2]
    turned = PageRetriever(store=store, lexical=False, rewrite=lambda q: q.replace("7", "8"))
    assert turned.ranked(question, 3) == [
        name for name, _ in store.nearest(fake().embed_query("page 8 about thing 0"), 3)
    ]
    only = PageRetriever(store=store).invoke(question, k=4, filter={"museum": "M2"})
    assert len(only) == 4 and {page.metadata["museum"] for page in only} == {"M2"}
    with pytest.raises(ValueError, match="both off"):
        PageRetriever(store=store, dense=False, lexical=False)
    assert PageRetriever(store=PageStore(fake())).invoke("anything") == []
    assert len(PageRetriever(store=store).invoke("무엇입니까?", k=60)) == 50

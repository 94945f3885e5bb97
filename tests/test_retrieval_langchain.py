"""LangChain's own suites, over our implementations of its interfaces."""

import pytest
import torch
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import (
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)

from fmnotes.retrieval.embeddings import TowerEmbeddings
from fmnotes.retrieval.encoder import Encoder, EncoderConfig
from fmnotes.retrieval.retriever import PageRetriever
from fmnotes.retrieval.store import PageStore
from fmnotes.studies.museum_rows import tokenizer


class TestExactStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return PageStore(self.get_embeddings())


class TestGraphStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self):
        return PageStore(self.get_embeddings(), m=8)


class TestRetriever(RetrieversIntegrationTests):
    retriever_constructor = PageRetriever
    retriever_query_example = "a question"

    @property
    def retriever_constructor_params(self):
        texts = ["a page", "another page", "a third question", "none"]
        return {"store": PageStore.from_texts(texts, DeterministicFakeEmbedding(size=8))}


class TestTowerEmbeddings(EmbeddingsIntegrationTests):
    embeddings_class = TowerEmbeddings

    @property
    def embedding_model_params(self):
        torch.manual_seed(0)
        config = EncoderConfig(text_d_model=16, text_n_layer=1, text_n_head=2, embed_dim=8)
        return {"encoder": Encoder(config), "tokenizer": tokenizer()}

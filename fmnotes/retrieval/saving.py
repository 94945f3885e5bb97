"""A store on the disk: JSON, safetensors, and faiss's own format; no pickle.

    store.json            what there is, and the SHA-256 of each file
    3/pages.json          texts and metadata
    3/vectors.safetensors
    3/index.faiss         with HNSW only: an exact index is its vectors

Every saving writes a new folder first and then replaces `store.json`, which is one step for the file system. So a store
that is killed while it saves is the old one, and never half of either.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import faiss
import numpy as np
from langchain_core.documents import Document
from safetensors.numpy import load_file, save_file

from fmnotes.retrieval.index import unit_rows
from fmnotes.retrieval.store import PageStore

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

KIND = "fmnotes-store"
PROBE = "Which river flows through the city?"  # tells embeddings apart
CLOSE = 1e-2  # how far two embeddings of it may differ, for they are computed on other machines too


def save(store: PageStore, folder: str | Path) -> None:
    """Write a store; what lay in the folder before stays until the new one is whole.

    Raises:
        ValueError: if the folder holds something else, or a page's metadata cannot be written as JSON.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()) and not (folder / "store.json").exists():
        raise ValueError(f"{folder} holds something that is no store: choose an empty folder")
    parts = [int(path.name) for path in folder.glob("*") if path.is_dir() and path.name.isdigit()]
    new = folder / str(max(parts, default=0) + 1)
    new.mkdir(parents=True)
    try:
        _write(store, new)
    except BaseException:
        shutil.rmtree(new)
        raise
    content = {
        "kind": KIND,
        "folder": new.name,
        "m": store.m,
        "ef": store.ef,
        "pages": len(store),
        "files": {path.name: _hash(path) for path in sorted(new.iterdir())},
    }
    half = folder / "store.json.new"
    half.write_text(json.dumps(content, indent=1) + "\n")
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.replace(folder / "store.json")
    for old in parts:
        shutil.rmtree(folder / str(old))


def _write(store: PageStore, new: Path) -> None:
    try:
        pages = [[name, page.page_content, page.metadata] for name, page in store.pages.items()]
        (new / "pages.json").write_text(json.dumps({"pages": pages, "owners": store._owners}, ensure_ascii=False))
    except TypeError as error:
        raise ValueError(f"metadata must be what JSON can hold: {error}") from error
    probe = unit_rows([store.embedding.embed_query(PROBE)])
    save_file({"vectors": store._vectors, "probe": probe}, new / "vectors.safetensors")
    if store.m is not None and store._index is not None:
        faiss.write_index(store._index, str(new / "index.faiss"))
    for path in new.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def load(folder: str | Path, embedding: Embeddings, **functions: Callable) -> PageStore:
    """Read a store that `save` wrote.

    Args:
        functions: `split` and `terms` of the store, which no file holds.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file is damaged or missing, or the embedding is not the one that the store was made with.
    """
    folder = Path(folder)
    if not (folder / "store.json").is_file():
        raise FileNotFoundError(f"{folder} has no store.json: no store was saved there")
    try:
        content = json.loads((folder / "store.json").read_text())
        whole = content["kind"] == KIND
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{folder / 'store.json'} is not what a store writes: it is damaged, or something else")
    inner = folder / content["folder"]
    for name, wanted in content["files"].items():
        if not (inner / name).is_file() or _hash(inner / name) != wanted:
            raise ValueError(f"{inner / name} is damaged or missing: make the store anew from its pages")
    written, arrays = json.loads((inner / "pages.json").read_text()), load_file(inner / "vectors.safetensors")
    probe = unit_rows([embedding.embed_query(PROBE)])
    if probe.shape != arrays["probe"].shape or np.abs(probe - arrays["probe"]).max() > CLOSE:
        raise ValueError(
            f"the store in {folder} was made with another embedding: its vectors mean nothing to this one. Load it "
            "with the same, or embed its pages anew in a new store"
        )
    store = PageStore(embedding, content["m"], content["ef"], **functions)
    store.pages = {name: Document(page_content=text, metadata=m, id=name) for name, text, m in written["pages"]}
    if (inner / "index.faiss").exists():
        store._owners, store._vectors = written["owners"], arrays["vectors"]
        store._index = faiss.read_index(str(inner / "index.faiss"))
    else:
        store._grow(arrays["vectors"], written["owners"])
    return store


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

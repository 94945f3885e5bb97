"""Data and models by name, from wherever they are: the museum, a folder, a local mirror of the hub, the hub.

A name is ``museum/<config>``, a folder, or a hub id like ``roneneldan/TinyStories``. A hub id is looked up under
``$FMNOTES_MIRROR`` first (a folder that holds one folder for each id; relative to the project's folder).
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fmnotes import ROOT

MUSEUM = ROOT / "data" / "museum"


def load(
    name: str,
    config: str | None = None,
    split: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    streaming: bool = False,
    seed: int = 0,
):
    """Load a data set.

    Args:
        name: "museum/<config>", a folder, or a hub id. Judgements in BEIR's layout have the id "<owner>/<name>-qrels".
        config: the configuration, if the data set has several; the museum's is in its name.
        split: like "train" or "train[:100]"; without it all splits come, as a dict.
        columns: the only columns wanted, as a list.
        streaming: read row by row instead of all at once, for what is larger than the disk.
        seed: of the museum's training rows, which are made while they are read and never end.

    Returns:
        a ``datasets.Dataset``, or IterableDataset if streamed (the museum's "train" always is); a DatasetDict of
        them without a split. The museum's rows carry their pictures, which are drawn when a row is read: take
        ``ds[0]["image"]`` or ``ds[:]["image"]``, as ``ds["image"]`` asks for a column that is stored, and it is not.

    Raises:
        FileNotFoundError: if the data set is not to be had; it lists what is, and the ways to provide it.
        ValueError: if it has no such configuration, split or column; it lists those that it has. Also for a part of
            the museum's "train", which never ends.
        TypeError: if the columns are one str.
    """
    if isinstance(columns, str):
        raise TypeError(f"columns must be a list of names like [{columns!r}], not the str {columns!r}")
    family, _, part = name.partition("/")
    if family == "museum":
        if part and config is not None:
            raise ValueError(f"{name} names its configuration already, so config={config!r} is one too many")
        return _museum(part, split, columns, streaming, seed)
    place = resolve(name)
    if isinstance(place, Path):
        dataset = _from_folder(name, place, config, split, streaming)
    else:
        dataset = _from_hub(name, config, split, streaming)
    return _select(name, dataset, columns)


def load_model(name: str, cls: type | None = None, **options):
    """Load pretrained weights into a transformers model, in evaluation mode; from safetensors only.

    Args:
        name: a folder or a hub id.
        cls: the class of the model; ``transformers.AutoModel`` without it.
        options: for the class's ``from_pretrained``, like ``dtype``.

    Raises:
        FileNotFoundError: if the model is not to be had, or has no safetensors: pickled weights can run code.
    """
    import transformers

    cls = cls or transformers.AutoModel
    options |= {"use_safetensors": True, "trust_remote_code": False}
    if isinstance(resolve(name), Path):
        with _no_progress_bars():
            return cls.from_pretrained(model_folder(name), local_files_only=True, **options)
    try:
        return cls.from_pretrained(name, **options)
    except OSError as error:
        raise _missing(name, "model", error) from error


def model_folder(name: str) -> Path:
    """The folder of a pretrained model with its configuration, vocabulary and safetensors; fetched if it is a hub id.

    Raises:
        FileNotFoundError: if the model is not to be had, or has no safetensors.
    """
    place = resolve(name)
    if isinstance(place, str):
        from huggingface_hub import snapshot_download

        try:
            place = Path(snapshot_download(place, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
        except Exception as error:  # of the network, the hub, or its cache: each of another kind
            raise _missing(name, "model", error) from error
    if not list(place.glob("*.safetensors")):
        there = ", ".join(sorted(file.name for file in place.iterdir())) or "nothing"
        raise FileNotFoundError(f"{name} holds no .safetensors, the only weights that are loaded; it holds {there}")
    return place


def resolve(name: str) -> Path | str:
    """Where a name leads: a folder that is here, else the hub id itself.

    Raises:
        FileNotFoundError: if it is no folder and cannot be a hub id.
    """
    if not name:
        raise FileNotFoundError("the name is empty: give a folder, or a hub id like owner/name")
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise FileNotFoundError(f"there is no folder {name}, and a hub id looks like owner/name")
    if mirror := _mirror():
        for place in (mirror / name, mirror / name.removesuffix("-qrels") / "qrels"):
            if place.is_dir():
                return place
    return name


def checkpoint(name: str) -> Path:
    """The folder of a shipped checkpoint, like "tokenizer-museum".

    Raises:
        FileNotFoundError: if there is none of that name; it lists those that are there.
    """
    folder = ROOT / "data" / "checkpoints"
    there = sorted(place.name for place in folder.glob("*") if place.is_dir())
    if name not in there:  # so that a name is never a path
        listed = ", ".join(there) or "none"
        raise FileNotFoundError(f"there is no checkpoint {name!r} under data/checkpoints; there are: {listed}")
    return folder / name


def data_hash(rows: Iterable) -> str:
    """A hash of rows (dicts, texts, numbers, pictures, arrays) that two runs on the same data share, for records.

    Raises:
        TypeError: if a row holds anything else, or rows is one text or dict, of which only letters or keys would count.
    """
    if isinstance(rows, (str, bytes, Mapping)):
        raise TypeError(f"give rows, like a list, not one {type(rows).__name__}")
    digest = hashlib.sha256()
    for number, row in enumerate(rows):
        try:
            digest.update(json.dumps(row, sort_keys=True, default=_plain).encode() + b"\n")
        except TypeError as error:
            raise TypeError(
                f"row {number} cannot be hashed, {error}: give dicts whose keys are all str, texts, numbers, arrays or "
                "pictures"
            ) from None
    return f"sha256:{digest.hexdigest()[:16]}"


def _museum(config: str, split: str | None, columns: Sequence[str] | None, streaming: bool, seed: int):
    import datasets

    from fmnotes import museum

    if not (MUSEUM / "README.md").exists():
        raise FileNotFoundError("data/museum is not here: `python -m fmnotes museum build` makes it")
    if not config:
        names = ", ".join(f"museum/{name}" for name in datasets.get_dataset_config_names(str(MUSEUM)))
        raise ValueError(f"the museum has several data sets: choose one of {names}")
    parts = [part.partition("[")[0].strip() for part in (split or "").split("+")]
    if split != "train" and "train" in parts:
        raise ValueError(
            f"{split!r} cannot be cut out: the museum's train split is an endless stream: use .take(n) on split='train'"
        )
    if split == "train":
        _choose_config("museum", MUSEUM, config)
        rows = {"config": config, "split": "train", "seed": seed}
        dataset = datasets.IterableDataset.from_generator(museum.stream, gen_kwargs=rows)
    else:
        dataset = _from_folder("museum", MUSEUM, config, split, streaming, extra=("train",))
    if columns is None or "image" in columns:
        dataset = museum.with_pictures(dataset)
    return _select(f"museum/{config}", dataset, columns)


def _from_folder(name: str, folder: Path, config: str | None, split: str | None, streaming: bool, extra: tuple = ()):
    import datasets

    config = _choose_config(name, folder, config)
    try:
        splits = datasets.get_dataset_split_names(str(folder), config)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name} lists the configuration {config}, but its files are missing") from error
    _check_split(name, split, [*extra, *splits])
    with _no_progress_bars():
        return datasets.load_dataset(str(folder), config, split=split, streaming=streaming, cache_dir=_cache(folder))


def _from_hub(name: str, config: str | None, split: str | None, streaming: bool):
    import datasets

    try:
        configs = datasets.get_dataset_config_names(name)
        config = _check_config(name, config, configs, datasets.get_dataset_default_config_name(name))
        _check_split(name, split, datasets.get_dataset_split_names(name, config))
        return datasets.load_dataset(name, config, split=split, streaming=streaming)
    except OSError as error:  # offline, no such id, or no way to it: all are OSErrors
        raise _missing(name, "data set", error) from error


def _choose_config(name: str, folder: Path, config: str | None) -> str:
    import datasets

    try:
        configs = datasets.get_dataset_config_names(str(folder))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"the folder {folder} holds no files of data, like .parquet or .jsonl") from error
    return _check_config(name, config, configs, datasets.get_dataset_default_config_name(str(folder)))


def _check_config(name: str, config: str | None, configs: list[str], default: str | None) -> str:
    config = config or default
    if config not in configs:
        what = f"has no configuration {config!r}" if config else "has several configurations"
        raise ValueError(f"{name} {what}: choose one of {', '.join(configs)}")
    return config


def _check_split(name: str, split: str | None, splits: Sequence[str]) -> None:
    for part in (split or "").split("+"):
        base = part.partition("[")[0].strip()
        if split is not None and base not in splits:
            raise ValueError(f"{name} has no split {base!r}: choose from {', '.join(splits)}")


def _select(name: str, dataset, columns: Sequence[str] | None):
    if columns is None:
        return dataset
    if isinstance(dataset, dict):
        return type(dataset)({split: _select(name, part, columns) for split, part in dataset.items()})
    draw = dataset.format["format_kwargs"].get("transform") if hasattr(dataset, "format") else None
    there = list(next(iter(dataset))) if draw or not dataset.column_names else dataset.column_names
    if missing := [column for column in columns if column not in there]:
        raise ValueError(f"{name} has no column {missing[0]!r}: choose from {', '.join(there)}")
    if draw:  # pictures are drawn from columns that must stay for it
        return dataset.with_transform(
            lambda batch: {key: column for key, column in draw(batch).items() if key in columns}
        )
    return dataset.select_columns(list(columns))


def _mirror() -> Path | None:
    setting = os.environ.get("FMNOTES_MIRROR")
    if not setting:
        return None
    folder = (ROOT / Path(setting).expanduser()).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"FMNOTES_MIRROR is {setting}, but {folder} is not a folder")
    return folder


def _missing(name: str, kind: str, error: Exception) -> FileNotFoundError:
    mirror, flag = _mirror(), " --repo-type dataset" if kind == "data set" else ""
    here = (
        sorted(f"{place.parent.name}/{place.name}" for place in mirror.glob("*/*") if place.is_dir()) if mirror else []
    )
    offline = any(os.environ.get(key, "0") not in ("0", "") for key in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
    return FileNotFoundError(
        f"the {kind} {name} is not here, and the hub did not give it ({type(error).__name__}). To provide it:\n"
        f"1. set FMNOTES_MIRROR to a folder that holds {name}"
        + (f"; the one that is set holds {', '.join(here) or 'nothing'}\n" if mirror else " (it is not set)\n")
        + "2. or give the path of a folder that holds it in place of the name\n"
        + ("3. or go online: unset HF_HUB_OFFLINE and HF_DATASETS_OFFLINE" if offline else "3. or go online")
        + f"; `hf download{flag} {name}` fetches it once for all"
    )


def _cache(folder: Path) -> str:
    """A cache of its own for each folder and state of its files.

    The library's cache knows a folder with a README by its last name alone, so two such folders, or one whose files
    have changed, would be taken for each other.
    """
    import datasets

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps([str(folder), state]).encode()).hexdigest()[:16]
    return str(Path(datasets.config.HF_DATASETS_CACHE) / "fmnotes" / key)


@contextmanager
def _no_progress_bars():
    """Reading a folder takes a moment, and its bars would stay in the notebook's output."""
    import datasets

    transformers = sys.modules.get("transformers.utils.logging")  # not worth loading for a data set
    before = datasets.are_progress_bars_disabled(), transformers and transformers.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    if before[1]:
        transformers.disable_progress_bar()
    try:
        yield
    finally:
        if not before[0]:
            datasets.enable_progress_bars()
        if before[1]:
            transformers.enable_progress_bar()


def _plain(value) -> object:
    """What JSON cannot hold, as something that it can."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "tobytes") and hasattr(value, "size"):  # a NumPy array or a PIL picture
        dtype = getattr(value, "dtype", getattr(value, "mode", ""))
        addresses = getattr(dtype, "hasobject", False)  # bytes of an array of objects, other ones in each run
        content = value.tolist() if addresses else hashlib.sha256(value.tobytes()).hexdigest()
        return [str(dtype), list(getattr(value, "shape", value.size)), content]
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"it holds a value of type {type(value).__name__}")

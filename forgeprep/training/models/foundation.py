"""A foundation model that tells fakes: a vision transformer of CLIP or DINO, tuned a little, and a linear verdict.

Its weights are a folder on this machine as transformers keeps it, with ``config.json`` and ``model.safetensors``, or
the name of one that ``forgeprep weights fetch`` got; nothing is fetched here, and nothing in it is run. A training
notes the architecture and keeps all weights, so the folder is needed where it begins, and not afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from forgeprep.errors import UsageError
from forgeprep.io.safe_files import read_json
from forgeprep.training.fetched import VITS, folder_of
from forgeprep.training.models.base import Batch, ForgeryModel, Normalised, verdict, verdict_loss

KINDS = ("clip_vision_model", "dinov2", "dinov2_with_registers", "dinov3_vit")
"""Architectures, by what transformers calls them."""
ADAPTED = ("q_proj", "v_proj", "query", "value")
"""Layers of the attention that LoRA adds to."""
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LARGE = {
    "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
    "num_attention_heads": 16, "image_size": 224, "patch_size": 14, "projection_dim": 768,
}  # fmt: skip
"""CLIP's ViT-L/14, to tell its size without weights."""
GET = f"one of {', '.join(VITS)}, which 'forgeprep weights fetch NAME' gets"


class FoundationViT(ForgeryModel):
    """The whole model.

    Args:
        path: folder of the weights, or the name of those that were fetched; it has to be given.
        tune: what is learnt besides the verdict: the ``layernorm`` layers, ``lora``, a small addition to queries and
            values of each attention, or with ``linear`` nothing.
        rank: of ``lora``.
        l2: whether features are brought to length 1 before the verdict.
        classes: methods and real for the n-way verdict, or 0 for real and fake.
        vision: the architecture, which a training notes.

    Outputs: ``logit`` (B,); with ``classes``, ``classes`` (B, classes).

    Raises:
        UsageError: there is no such folder, or it is of another kind of model; peft is asked for and absent.
        ForgeprepError: the named weights have not been fetched.
    """

    def __init__(
        self,
        path: str = "",
        tune: Literal["layernorm", "lora", "linear"] = "layernorm",
        *,
        rank: PositiveInt = 8,
        l2: bool = True,
        classes: Annotated[int, Field(ge=0)] = 0,
        vision: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if vision is None:
            vision = read_vision(folder_of(path)) if path else _without_path()
        self.path, self.vision, self.l2 = path, dict(vision), l2
        self.net = _network(self.vision["config"])
        self.scale = Normalised(self.vision["mean"], self.vision["std"])
        self.net.requires_grad_(False)
        if tune == "lora":
            _add_lora(self.net, rank)
        for module in self.net.modules():
            if tune == "layernorm" and isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)
        self.fc = nn.Linear(int(self.vision["config"]["hidden_size"]), max(1, classes))

    def noted(self) -> dict[str, Any]:
        """The architecture."""
        return {"vision": self.vision}

    def begin(self) -> None:
        """Read the weights."""
        folder = folder_of(self.path)
        pretrained = _read_weights(folder, self.net)
        own = self.net.state_dict()
        told = {name: name.replace(".base_layer.", ".") for name in own if ".lora_" not in name}
        odd = [theirs for theirs in told.values() if theirs not in pretrained]
        if odd:
            raise UsageError(f"{folder}: lacks weights of its own configuration, the first is {odd[0]}")
        self.net.load_state_dict({name: pretrained[theirs] for name, theirs in told.items()}, strict=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Images whose sides are multiples of the patches' (14, 16); positions are interpolated."""
        more = {}
        if self.vision["config"]["model_type"] == "clip_vision_model":
            more = {"interpolate_pos_encoding": image.shape[-1] != self.vision["config"]["image_size"]}
        features = self.net(pixel_values=self.scale(image), **more).pooler_output
        return verdict(self.fc(functional.normalize(features, dim=1) if self.l2 else features))

    def losses(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the verdict."""
        return {"label": verdict_loss(out, batch)}


def read_vision(folder: Path) -> dict[str, Any]:
    """Architecture, and mean and deviation of the input, of a folder of weights.

    Raises:
        UsageError: it is not there, or of another kind of model.
    """
    from transformers import AutoConfig

    try:
        read_json(folder / "config.json")
        with _quiet():
            config: Any = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{folder}: holds no config.json; give a folder of weights, or {GET}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / 'config.json'}: damaged ({' '.join(str(error).split())[:120]})") from None
    config = getattr(config, "vision_config", config)
    if config.model_type not in KINDS:
        raise UsageError(f"{folder}: is a {config.model_type}, and no model of {', '.join(KINDS)}")
    mean, std = _CLIP if config.model_type == "clip_vision_model" else _IMAGENET
    try:
        told = read_json(folder / "preprocessor_config.json")
        mean, std = ([float(one) for one in told[name]] for name in ("image_mean", "image_std"))  # type: ignore[assignment]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Not all folders have it; what the family was trained with is known.
    return {"config": json.loads(config.to_json_string(use_diff=False)), "mean": list(mean), "std": list(std)}


def _without_path() -> dict[str, Any]:
    """The architecture to look at; a model that computes has to be given its weights."""
    if torch.empty(0).device.type != "meta":
        raise UsageError(f"--model-option path: give the folder of the weights, or {GET}")
    return {"config": _LARGE, "mean": list(_CLIP[0]), "std": list(_CLIP[1])}


def _network(config: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModel

    kind = str(config.get("model_type"))
    if kind not in KINDS:
        raise UsageError(f"--model-option vision: must be of {', '.join(KINDS)} (got {kind})")
    made = AutoConfig.for_model(**config)
    made.dtype = torch.float32
    return AutoModel.from_config(made, trust_remote_code=False)  # type: ignore[no-untyped-call]


def _read_weights(folder: Path, like: nn.Module) -> dict[str, Tensor]:
    """The tensors of a folder, by the names of today's transformers."""
    kind: Any = type(like)
    try:
        with _quiet():
            net, facts = kind.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except Exception as error:  # what transformers and safetensors raise at a damaged folder is of many kinds
        raise UsageError(f"{folder}: no weights that can be read ({' '.join(str(error).split())[:160]})") from None
    lacking = sorted(facts["missing_keys"])
    if lacking:
        raise UsageError(f"{folder}: lacks weights of its own configuration, the first is {lacking[0]}")
    tensors: dict[str, Tensor] = net.state_dict()
    return tensors


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars and tables that transformers prints: what matters is checked here."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _add_lora(net: nn.Module, rank: int) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise UsageError("--model-option tune=lora: peft is not installed: pip install 'forgeprep[lora]'") from None
    kinds = [name for name in ADAPTED if any(n.endswith(f".{name}") for n, _ in net.named_modules())]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=kinds), net)

"""Weights that trainings begin from, as ``forgeprep weights fetch`` knows them; they are never fetched while one runs.

The hashes of files of torch.hub begin as their names say. Those of CLIP and DINOv2 are of one commit of their authors'
repository.
"""

from __future__ import annotations

from pathlib import Path

from forgeprep.faces.weights import Weights, require
from forgeprep.io.storage import to_path

_TORCH, _TIMM = (
    "https://download.pytorch.org/models",
    "https://github.com/huggingface/pytorch-image-models/releases/download",
)


def _of_hub(url: str, size: int) -> Weights:
    """A file whose name ends with the start of its hash, in the folder where torch.hub keeps it."""
    file = url.rpartition("/")[2]
    return Weights(file, url, file.rpartition("-")[2].partition(".")[0], size, "torch.hub")


def _vit(name: str, repository: str, commit: str, config: str, tensors: str, size: int) -> Weights:
    """A vision transformer as a folder of transformers."""
    at = f"https://huggingface.co/{repository}/resolve/{commit}"
    more = Weights("config.json", f"{at}/config.json", config, 64 << 10)
    return Weights("model.safetensors", f"{at}/model.safetensors", tensors, size, folder=name, also=(more,))


VITS = {
    "clip-vit-l14": _vit(
        "clip-vit-l14",
        "openai/clip-vit-large-patch14",
        "32bd64288804d66eefd0ccbe215aa642df71cc41",
        "8a09b467700c58138c29d53c605b34ebc69beaadd13274a8a2af8ad2c2f4032a",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
        2 << 30,
    ),
    "dinov2-b14": _vit(
        "dinov2-b14",
        "facebook/dinov2-base",
        "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
        "f7ff4cfa73d2f70647dbf6950541ad25d73082d54c2e7e9bded160c7656b2a70",
        "d73036b56966966d07975d696bde331762f37297e2f095de8cea0040c3aa0841",
        512 << 20,
    ),
}
"""Folders for ``foundation-vit``, by the name that its option ``path`` takes too."""

PRETRAINED = {
    "xception": _of_hub(f"{_TIMM}/v0.1-cadene/xception-43020ad28.pth", 128 << 20),
    "vgg16": _of_hub(f"{_TORCH}/vgg16-397923af.pth", 1 << 30),
    "resnet50": _of_hub(f"{_TORCH}/resnet50-0676ba61.pth", 256 << 20),
    "efficientnet_b0": _of_hub(f"{_TORCH}/efficientnet_b0_rwightman-7f5810bc.pth", 64 << 20),
    "slowfast_r50": Weights(
        "SLOWFAST_8x8_R50.pyth",
        "https://github.com/facebookresearch/pytorchvideo",
        "",
        512 << 20,
        by_hand="its authors give no checksum, so it is not fetched; get SLOWFAST_8x8_R50.pyth from the model zoo of "
        "PyTorchVideo or PySlowFast, and name the file with --weights",
    ),
}
"""Files for ``--weights``, by the name of the backbone."""


def folder_of(path: str) -> Path:
    """The folder that the option ``path`` means; a folder that is there goes before a name.

    Raises:
        ForgeprepError: the named weights have not been fetched.
    """
    folder = to_path(path)
    return require(path, VITS).parent if path in VITS and not folder.exists() else folder

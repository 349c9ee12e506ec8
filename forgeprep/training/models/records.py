"""The records of forgeprep's own forgery models; imports no network, so that they are listed at once."""

from __future__ import annotations

from forgeprep.training.models.record import ModelRecord, Weights

_HERE = "forgeprep.training.models"
_RECIPES = "forgeprep.training:recipes"
_PUBLISHED = "forgeprep.training:published.yaml"
_XCEPTION = "ImageNet weights of timm's legacy_xception, e.g. from huggingface.co/timm/legacy_xception.tf_in1k"

_BACKBONES = {
    "xce": Weights("net.0", _XCEPTION, "xception"),
    "vgg": Weights("net", "ImageNet weights of torchvision's vgg16 (or timm's vgg16.tv_in1k)", "vgg16"),
}


def _pixel(net: str, task: str, parameters: int) -> ModelRecord:
    """A net of "Zooming into Face Forensics" that learns the mask (``seg``) or the label (``cls``)."""
    meso = (net, task) == ("mesoinception4", "cls")
    return ModelRecord(
        f"{net}-{task}",
        f"{_HERE}.pixel:{'make_meso_classifier' if meso else 'make'}",
        256,
        f"{_RECIPES}/{'pixel-level' if task == 'seg' else 'pixel-level-cls'}.yaml",
        "Zooming into Face Forensics: A Pixel-level Analysis, 2019",
        # `target` is an option of seg alone.
        arguments=() if meso else (net, task) if task == "seg" else (net, task, "mask"),
        weights=_BACKBONES.get(net[:3]),
        published=_PUBLISHED,
        parameters=parameters,
    )


BMN = ModelRecord(
    "bmn",
    f"{_HERE}.bmn:Bmn",
    0,
    f"{_RECIPES}/bmn.yaml",
    "BMN: Boundary-Matching Network, 2019, as ForgeryNet uses it",
    takes="features",
    parameters=4_978_564,
)
CAEL = ModelRecord(
    "cael",
    f"{_HERE}.cael:Cael",
    224,
    f"{_RECIPES}/cael.yaml",
    "GenFace, 2024; no recipe published",
    weights=Weights(
        "fine,coarse",
        "ImageNet weights of EfficientNet-B0: torchvision's, timm's, efficientnet-pytorch's or google/efficientnet-b0",
        "efficientnet_b0",
    ),
    n_way=True,
    fixed=True,
    parameters=162_620_700,
)
FN3_CLS = _pixel("fn3", "cls", 210_945)
FN3_SEG = _pixel("fn3", "seg", 210_945)
LOCAL_SIMILARITY = ModelRecord(
    "local-similarity",
    f"{_HERE}.local_similarity:LocalSimilarity",
    224,
    f"{_RECIPES}/local-similarity.yaml",
    "Learnable Local Similarity for Face Forgery Detection and Localization",
    weights=Weights("encoder", _XCEPTION, "xception"),
    published=_PUBLISHED,
    parameters=44_122_587,
)
MESO_CLS = _pixel("mesoinception4", "cls", 12_215)
MESO_SEG = _pixel("mesoinception4", "seg", 12_215)
SLOWFAST_R50 = ModelRecord(
    "slowfast-r50",
    f"{_HERE}.slowfast:SlowFast",
    224,
    f"{_RECIPES}/slowfast.yaml",
    "SlowFast Networks, 2019; the recipe is ours",
    takes="sequence",
    weights=Weights("", "Kinetics weights of SlowFast R50 8x8, PySlowFast's or PyTorchVideo's", "slowfast_r50"),
    n_way=True,
    parameters=33_646_793,
)
TWO_STREAM = ModelRecord(
    "two-stream",
    f"{_HERE}.two_stream:TwoStream",
    299,
    f"{_RECIPES}/two-stream.yaml",
    "Detect and Locate",
    weights=Weights("trunk", _XCEPTION, "xception"),
    published=_PUBLISHED,
    n_way=True,
    fixed=True,
    parameters=21_486_450,
)
UNET4X_CLS = _pixel("unet4x", "cls", 1_864_129)
UNET4X_SEG = _pixel("unet4x", "seg", 1_864_129)
UNET8X_CLS = _pixel("unet8x", "cls", 7_700_161)
UNET8X_SEG = _pixel("unet8x", "seg", 7_700_161)
VGG3_CLS = _pixel("vgg3", "cls", 38_785)
VGG3_SEG = _pixel("vgg3", "seg", 38_785)
VGG5_CLS = _pixel("vgg5", "cls", 260_289)
VGG5_SEG = _pixel("vgg5", "seg", 260_289)
VGG8_CLS = _pixel("vgg8", "cls", 1_735_745)
VGG8_SEG = _pixel("vgg8", "seg", 1_735_745)
XCEPTION_CLS = _pixel("xception", "cls", 20_809_001)
XCEPTION_LEVELS = ModelRecord(
    "xception-levels",
    f"{_HERE}.levels:Levels",
    299,
    f"{_RECIPES}/forgerynet.yaml",
    "ForgeryNet, 2021 (its image baseline), with the levels of GenFace, 2024; the recipe is ours",
    weights=Weights("trunk", _XCEPTION, "xception"),
    levels=True,
    parameters=20_823_344,
)
XCEPTION_SEG = _pixel("xception", "seg", 20_809_001)
